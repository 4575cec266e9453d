"""Whether the API refuses the token, or a firewall in front of it the request. Pure.

Leaves to `wording` the words of a refusal, and to `refusals` what the refusal of one
video means.
"""

from ...errors import AccessDenied, printable
from ...http.pauses import Headers
from . import bodies, wording

# With this field, under 202 or 405, AWS WAF asks a browser for a proof.
_CHALLENGE = "x-amzn-waf-action"


def is_firewall(code: int, headers: Headers, body: bytes) -> bool:
    """Whether the answer is from a firewall or gateway, and not from the API behind it.

    JSON under the type of a web page comes from an API all the same (PHP sends such).
    """
    if code not in (200, 206) and headers.get(_CHALLENGE):
        return True
    is_page = _is_html_type(headers) and not bodies.begins_as_json(body)
    return wording.is_firewall(code, bodies.text_of(body), is_page=is_page)


def refuses_token(code: int, headers: Headers, body: bytes) -> bool:
    """Whether the API refuses the token, or what the token asks for."""
    said_so = wording.is_refusal_of_token(code, bodies.text_of(body))
    return said_so and (code != 403 or not is_firewall(code, headers, body))


def denial(code: int, body: bytes) -> AccessDenied:
    """The error for a refusal of the token, or of what the token asks for."""
    said = printable(bodies.said_in(body), 120)
    what = "asks for payment" if code == 402 else "refused the token"
    return AccessDenied(f"the API {what} (HTTP {code}): {said}", code, said)


def is_html(headers: Headers, body: bytes) -> bool:
    """Whether an answer is a web page."""
    return _is_html_type(headers) or bodies.is_markup(body[:64])


def _is_html_type(headers: Headers) -> bool:
    return "html" in headers.get("Content-Type", "").lower()
