"""Which answers ask for a pause, and every way to name how long it is."""

import email.utils
import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from hingfs.http.pauses import asks_for_pause, named_pause

pytestmark = pytest.mark.usefixtures("little_address_space")

NOW = 1_790_000_000.0
DAY = 86_400.0


def pause(headers=None, body=b""):
    """The pause of an answer that came at NOW, by the local clock."""
    return named_pause(CaseInsensitiveDict(headers or {}), body, NOW)


def date(seconds: float) -> str:
    return email.utils.formatdate(NOW + seconds, usegmt=True)


def openai_error(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "requests"}}).encode()


HEADERS = [
    # RFC 9110: seconds or a date; in the past, unreadable.
    ({"Retry-After": "37"}, 37.0),
    ({"retry-after": " 5 "}, 5.0),
    ({"Retry-After": "0"}, 0.0),
    ({"Retry-After": "1.5"}, 1.5),
    ({"Retry-After": "7s"}, 7.0),
    ({"Retry-After": date(42)}, 42.0),
    ({"Retry-After": date(-42)}, 0.0),
    ({"Retry-After": "2026-09-21T14:14:02Z"}, 1_790_000_042 - NOW),
    ({"Retry-After": f"{NOW + 9:.0f}"}, 9.0),
    ({"Retry-After": ""}, None),
    ({"Retry-After": "-5"}, None),
    ({"Retry-After": "soon"}, None),
    ({"Retry-After": "٣"}, None),
    ({"Retry-After": "Fri, 31 Foo 1999 23:59:59 GMT"}, None),
    # In quotes, and as durations of ISO 8601.
    ({"Retry-After": '"37"'}, 37.0),
    ({"Retry-After": "'37s'"}, 37.0),
    ({"Retry-After": f'"{date(42)}"'}, 42.0),
    ({"Retry-After": "PT37S"}, 37.0),
    ({"Retry-After": "pt1h2m3.5s"}, 3723.5),
    ({"Retry-After": "P1DT0S"}, 86_400.0),
    ({"Retry-After": "P1M"}, None),  # a month
    ({"Retry-After": "PT"}, None),
    ({"Retry-After": "P"}, None),
    ({"Retry-After": "10:30"}, None),  # of the day, or what is left
    ({"Retry-After": '""'}, None),
    # Relatives of that name; its own comes first, and milliseconds before all.
    ({"X-Retry-After": "37"}, 37.0),
    ({"X-RateLimit-Retry-After": "37"}, 37.0),
    ({"x-llm-retry-after": "37s"}, 37.0),
    ({"Retry-After-Seconds": "37"}, 37.0),
    ({"X-Retry-After-Ms": "3700", "Retry-After": "4"}, 3.7),
    ({"X-Retry-After": "37", "Retry-After": "5"}, 5.0),
    ({"X-Retry-After-Policy": "37"}, None),
    # Milliseconds: Azure's two names, which are more exact than the seconds beside.
    ({"Retry-After-Ms": "1250"}, 1.25),
    ({"x-ms-retry-after-ms": "20", "Retry-After": "1"}, 0.02),
    # The server's clock counts, where it is told.
    ({"Retry-After": date(3600 + 30), "Date": date(3600)}, 30.0),
    # The draft, as it is now and as it was.
    ({"RateLimit": '"default";r=0;t=30'}, 30.0),
    ({"RateLimit": '"burst";r=5;t=1, "daily";r=0;t=900'}, 900.0),
    ({"RateLimit": '"a;r=0;t=7,b";r=0;t=30;pk=:c2VjcmV0:'}, 30.0),
    ({"RateLimit": '"default";r=50;t=30'}, None),
    ({"RateLimit": "limit=100, remaining=0, reset=12"}, 12.0),
    ({"RateLimit": '"default";t=x'}, None),
    ({"RateLimit-Reset": "26"}, 26.0),
    ({"RateLimit-Reset": "26", "RateLimit-Remaining": "0"}, 26.0),
    ({"RateLimit-Reset": "26", "RateLimit-Remaining": "3"}, None),
    ({"RateLimit-Policy": '"default";q=100;w=60'}, None),
    # Vendors: seconds from now, since the epoch, in milliseconds; spans; moments.
    ({"X-RateLimit-Reset": "8"}, 8.0),
    ({"X-RateLimit-Reset": f"{NOW + 44:.0f}"}, 44.0),
    ({"X-RateLimit-Reset": f"{(NOW + 44) * 1000:.0f}"}, 44.0),
    ({"X-RateLimit-Reset": f"{NOW - 44:.0f}"}, 0.0),
    ({"X-Rate-Limit-Reset": "8"}, 8.0),
    ({"X-RateLimit-Reset-After": "0.75"}, 0.75),
    ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
    ({"x-ratelimit-reset-requests": "20ms"}, 0.02),
    ({"x-ratelimit-reset-requests": "1h2m3.5s"}, 3723.5),
    ({"x-ratelimit-reset-tokens": "6m0s"}, None),
    ({"anthropic-ratelimit-requests-reset": "2026-09-21T14:14:02Z"}, 42.0),
    ({"anthropic-ratelimit-input-tokens-reset": "2026-09-21T14:14:02Z"}, None),
    (
        {
            "X-RateLimit-Reset-Minute": "40",
            "X-RateLimit-Remaining-Minute": "0",
            "X-RateLimit-Reset-Day": "80000",
            "X-RateLimit-Remaining-Day": "51",
        },
        40.0,
    ),
    ({"X-RateLimit-Reset-Minute": "40", "X-RateLimit-Reset-Day": "80000"}, 40.0),
    # What is nearest to the request wins; what names nothing is passed over.
    ({"Retry-After": "3", "X-RateLimit-Reset": "50"}, 3.0),
    ({"Retry-After": "0", "X-RateLimit-Reset": "50"}, 50.0),
    ({"Retry-After": "soon", "X-RateLimit-Reset": "50"}, 50.0),
    ({}, None),
]

