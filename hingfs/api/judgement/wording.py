"""The words that servers use: names of fields, status words, refusals. Pure.

Tables, and how to look words up in them. A word stands here only if every server means
the same by it; under any other word the content of the video decides. Leaves to
`video_status` and `refusals` which word decides where several disagree.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from ...errors import printable


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


class Fields(dict[str, object]):
    """The fields of an object of JSON under their plain names, as `fields_of` makes them."""


def fields_of(value: object) -> Fields:
    """The fields of *value*; none if it is no object.

    "completedAt", "CompletedAt" and "COMPLETED-AT" are all "completed_at". If several of
    these stand in one object, the plain spelling wins, and any value wins over null.
    """
    if isinstance(value, Fields):
        return value
    fields = Fields()
    for name, item in value.items() if isinstance(value, dict) else ():
        plain = _plain_name(name[:_MOST_NAME])
        known = fields.get(plain)
        if known is None or (plain == name and item is not None):
            fields[plain] = item
    return fields


@lru_cache(maxsize=1024)  # a list has the same few names thousands of times
def _plain_name(name: str) -> str:
    return _BETWEEN.sub("_", _HUMP.sub("_", name)).strip("_").lower()


QUEUED_WORDS = _words(
    "queued queue queueing queuing in_queue enqueued pending waiting scheduled",
    "submitted submitting not_start not_started throttled",
    "排队中 等待中 待处理",
)
NOT_READY_WORDS = QUEUED_WORDS | _words(
    "starting initializing initialising preparing preprocessing retrying",
    "in_progress inprogress progressing processing running generating rendering",
    "dreaming encoding transcoding postprocessing post_processing finalizing",
    "not_ready unfinished",
    "准备中 处理中 生成中 进行中 渲染中",
)
READY_WORDS = _words(
    "completed complete success successful succeeded succeed done finished finish ready",
    "已完成 完成 成功 生成成功",
)
FAILED_WORDS = _words(
    "failed fail failure error errored exception rejected refused blocked moderated",
    "content_filtered content_moderated content_blocked content_policy_violation nsfw",
    "cancelled canceled cancelling canceling cancel aborted aborting terminated killed",
    "timeout time_out timed_out timedout crashed unsuccessful",
    "失败 生成失败 已取消 已拒绝 超时",
)
GONE_WORDS = _words("expired deleted removed not_found not_exist 已过期 已删除")
_KNOWN_WORDS = NOT_READY_WORDS | READY_WORDS | FAILED_WORDS | GONE_WORDS


def _having(words: Iterable[str], *signs: str) -> re.Pattern[str]:
    """Finds words that have one of *words* between underscores, or one of *signs*."""
    return re.compile("|".join((rf"(?:\A|_)(?:{'|'.join(words)})(?:_|\Z)", *signs)))


# Parts of a word that no table has: GENERATE_FAILED, internal_error. They are a hint, not
# a certainty, so another sign must agree.
_HAVING_FAILURE = _having(
    FAILED_WORDS | _words("errors failures fails failing denied violation not_passed"),
    *("失败", "错误", "异常", "违规", "拒绝", "取消", "超时", "不通过", "未通过"),
)
_HAVING_ABSENCE = _having(GONE_WORDS, "过期", "删除", "不存在")
# Parts of a word that denies the failure, or says that work goes on: no_error,
# failed_retrying.
_HAVING_HOPE = _having(
    NOT_READY_WORDS | _words("retry no non without"),
    r"(?:\A|_)not_(?!found|exist|passed)",
)

_MOST_NAME = 64
_MOST_SHOWN = 40
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN = re.compile(r"[\s\-.:/_]+")
# Vendors put these before the word itself: TASK_STATUS_SUCCEED, JOB_STATE_RUNNING.
_BEFORE = re.compile(r"(?:(?:task|job|video|media|generation|render|status|state)_)+")

STATUS_IN_TEXT = re.compile(
    r"""status["']?\s*[:=]\s*["']?([A-Za-z][A-Za-z_-]{2,40})""", re.IGNORECASE
)
FAILED_TEXT = re.compile(r"fail|moderation|blocked", re.IGNORECASE)
NOT_READY_TEXT = re.compile(
    r"not (yet )?(ready|complete(d)?|finished|available)|in.?progress|still being|queued|"
    r"processing|未就绪|未完成|处理中|排队",
    re.IGNORECASE,
)
GONE_TEXT = re.compile(
    r"expired|过期|not.found|not.exist|n.t exist|no such|不存在|找不到|未找到|"
    r"(?:can.?not|can.t|could not|couldn.t|unable to) find|unknown (?:video|task|job|id)\b",
    re.IGNORECASE,
)
# The bytes have expired. A token, a session or a trial may expire as well.
EXPIRED_TEXT = re.compile(
    r"\b(?:video|clip|content|file|asset|media|result|output|generation|job|task)s?\b"
    r"[^.;\"]{0,40}\bexpired|\bexpired[ _-](?:video|clip|content|file|asset|job|task)|"
    r"(?:视频|文件|内容|任务|资源|链接)[^。\"]{0,10}过期",
    re.IGNORECASE,
)
_DENIED_TEXT = re.compile(
    r"no_db_connection|invalid.{0,20}(api.?key|token)|(api.?key|token).{0,20}invalid|"
    r"incorrect api key|unauthori[sz]ed|authentication|no api key|no connected db",
    re.IGNORECASE,
)
# Sentences of One-API and its kin, Express and NestJS, Fastify, Laravel, Kong.
NO_ROUTE_TEXT = re.compile(
    r"invalid url \(|cannot (get|head) /|route (get|head):/|no route matched|"
    r"the route \S+ could not be found",
    re.IGNORECASE,
)
UPSTREAM_410 = re.compile(r"upstream service returned status 410", re.IGNORECASE)
UPSTREAM_GONE = re.compile(r"upstream service returned status (404|410)", re.IGNORECASE)

