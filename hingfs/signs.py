"""Whether an answer is of a video API at all, or of a website or of another API. Pure.

Any web server answers any path: with its 404 page, or with the page of an application
that does the routing itself. What tells an API is JSON, and not the JSON of a router
that knows no such route. Leaves to `admission` what is asked, and what follows.
"""

import enum
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from . import bodies, listing, wording
from .errors import ServerBroken, printable
from .statuses import Headers, is_html

_WITH_DIGITS = re.compile(r"\S*\d\S*")
# What says that a route is there, and that it wants something else of the request.
_ROUTE_CODES = frozenset({400, 405, 409, 422, 429, 501})


class Sign(enum.Enum):
    """What an answer shows of the API."""

    SPEAKS = "the API speaks"
    DOUBTFUL = "JSON, perhaps of something else"
    ABSENT = "something else speaks"


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer to GET *url*, with as much of its body as is judged.

    *final_url* is where redirects led; *from_api* false: to another scheme, host or port.
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
        return begins and bodies.looks_like_message(self.body)

    @property
    def is_page(self) -> bool:
        """Whether it is a web page."""
        return not self.is_json and is_html(self.headers, self.body)

    def __str__(self) -> str:
        """What came, for a message: `HTTP 404 with a web page, "Not Found"`."""
        kind = "JSON" if self.is_json else "a web page" if self.is_page else "no JSON"
        is_text = self.headers.get("Content-Type", "").startswith("text/")
        text = bodies.text_of(self.body) if kind != "no JSON" or is_text else ""
        words = printable(wording.words_of_page(text), 60)
        quoted = f', "{words}"' if words else ""
        moved = ""
        if _shown(self.final_url) != _shown(self.url):
            moved = f" (by a redirect to {printable(_shown(self.final_url), 120)})"
        return f"HTTP {self.code} with {kind}{quoted}{moved}"


def _shown(url: str) -> str:
    """*url* without what may be secret: its query, and a name before its host."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def of_list(heard: Heard, now_seconds: float) -> Sign:
    """What an answer to a request for the list shows."""
    if heard.code == 200:
        try:
            if listing.judge_list(heard.body, now_seconds) is not None:
                return Sign.SPEAKS
        except ServerBroken:
            pass  # what says that it failed may be anything's
        # A server may ignore how many rows were asked for, so that not all was read.
        if heard.is_json and bodies.parsed_json(heard.body) is None:
            return Sign.SPEAKS
    if not (heard.is_json and heard.from_api):
        return Sign.ABSENT
    return Sign.SPEAKS if heard.code in _ROUTE_CODES else Sign.DOUBTFUL


def of_status(heard: Heard, listed: Heard) -> Sign:
    """What an answer about a video that is none shows; *listed* came for the list.

    A route says that there is no such video, a router that there is no such route. The
    router is known by its words, or by saying the same of both; some routes have no
    words of their own (FastAPI's "Not Found"), so that is a doubt only.
    """
    if not (heard.is_json and heard.from_api):
        return Sign.DOUBTFUL if listed.is_json and listed.from_api else Sign.ABSENT
    if wording.NO_ROUTE_TEXT.search(bodies.text_of(heard.body)):
        return Sign.ABSENT
    same = heard.code == listed.code and _words(heard) == _words(listed)
    return Sign.DOUBTFUL if same or _names_route(heard) else Sign.SPEAKS


def _words(heard: Heard) -> str:
    """The words of an answer, without numbers of requests and times of day."""
    return " ".join(_WITH_DIGITS.sub("", bodies.text_of(heard.body)).split())


def _names_route(heard: Heard) -> bool:
    """Whether a 404 repeats the path that was asked for."""
    return heard.code == 404 and "v1/videos/" in bodies.text_of(heard.body)
