"""GET for the content of a video: at a remembered place, at the API, where JSON says.

Decides which of them is asked, in which order, and what of an answer is read before it
is handed on. Leaves to `sender` how often a request is tried, to `content` what is asked
of the status route and of the list, and to `verdict` what an answer means.

Threads: every method may be called from any thread.
"""

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..blocks import ByteRange
from ..errors import TransportError, printable
from ..http.answer import Answer, inline_answer
from ..http.patience import Patience
from ..http.transport import HttpTransport
from .judgement import results, verdict
from .judgement.sniffing import is_container
from .judgement.statuses import Status
from .places import Places
from .sender import MOST_ERROR_BYTES, Sender, asked_around

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for of one video, and how long it is tried.

    *span* None: no range is asked for, unless *headers* do. *odd_type*: the type, no
    video's, that is believed of it. What a replica does not know of a *known* video,
    others are asked. A *fresh* answer comes by a connection of its own, and from no
    remembered place.
    """

    video_id: str
    patience: Patience
    span: ByteRange | None = None
    headers: Mapping[str, str] | None = None
    odd_type: str | None = None
    known: bool = True
    fresh: bool = False


class Served(NamedTuple):
    """An answer to a GET of content.

    *body* is what was read of it for judging, else b"". *place* is the URL of the bytes
    where that is not the API's own: to be remembered once they are known to be content.
    *status* is what the status route told meanwhile, if it was asked.
    """

    answer: Answer
    body: bytes
    place: str | None
    status: Status | None = None

    @property
    def message(self) -> bytes:
        """What came in place of a video, as far as it was read; b"" where one came."""
        return b"" if is_container(self.body) else self.body


class GetRoute:
    """What GET brings. See the module docstring."""

    def __init__(
        self, sender: Sender, transport: HttpTransport, places: Places
    ) -> None:
        self._sender = sender
        self._transport = transport
        self._places = places

    def ask(self, wanted: Wanted) -> Served:
        """The answer to a GET of a video's content, wherever the API keeps it.

        What comes under a type for reading is read for judging. A remembered place is
        asked first; where there is any trouble, it is forgotten, and the API is asked as
        if there had been none. A URL that the API sends as JSON instead of bytes is
        followed like a redirect.
        """
        video_id = wanted.video_id
        place = None if wanted.fresh else self._places.of(video_id)
        if place is not None:
            found = self._at_place(wanted, place)
            if found is not None:
                return found
            self._places.forget(video_id, place)
        served = self._at_api(wanted)
        if not (served.answer.from_api and served.answer.status == 200):
            return served
        named = results.url_in_json(served.message)
        if named is None:
            return served
        return self.at_named(wanted, named) or served

    def at_named(self, wanted: Wanted, url: str) -> Served | None:
        """What comes from *url*, said in the API's JSON of the video, as of a redirect.

        None if it leads to where it was said.
        """
        data = results.inline_bytes(url)
        if data is not None:
            return Served(inline_answer(data), b"", None)
        content_url = self._sender.content_url(wanted.video_id)
        target = self._transport.redirect_target(content_url, url)
        if target == content_url:
            return None
        answer, body = self._send(replace(wanted, fresh=False), target)
        return Served(answer, body, answer.url)

    def _at_api(self, wanted: Wanted) -> Served:
        """What the API answers, or the storage that it redirects to."""
        url = self._sender.content_url(wanted.video_id)

        def send(*, fresh: bool = wanted.fresh) -> tuple[Answer, bytes]:
            answer, body = self._send(replace(wanted, fresh=fresh), url)
            return answer, body or _message_in(answer, wanted)

        asks_others = wanted.known and not wanted.fresh
        answer, body = asked_around(wanted.video_id, send) if asks_others else send()
        return Served(answer, body, None if answer.from_api else answer.url)

    def _at_place(self, wanted: Wanted, place: str) -> Served | None:
        """What looks like content at *place*; None for anything else, or trouble."""
        try:
            answer = self._transport.request(
                "GET",
                place,
                deadline=wanted.patience.prompt_deadline,
                span=wanted.span,
                headers=wanted.headers,
            )
        except TransportError as error:
            name = printable(wanted.video_id, 80)
            log.debug("%s: a place used before is in trouble: %s", name, error)
            return None
        message = verdict.may_be_message(answer.headers, wanted.odd_type)
        if answer.status in (200, 206) and not message:
            return Served(answer, b"", place)
        answer.close()
        return None

    def _send(self, wanted: Wanted, url: str) -> tuple[Answer, bytes]:
        return self._sender.send(
            "GET",
            url,
            wanted.patience,
            span=wanted.span,
            headers=wanted.headers,
            fresh=wanted.fresh,
        )


def _message_in(answer: Answer, wanted: Wanted) -> bytes:
    """What the API sends as 200 under a type for reading, other than the odd one.

    *answer* is closed then, unless that begins as a video after all.
    """
    message = verdict.may_be_message(answer.headers, wanted.odd_type)
    if not answer.from_api or answer.status != 200 or not message:
        return b""
    with contextlib.ExitStack() as still_open:
        still_open.enter_context(answer)
        body = answer.read_text(wanted.patience.deadline, MOST_ERROR_BYTES)
        if is_container(body):
            still_open.pop_all()
    return body
