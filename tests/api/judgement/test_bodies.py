"""JSON and words of servers are read right, and in little memory."""

import contextlib
import json
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hingfs.api.judgement import bodies, listing, refusals, sniffing, video_status
from hingfs.blocks import KIB, MIB
from hingfs.errors import HingError
from tests.support.memory import (
    ASTRAL,
    WORST_JSON,
    WORST_PAGES,
    little_memory,
    many_words,
)

pytestmark = pytest.mark.usefixtures("little_address_space")

HEADERS = {"Content-Type": "application/json"}

rows = st.dictionaries(
    st.sampled_from(["id", "status", "data", "error", 'a"b', "c\\"]),
    st.recursive(
        st.text(max_size=12) | st.integers() | st.none(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=4,
)
pages = st.dictionaries(
    st.sampled_from(["object", "has_more", "data", "rows", "dat", "[", "}"]),
    st.lists(rows | st.integers(), max_size=4) | rows | st.text(max_size=8),
    max_size=4,
)
texts = st.builds(
    lambda page, ascii_only, indent: json.dumps(
        page, ensure_ascii=ascii_only, indent=indent
    ).encode("utf-8", "surrogatepass"),
    pages,
    st.booleans(),
    st.sampled_from([None, 0, 2]),
)


def read_by_elements(text: bytes, piece_bytes: int) -> object:
    """The page in *text*, however small."""
    pieces = bodies.Pieces(0, piece_bytes)
    page = bodies.parsed_page(text, ["data", "rows"], lambda row: (row,), pieces)
    return with_rows(page)


def with_rows(page: object) -> object:
    """*page* with its rows in place of the values kept of them."""
    if isinstance(page, tuple):
        return page[0]
    if isinstance(page, list):
        return [with_rows(element) for element in page]
    if isinstance(page, dict):
        return {name: with_rows(value) for name, value in page.items()}
    return page


@given(texts, st.sampled_from([1, 20, 1000]))
@example(b'{"data":[]}', 1)
@example(b'{"data" :\n[ {"id":"]"} , {} ]\r\n}', 1)
@example(b'{"data":[{}, 1, {}, 2]}', 1)
@example(b'{"data":[{}],"data":{}}', 1)
@example(b'{"x":["data",[{}]],"data":[{"data":[{}]}]}', 1)
@example('{"data":[{"id":"\U0001f600"}]}'.encode("utf-16"), 1)
@example(b'\xef\xbb\xbf{"data":[{}]}', 1)
@example(b"\xef\xbb\xbf [{}]", 1)
@example(b'{"data":{"rows":[{}]}}', 1)
@example(b'{"data":[{"a":-Infinity}],"b":1}', 1)
@example(b'{"object":"-Infinity","data":[{}],"b":"NaN"}', 1)
def test_a_page_read_by_elements_is_the_page(text: bytes, piece_bytes: int) -> None:
    assert read_by_elements(text, piece_bytes) == json.loads(text)


@given(texts, st.integers(0, 200), st.binary(max_size=2), st.integers(0, 3))
@example(b'{"data":[{},{}]}', 11, b"", 1)
@example(b'{"data":[{},{}]}', 11, b",", 1)
@example(b'{"data":[{}]}', 9, b",", 1)
@example(b'{"data":[{}]}', 11, b",", 1)
@example(b'{"data":[{}]}', 9, b"\f", 1)
@example(b'{"data":[{}]}', 8, b"", 5)
@example(b'{"data": [0, {}]}', 1, b"", 0)
def test_a_spoilt_page_is_none(text: bytes, at: int, new: bytes, lost: int) -> None:
    """Read by elements, a page that is no JSON is no page either."""
    spoilt = text[:at] + new + text[at + lost :]
    try:
        whole = json.loads(spoilt)
    except ValueError:
        whole = None

    page = read_by_elements(spoilt, at % 3 + 1)

    assert page == whole


def test_a_page_is_cut_short_wherever_it_ends() -> None:
    page = b'{"data":[{"id":"a"},{"id":"b"}],"has_more":false}'
    pieces = bodies.Pieces(0, 1)

    assert not listing.is_cut_short(page, pieces)
    assert all(listing.is_cut_short(page[:end], pieces) for end in range(1, len(page)))


# --- memory ------------------------------------------------------------------------------


def judged(body: bytes) -> None:
    """Have *body* judged in each way that a body of its size may be."""
    bodies.is_cut_short(body)
    refusals.is_final(503, {}, body)
    refusals.refusal(400, {}, body, video_status.UNSAID)
    with contextlib.suppress(HingError):
        video_status.judge_status(400, HEADERS, body, "v", 0.0)


@pytest.mark.parametrize("what", WORST_JSON)
def test_the_worst_status_takes_15_mib(what) -> None:
    """Of 1 MiB, as much as is read of one; 45 MiB as objects, 380 MB as words once."""
    body = WORST_JSON[what](1 * MIB)

    with little_memory(15 * MIB):
        judged(body)


@pytest.mark.parametrize("what", WORST_JSON)
def test_the_worst_error_takes_4_mib(what) -> None:
    """Of 64 KiB, as much as is read of one."""
    body = WORST_JSON[what](64 * KIB)

    with little_memory(4 * MIB):
        judged(body)
        sniffing.looks_like_message(body)


@pytest.mark.parametrize("what", WORST_PAGES)
def test_the_worst_page_of_a_list_takes_16_mib(what) -> None:
    """Of 4 MiB, as much as is read of one, which counts among them."""
    body = WORST_PAGES[what](4 * MIB)

    with little_memory(16 * MIB):
        listing.is_cut_short(body)
        with contextlib.suppress(HingError):
            listing.judge_list(body, 0.0)


def test_the_words_of_an_error_are_not_collected_before_they_are_cut() -> None:
    """1.6 MB were 563 MiB, while half a megabyte, which is read of a status, were 168."""
    large, small = many_words(1_600_000), many_words(100_000)

    with little_memory(2_000_000):
        assert len(bodies.text_of(large)) <= 4096
    with little_memory(2_000_000):
        said = bodies.text_of(small)
    assert len(said) == 4096
    assert said.count("k: q") == 31


def test_a_page_of_a_server_that_ignores_limit_takes_what_is_kept_of_it() -> None:
    """Twelve thousand videos with emoji in their prompts: 50 MB as objects at once."""
    row = json.dumps({
        "id": "video_01JX9Z3C2Q5T8Y6A7B8C9D0E1F", "object": "video",
        "status": "completed", "created_at": 1764100000, "completed_at": 1764100060,
        "model": "m", "progress": 100, "seconds": "8", "error": None, "prompt": "x" * 99,
    }).encode()  # fmt: skip
    body = b'{"data":[' + b",".join([row] * 12_000) + b'],"x":"' + ASTRAL + b'"}'

    with little_memory(8 * MIB):
        page = listing.judge_list(body, 0.0)

    assert page is not None
    assert len(page.videos) == page.rows == 12_000
    assert page.videos[0][1].completed_at_seconds == 1764100060


def test_reading_hostile_json_takes_linear_time() -> None:
    """Quotes that close nothing: the pieces of 8 MiB are found in a second."""
    body = WORST_PAGES["quotes that close nothing"](8 * MIB)
    done = threading.Event()

    def read() -> None:
        listing.is_cut_short(body)
        done.set()

    threading.Thread(target=read, daemon=True).start()

    assert done.wait(5)