# A web page; also one that a gateway quotes from its upstream inside its own JSON.
_PAGE_TEXT = re.compile(r"<(?:!doctype\s+html|html|head|title|body)\b", re.IGNORECASE)
_PAGE_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_TAGS = re.compile(
    r"<(script|style)\b.*?(?:</\1>|\Z)|<[^>]*>", re.IGNORECASE | re.DOTALL
)
# Words of firewalls: Cloudflare, Envoy, ModSecurity, Alibaba, Tencent.
_FIREWALL_TEXT = re.compile(
    r"error code: 1\d{3}\b|rbac: access denied|cloudflare|captcha|mod_security|"
    r"firewall|\bwaf\b|拦截|安全威胁|防火墙",
    re.IGNORECASE,
)
# Firewalls refuse with these as well, and so do pages of the server itself.
_OTHER_FIREWALL_CODES = frozenset({405, 406, 418, 451})

DENIED_CODES = frozenset({401, 402, 403})


@lru_cache(maxsize=256)  # a list says the same few words thousands of times
def plain_word(word: str) -> str:
    """*word*, cut to a few characters, as the tables have it and a log line may show it.

    "In-Progress", "inProgress" and "TASK_STATUS_IN_PROGRESS" are all "in_progress".
    """
    plain = _plain_name(word.strip())
    rest = _BEFORE.sub("", plain, count=1) if _BEFORE.match(plain) else plain
    if rest in _KNOWN_WORDS or len(plain) > _MOST_SHOWN:
        plain = rest  # a cut would lose the end, which tells most
    return printable(plain, _MOST_SHOWN)


def hints_at_failure(word: str) -> bool:
    """Whether a *word* that no table has tells of a failure by one of its parts."""
    return bool(_HAVING_FAILURE.search(word)) and not _HAVING_HOPE.search(word)


def hints_at_absence(word: str) -> bool:
    """As `hints_at_failure`, of a video that is gone."""
    return bool(_HAVING_ABSENCE.search(word)) and not _HAVING_HOPE.search(word)


def is_refusal_of_token(code: int, text: str) -> bool:
    """Whether an answer of *code* with these words refuses the token.

    401 needs no words. Some gateways refuse a token with 400 or 500 and say so only in
    words; a web page under these is not from the API.
    """
    if code in (400, 500):
        return bool(_DENIED_TEXT.search(text)) and not _PAGE_TEXT.search(text)
    return code in DENIED_CODES


def is_firewall(code: int, text: str, *, is_page: bool) -> bool:
    """Whether *text* is from a firewall or gateway, and not from the API behind it.

    *is_page*: its type is that of a web page, which a short *text* may not show.
    """
    page = is_page or bool(_PAGE_TEXT.search(text))
    speaks = bool(_FIREWALL_TEXT.search(text))
    if code == 403:
        return page or speaks
    return code in _OTHER_FIREWALL_CODES and speaks and page


def words_of_page(text: str) -> str:
    """The title of a web page, else its words; *text* itself if it is none."""
    title = _PAGE_TITLE.search(text)
    return (title[1].strip() if title else "") or _TAGS.sub(" ", text).strip()
