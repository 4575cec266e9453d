"""Who says no: the API to the token, or a firewall or a website in front of it. Pure.

Leaves to `wording` in which words they say so, and to `refusals` what the refusal of
one video means.
"""

from ...errors import AccessDenied, printable
from ...http.pauses import Headers
from . import bodies, wording

# AWS WAF asks a browser for a proof with it, under 202 or 405.
_CHALLENGE = "x-amzn-waf-action"


def is_firewall(code: int, headers: Headers, body: bytes) -> bool:
    """Whether a firewall or gateway speaks, and not the API behind it.

    JSON under the type of a web page is an API's all the same, as of PHP.
    """
    if code not in (200, 206) and headers.get(_CHALLENGE):
        return True
    is_page = _is_html_type(headers) and not bodies.begins_as_json(body)
    return wording.is_firewall(code, bodies.text_of(body), is_page=is_page)


def refuses_token(code: int, headers: Headers, body: bytes) -> bool:
    """Whether the API says no to the token, or to what it may have."""
    said_so = wording.is_refusal_of_token(code, bodies.text_of(body))
    return said_so and (code != 403 or not is_firewall(code, headers, body))


def denial(code: int, body: bytes) -> AccessDenied:
    """The error that a refusal of the token, or of what it may have, means."""
    said = printable(bodies.said_in(body), 120)
    what = "asks for payment" if code == 402 else "refused the token"
    return AccessDenied(f"the API {what} (HTTP {code}): {said}", code, said)


def is_html(headers: Headers, body: bytes) -> bool:
    """Whether an answer is a web page."""
    return _is_html_type(headers) or bodies.is_markup(body[:64])


def _is_html_type(headers: Headers) -> bool:
    return "html" in headers.get("Content-Type", "").lower()
