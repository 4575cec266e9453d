"""GET for the content of a video: from a remembered URL, the API, or a URL in JSON.

Decides which of these is asked, in which order, and how much of an answer is read before
it is handed on. Leaves to `sender` how often a request is tried, to `content` when status
route and list are asked, and to `verdict` what an answer means.

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
from .content_urls import ContentUrls
from .judgement import results, verdict
from .judgement.sniffing import is_container
from .judgement.video_status import Status
from .sender import MOST_ERROR_BYTES, Sender, asked_around

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request for bytes of one video, and how long it is tried."""

    video_id: str
    patience: Patience
    span: ByteRange | None = None  # None: no range, unless *headers* ask for one
    headers: Mapping[str, str] | None = None
    # A type other than a video's under which this video's bytes are known to come.
    odd_type: str | None = None
    known: bool = True  # if one replica does not know the video, others are asked
    fresh: bool = False  # by a connection of its own, and from no remembered URL


class Served(NamedTuple):
    """An answer to a GET of content."""

    answer: Answer
    body: bytes  # the part that was read for judging, else b""
    # Where the bytes came from, if not from the API's own URL. The caller remembers it
    # once it knows that they are content.
    url: str | None
    status: Status | None = None  # None: the status route was not asked

    @property
    def message(self) -> bytes:
        """The body that came in place of a video, as far as it was read; else b""."""
        return b"" if is_container(self.body) else self.body


class GetRoute:
    """GET for content. See the module docstring."""

    def __init__(
        self, sender: Sender, transport: HttpTransport, urls: ContentUrls
    ) -> None:
        self._sender = sender
        self._transport = transport
        self._urls = urls

    def ask(self, wanted: Wanted) -> Served:
        """The answer to a GET of a video's content, wherever the API keeps it.

        A remembered URL is asked first. At any trouble it is forgotten, and the API is
        asked as if there had been none. A body under a type for text is read for judging;
        a URL in JSON that the API sends instead of bytes is followed like a redirect.
        """
        video_id = wanted.video_id
        remembered = None if wanted.fresh else self._urls.of(video_id)
        if remembered is not None:
            found = self._from_remembered(wanted, remembered)
            if found is not None:
                return found
            self._urls.forget(video_id, remembered)
        served = self._from_api(wanted)
        if not (served.answer.from_api and served.answer.status == 200):
            return served
        named = results.url_in_json(served.message)
        if named is None:
            return served
        return self.from_named(wanted, named) or served

    def from_named(self, wanted: Wanted, url: str) -> Served | None:
        """The answer from *url*, which the API's JSON named, followed like a redirect.

        None if *url* is the API's own URL of the content.
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

    def _from_api(self, wanted: Wanted) -> Served:
        """The answer of the API, or of the storage that it redirects to."""
        url = self._sender.content_url(wanted.video_id)

        def send(*, fresh: bool = wanted.fresh) -> tuple[Answer, bytes]:
            answer, body = self._send(replace(wanted, fresh=fresh), url)
            return answer, body or _message_in(answer, wanted)

        asks_others = wanted.known and not wanted.fresh
        answer, body = asked_around(wanted.video_id, send) if asks_others else send()
        return Served(answer, body, None if answer.from_api else answer.url)

    def _from_remembered(self, wanted: Wanted, url: str) -> Served | None:
        """An answer from *url* that looks like content; None for any other or trouble."""
        try:
            answer = self._transport.request(
                "GET",
                url,
                deadline=wanted.patience.prompt_deadline,
                span=wanted.span,
                headers=wanted.headers,
            )
        except TransportError as error:
            name = printable(wanted.video_id, 80)
            log.debug(
                "%s: trouble at the URL of its bytes used before: %s", name, error
            )
            return None
        message = verdict.may_be_message(answer.headers, wanted.odd_type)
        if answer.status in (200, 206) and not message:
            return Served(answer, b"", url)
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
    """The body of a 200 of the API under a type for text; b"" under any other type.

    The odd type of *wanted* is no type for text. This closes *answer* unless the body
    begins as a container after all.
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