BODIES = [
    (openai_error("Limit: 3 / min. Please try again in 20s. Contact us"), 20.0),
    (openai_error("Please try again in 1m2.5s."), 62.5),
    (openai_error("Please try again in 446ms."), 0.446),
    (openai_error("Please retry after 33 seconds. Please go here"), 33.0),
    (openai_error("Request was throttled. Expected available in 52 seconds."), 52.0),
    (openai_error("Your quota will reset after 27h41m36s"), 99_696.0),
    (openai_error("Rate limit exceeded. Try again in about 3 hours."), 10_800.0),
    (openai_error("Too many requests. Trying again in 300 seconds."), 300.0),
    (openai_error("API usage exceeded, try again in 15.314237833 secs"), 15.314237833),
    (openai_error("You must wait 1 minute 30 seconds"), 90.0),
    (openai_error("retry after 7"), 7.0),
    (openai_error("Please try again in one minute"), 60.0),
    (openai_error("Try again in a minute, please"), 60.0),
    (openai_error("You can retry in half an hour"), 1800.0),
    (openai_error("wait for thirty seconds"), 30.0),
    (openai_error("please wait for 37 more seconds"), 37.0),
    (openai_error("Try again at 2026-09-21T14:14:02Z"), 42.0),
    (openai_error("You can retry in 00:37"), 37.0),
    (openai_error("Try again after 1:00:37"), 3637.0),
    ("请稍后再试\uff0c剩余等待时间\uff1a37秒".encode(), 37.0),
    ("剩余时间\uff1a1分30秒".encode(), 90.0),
    ("请一分钟后再试".encode(), 60.0),
    ("请等待约两分钟".encode(), 120.0),
    ("冷却时间为十五秒".encode(), 15.0),
    ("请二十秒后重试".encode(), 20.0),
    ("请半小时后再试".encode(), 1800.0),
    ("等待时间\uff1a37".encode(), 37.0),
    (b'{"cooldown": 37}', 37.0),
    (b'{"cooldown_seconds": 37}', 37.0),
    (b'{"next_request_in": "PT37S"}', 37.0),
    (openai_error("Limit resets at: 2026-09-21 14:14:02 UTC"), 42.0),
    (openai_error("请求过于频繁, 请在 20 秒后重试"), 20.0),
    ("请在20秒后重试".encode(), 20.0),
    ("请 1 分钟后再试".encode(), 60.0),
    ("请等待 30 秒".encode(), 30.0),
    (b'{"detail": "slow", "retry_after": 7}', 7.0),
    (b'{"retry_after": "7.5"}', 7.5),
    (b'{"retryAfter": 12}', 12.0),
    (b'{"retry_after_ms": 700}', 0.7),
    (b'{"retryAfterMs": 700}', 0.7),
    (b'{"retry-after": "15.314"}', 15.314),
    (b'{"reset_in": 9}', 9.0),
    (b'{"error": {"resets_in_seconds": 756, "resets_at": 1790000756}}', 756.0),
    (b'{"reset_at": 1790000041}', 41.0),
    (b'{"error": {"details": [{"retryDelay": "13s"}]}}', 13.0),
    # LiteLLM quotes what its upstream said.
    (openai_error('OpenAIException - {"retry_after": 4}'), 4.0),
    (json.dumps({"message": json.dumps({"m": "请在 6 秒后重试"})}).encode(), 6.0),
    # What is no pause: a limit, a count, a window, a request for patience.
    (openai_error("Rate limit exceeded: 5 per 1 minute"), None),
    (openai_error("您已达到请求数限制: 1分钟内最多请求 20 次"), None),
    (openai_error("Too many requests, please try again later."), None),
    (openai_error("You may retry 3 requests"), None),
    (openai_error("You may send one request a minute; you sent two"), None),
    (openai_error("Do not retry a second time"), None),
    (openai_error("Try again at 10:30"), None),
    (openai_error("No one may retry for free"), None),
    ("每分钟最多一次请求, 请稍后再试".encode(), None),
    (b'{"retry": 3, "retry_after": null}', None),
    (b"", None),
    (b"\xff\xfe", None),
]


