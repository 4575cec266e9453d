"""Whether an answer comes from a video API, from a website or from another API. Pure.

Any web server answers any path: with its 404 page, or with the page of an application
that does the routing itself. An API is known by JSON, unless that is the JSON of a
router that knows no such route. Leaves to `endpoint_check` which requests are sent, and what
follows from a sign.
"""

import contextlib
import enum
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...errors import TransportError, printable
from ...http.pauses import Headers
from . import bodies, listing, wording
from .denials import is_html
from .sniffing import looks_like_message

_WITH_DIGITS = re.compile(r"\S*\d\S*")
# Codes of a route that is there and wants another request.
_ROUTE_CODES = frozenset({400, 405, 409, 422, 429, 501})
# Codes of an answer that may say "there is no list". A 400 comes from a list that wants
# a parameter nobody can know (Bifrost and LiteLLM: a provider), or from a gateway whose upstream has
# no list.
_NO_LIST_CODES = frozenset({400, 404, 405, 501})
# Fields beside the words of an error that are no words of it.
_NEUTRAL = frozenset(
    (
        *("type", "status", "path", "url", "uri", "instance", "method", "object"),
        *("timestamp", "time", "date", "request_id", "trace_id", "param", "loc"),
        *("documentation_url", "doc_url", "version", "server", "host"),
    )
)
_MOST_SENTENCES = 16
_THING = r"(page|route|resource|path|url|uri|endpoint|api|method|handler|operation)"
# A whole sentence of a router, or of a server without such a method. Any other sentence
# beside a 404 may tell of trouble.
_ROUTER_TEXT = re.compile(
    r"(http |error )*(404|405|501)?\W*((page |file )?not found|(method )?not allowed|"
    r"not implemented)?|error response|"
    rf"(the |this )?(requested |request )?{_THING}( \S*/v1/videos\S*)?"
    r"( you( are| were)? (requested|looking for))?,?( was| is| does| could| can)?"
    r"( not|n't) (be )?(found|exist|available|defined|supported|implemented|allowed)"
    r"( on this server| at \S+| here)?|"
    rf"(unknown|unrecognized|invalid|undefined|unsupported) (request )?{_THING}"
    r"( error)?([:( ].*)?|"
    rf"(no such|no matching|no static|no) {_THING}.*|"
    r"(the )?(request |http )?method.{0,20} not (allowed|supported).*|"
    r".*\bnot (yet )?(implemented|supported)\b.*|unimplemented|unsupported.*|"
    r"(invalid|bad) request( error)?|"
    r".{0,20}(接口|路由|页面|路径|地址)(不存在|未找到)|.{0,20}(不支持|未实现).{0,20}"
)
# A sentence that misses something in the request.
_WANTING_TEXT = re.compile(
    r"\b(provider|model|parameter|param|query|field|argument)\b.{0,60}"
    r"\b(required|missing|not (?:provided|given|specified))\b|"
    r"\b(missing|requires?|specify|provide)\b.{0,40}"
    r"\b(provider|parameter|param|query|field|argument)\b"
)
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")  # of a code: NotFound
_BETWEEN_WORDS = re.compile(r"[\s_]+")
_TITLE_PARTS = re.compile(r"[|\u2013\u2014:·(),!]+|\. | - ")


class Sign(enum.Enum):
    """What an answer shows of the API."""

    SPEAKS = "the API speaks"
    DOUBTFUL = "JSON, perhaps of something else"
    ABSENT = "something else speaks"


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer to GET *url*, with as much of its body as is judged.

    *final_url* is where redirects led. *from_api* is false if that is another scheme,
    host or port.
    """

    url: str
    code: int
    headers: Headers
    body: bytes
    final_url: str
    from_api: bool

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON, or the beginning of it."""
        if bodies.parsed_json(self.body) is not None:
            return True
        begins = bodies.begins_as_json(self.body)
        return begins and looks_like_message(self.body)

    @property
    def is_page(self) -> bool:
        """Whether the body is a web page."""
        return not self.is_json and is_html(self.headers, self.body)

    def __str__(self) -> str:
        """The answer as a message tells it: `HTTP 404 with a web page, "Not Found"`."""
        kind = "JSON" if self.is_json else "a web page" if self.is_page else "no JSON"
        is_text = self.headers.get("Content-Type", "").startswith("text/")
        text = bodies.said_in(self.body) if kind != "no JSON" or is_text else ""
        words = printable(wording.words_of_page(text), 60)
        quoted = f', "{words}"' if words else ""
        moved = ""
        if _shown(self.final_url) != _shown(self.url):
            moved = f" (by a redirect to {printable(_shown(self.final_url), 120)})"
        return f"HTTP {self.code} with {kind}{quoted}{moved}"


