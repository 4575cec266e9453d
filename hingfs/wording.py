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

# A web page, also where a gateway quotes the one of its upstream inside its own JSON.
_PAGE_TEXT = re.compile(r"<(?:!doctype\s+html|html|head|title|body)\b", re.IGNORECASE)
_PAGE_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_TAGS = re.compile(
    r"<(script|style)\b.*?(?:</\1>|\Z)|<[^>]*>", re.IGNORECASE | re.DOTALL
)
# What firewalls say of themselves: Cloudflare, Envoy, ModSecurity, Alibaba, Tencent.
_FIREWALL_TEXT = re.compile(
    r"error code: 1\d{3}\b|rbac: access denied|cloudflare|captcha|mod_security|"
    r"firewall|\bwaf\b|拦截|安全威胁|防火墙",
    re.IGNORECASE,
)
# They refuse with these as well, where a server's own page is just as likely.
_OTHER_FIREWALL_CODES = frozenset({405, 406, 418, 451})

DENIED_CODES = frozenset({401, 402, 403})


def is_refusal_of_token(code: int, text: str) -> bool:
    """Some gateways refuse a token with 400 or 500 and say so only in words.

    A web page is no word of the API, whatever stands in it; 401 needs no words.
    """
    if code in (400, 500):
        return bool(_DENIED_TEXT.search(text)) and not _PAGE_TEXT.search(text)
    return code in DENIED_CODES and not is_firewall(code, text)


def is_firewall(code: int, text: str) -> bool:
    """Whether a firewall or gateway speaks, and not the API behind it."""
    if code == 403:
        return bool(_PAGE_TEXT.search(text) or _FIREWALL_TEXT.search(text))
    named = code in _OTHER_FIREWALL_CODES and _FIREWALL_TEXT.search(text)
    return bool(named and _PAGE_TEXT.search(text))


def words_of_page(text: str) -> str:
    """The title of a web page, else its words; *text* itself if it is none."""
    title = _PAGE_TITLE.search(text)
    return (title[1].strip() if title else "") or _TAGS.sub(" ", text).strip()