@pytest.mark.parametrize(("headers", "seconds"), HEADERS, ids=str)
def test_r21_a_pause_that_the_headers_name(headers, seconds):
    assert pause(headers) == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(("body", "seconds"), BODIES, ids=str)
def test_r21_a_pause_that_only_the_body_names(body, seconds):
    found = pause(body=body)

    assert found == (seconds if seconds is None else pytest.approx(seconds))


def test_retry_after_is_nearer_than_the_body_and_the_body_than_the_window():
    body = openai_error("try again in 5s")

    assert pause({"Retry-After": "3", "X-RateLimit-Reset": "50"}, body) == 3.0
    assert pause({"X-RateLimit-Reset": "50"}, body) == 5.0


@pytest.mark.parametrize(
    ("status", "headers", "body", "asks"),
    [
        (429, {}, b"", True),
        (420, {}, b"", True),
        (529, {}, b"overloaded", True),
        (503, {}, b"", False),  # an outage, which passes or does not
        (503, {"Retry-After": "3"}, b"", True),
        (503, {}, b"<Code>SlowDown</Code>", True),
        (503, {}, b"try again in 5 seconds", True),
        (403, {}, b"", False),  # a refusal
        (403, {"Retry-After": "3"}, b"", True),
        (403, {"X-Retry-After": '"3"'}, b"", True),
        (403, {"X-RateLimit-Remaining": "0"}, b"", True),
        (403, {"X-RateLimit-Remaining": "9"}, b"", False),
        (403, {"X-RateLimit-Reset": "1790000042"}, b"", False),  # GitHub always says
        (403, {}, openai_error("rateLimitExceeded"), True),
        (403, {}, openai_error("The token may not read this"), False),
        (502, {}, openai_error("Upstream service returned status 429"), True),
        (502, {"Retry-After": "120"}, b"", False),
        (500, {}, openai_error("请求过于频繁"), True),
        (500, {}, openai_error("processing"), False),
        (401, {"Retry-After": "3"}, b"", False),
        (404, {"Retry-After": "3"}, openai_error("rate limit"), False),
        (200, {"Retry-After": "3"}, b"", False),
    ],
    ids=str,
)
def test_r21_which_answers_ask_for_a_pause(status, headers, body, asks):
    assert asks_for_pause(status, CaseInsensitiveDict(headers), body) is asks


names = st.sampled_from(
    ["Retry-After", "Retry-After-Ms", "RateLimit", "X-RateLimit-Reset", "Date"]
)
values = st.one_of(
    st.text(max_size=60),
    st.integers().map(str),
    st.from_regex(r"[0-9]{0,4}[a-z;= ,\"]{0,3}[0-9]{0,12}[smhd]{0,2}", fullmatch=True),
)


@given(st.dictionaries(names, values), st.one_of(st.binary(), values.map(str.encode)))
@example({"Retry-After": "Mon, 01 Jan 0001 00:00:00 -0000"}, b"")
@example({"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2359"}, b"")
@example({"Retry-After": "1 Jan 1 0:0 -9999"}, b"")
@example({"Retry-After": "9" * 5000}, b"")
@example({"Retry-After": "PT" + "9" * 5000 + "S"}, b"")
@example({}, b"retry in " + b"9" * 500 + b":00")
@example({}, ("十" * 1000 + "秒后").encode())
@example({}, b"resets at: 9999-99-99 99:99:99")
def test_any_answer_names_a_pause_or_nothing(headers, body):
    seconds = pause(headers, body)

    assert seconds is None or 0 <= seconds < math.inf