def _shown(url: str) -> str:
    """*url* without the parts that may be secret: its query, and a name before its host."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def page_in(heard: Heard, now_seconds: float) -> listing.ListPage | None:
    """The page of the list that came; None if the answer is no whole page."""
    if heard.code != 200:
        return None
    with contextlib.suppress(TransportError):  # any application can say that it failed
        return listing.judge_list(heard.body, now_seconds)
    return None


def of_list(heard: Heard, now_seconds: float) -> Sign:
    """What an answer to a request for the list shows."""
    if page_in(heard, now_seconds) is not None:
        return Sign.SPEAKS
    # A server may ignore `limit`: then the body is longer than what was read.
    cut = heard.is_json and bodies.parsed_json(heard.body) is None
    if heard.code == 200 and cut:
        return Sign.SPEAKS
    if not (heard.is_json and heard.from_api):
        return Sign.ABSENT
    return Sign.SPEAKS if heard.code in _ROUTE_CODES else Sign.DOUBTFUL


def of_status(heard: Heard, listed: Heard) -> Sign:
    """What an answer about an invented video shows; *listed* came for the list.

    A route says that there is no such video, a router that there is no such route. A
    router is known by its words, or by saying the same of video and list. Some routes
    have no words of their own (FastAPI's "Not Found"), so equal words are only a doubt.
    """
    if not (heard.is_json and heard.from_api):
        return Sign.DOUBTFUL if listed.is_json and listed.from_api else Sign.ABSENT
    if wording.NO_ROUTE_TEXT.search(bodies.text_of(heard.body)):
        return Sign.ABSENT
    same = heard.code == listed.code and _words(heard) == _words(listed)
    return Sign.DOUBTFUL if same or _names_route(heard) else Sign.SPEAKS


def says_no_list(heard: Heard) -> bool:
    """Whether an answer to a request for the list says that there is no such route.

    Any other answer in the place of a list is trouble, whatever its code: an empty
    listing would make `rsync --delete` erase copies.
    """
    if heard.code not in _NO_LIST_CODES:
        return False
    if heard.is_page:
        return heard.code != 400 and _is_page_of_router(heard)
    said = [text for text in _sentences_of(heard) if text.strip() != str(heard.code)]
    if heard.code == 400:
        return bool(said) and all(map(_is_of_router_or_wanting, said))
    return all(map(_is_of_router, said))


def _is_page_of_router(heard: Heard) -> bool:
    text = bodies.text_of(heard.body)
    parts = _TITLE_PARTS.split(wording.words_of_page(text))
    named = [part for part in parts if part.strip()]
    return any(map(_is_of_router, named)) or bool(wording.NO_ROUTE_TEXT.search(text))


def _sentences_of(heard: Heard) -> list[str]:
    """The sentences of an error; none where it has no words."""
    parsed = bodies.parsed_json(heard.body)
    if parsed is None:
        text = heard.body.decode("utf-8", "replace").strip()
        return [] if text in ("", "null") else [text]
    return list(itertools.islice(_texts_in(parsed, 4), _MOST_SENTENCES + 1))


def _texts_in(value: object, depth: int) -> Iterator[str]:
    """The texts in *value* under names that are not neutral, in their order."""
    if isinstance(value, str) and value.strip():
        yield value
    elif isinstance(value, dict):
        fields = wording.fields_of(value)
        inner = [fields[name] for name in fields if name not in _NEUTRAL]
        yield from _texts_in(inner, depth)
    elif isinstance(value, list):
        for one in value:
            yield from _texts_in(one, depth - 1) if depth else ["more than is read"]


def _is_of_router(said: str) -> bool:
    text = _folded(said)
    whole = _ROUTER_TEXT.fullmatch(text)
    return bool(whole or wording.NO_ROUTE_TEXT.search(text))


def _is_of_router_or_wanting(said: str) -> bool:
    return _is_of_router(said) or bool(_WANTING_TEXT.search(_folded(said)))


def _folded(said: str) -> str:
    """*said*, a sentence or a code, in small letters and without its end mark."""
    text = _HUMP.sub(" ", said[:300])
    return _BETWEEN_WORDS.sub(" ", text).strip(" .!\"'").lower()


def _words(heard: Heard) -> str:
    """The words of an answer, without numbers of requests and times of day."""
    return " ".join(_WITH_DIGITS.sub("", bodies.text_of(heard.body)).split())


def _names_route(heard: Heard) -> bool:
    """Whether a 404 repeats the path that was asked for."""
    return heard.code == 404 and "v1/videos/" in bodies.text_of(heard.body)
