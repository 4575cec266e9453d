"""The words that servers use: status words, and the sentences of refusals. Pure.

Data, and how to look things up in it. Which of the words decides where several answers
disagree is left to `statuses` and `refusals`.
"""

import re

NOT_READY_WORDS = frozenset(
    [
        "queued",
        "pending",
        "submitted",
        "not_start",
        "not_started",
        "initializing",
        "in_progress",
        "processing",
        "running",
        "generating",
        "rendering",
        "unknown",
    ]
)
READY_WORDS = frozenset(["completed", "complete", "success", "succeeded", "done"])
FAILED_WORDS = frozenset(
    ["failed", "failure", "error", "rejected", "cancelled", "canceled", "cancelling"]
)
GONE_WORDS = frozenset({"expired", "deleted"})

STATUS_IN_TEXT = re.compile(
    r"""status["']?\s*[:=]\s*["']?([A-Za-z][A-Za-z_]{2,30})""", re.IGNORECASE
)
FAILED_TEXT = re.compile(r"fail|moderation|blocked", re.IGNORECASE)
NOT_READY_TEXT = re.compile(
    r"not (yet )?(ready|complete(d)?|finished|available)|in.?progress|still being|queued|"
    r"processing|未就绪|未完成|处理中|排队",
    re.IGNORECASE,
)
GONE_TEXT = re.compile(
    r"expired|过期|not found|not exist|no such|不存在", re.IGNORECASE
)
_DENIED_TEXT = re.compile(
    r"no_db_connection|invalid.{0,20}(api.?key|token)|(api.?key|token).{0,20}invalid|"
    r"incorrect api key|unauthori[sz]ed|authentication|no api key|no connected db",
    re.IGNORECASE,
)
NO_ROUTE_TEXT = re.compile(r"invalid url \(", re.IGNORECASE)
UPSTREAM_410 = re.compile(r"upstream service returned status 410", re.IGNORECASE)
UPSTREAM_GONE = re.compile(r"upstream service returned status (404|410)", re.IGNORECASE)

DENIED_CODES = frozenset({401, 402, 403})


def is_refusal_of_token(code: int, text: str) -> bool:
    """Some gateways refuse a token with 400 or 500 and say so only in words."""
    return code in DENIED_CODES or (
        code in (400, 500) and bool(_DENIED_TEXT.search(text))
    )
