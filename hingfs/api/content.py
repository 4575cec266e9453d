"""Where the bytes of a video are had: at the API, where it redirects, where JSON says.

Decides which of them is asked, in which order, and under which type an answer may be
content. What an answer means is `verdict`'s, where JSON names a URL `results`'.

Threads: every method may be called from any thread.
"""

import contextlib
import logging
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple, Protocol

from ..blocks import ByteRange
from ..errors import AccessDenied, BodyCut, ServerBroken, TransportError, printable
from ..http.answer import Answer, inline_answer
from ..http.patience import Patience
from ..http.pauses import named_pause
from ..http.transport import HttpTransport
from ..version import Content
from . import refusals, results, verdict
from .places import Places
from .sender import MOST_ERROR_BYTES, Sender, asked_around
from .sniffing import Sort, is_container, sort_of
from .status_route import StatusRoute
from .statuses import UNSAID, State, Status

log = logging.getLogger(__name__)

# Of those for which no time is named. A guess.
_LONGEST_PAUSE_SECONDS = 8.0


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


class Rows(Protocol):
    """Where a URL may stand if there is no status route."""

    def row_of(self, video_id: str, *, whole: bool) -> Status | None:
        """What the list says of *video_id*; None where it cannot be had."""


class ContentRoute:
    """The bytes of the videos of one endpoint. See the module docstring."""

    def __init__(
        self,
        sender: Sender,
        status: StatusRoute,
        transport: HttpTransport,
        places: Places,
        rows: Rows,
    ) -> None:
        self._sender = sender
        self._rows = rows
        self._status = status
        self._transport = transport
        self._places = places

    def content_of(
        self,
        content: Content,
        patience: Patience,
        *,
        span: ByteRange | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Served:
        """As `content_answer`, of a version that is known.

        A type that is no video's is believed of it once its first bytes, under that
        type, were seen to be a container's.
        """
        ask = partial(
            self.served, content.video_id, patience, None, span=span, headers=headers
        )
        served = ask(odd_type=content.odd_type)
        odd_type = verdict.odd_type_of(served.answer.headers)
        if served.answer.status not in (200, 206) or odd_type in (
            None,
            content.odd_type,
        ):
            return served
        if not self._is_proven(content.video_id, odd_type, served, patience):
            return served
        served.answer.close()
        content.odd_type_seen(odd_type)
        return ask(odd_type=odd_type)

    def _is_proven(
        self, video_id: str, odd_type: str, served: Served, patience: Patience
    ) -> bool:
        """Whether the first bytes, asked for if *served* has none, are a container's."""
        if served.body:
            return not served.message
        answer, first, *_ = self.probed(video_id, patience, None, known=True)
        with answer:
            facts = verdict.judge_probe(answer.status, answer.headers, first)
        return facts is not None and facts.odd_type == odd_type

    def probed(
        self, video_id: str, patience: Patience, status: Status | None, *, known: bool
    ) -> Served:
        """The answer to a GET of `PROBE`, with the first bytes of its body."""
        number = 0
        while True:
            served = self.served(
                video_id, patience, status, span=verdict.PROBE, known=known
            )
            answer, body, place, _ = served
            try:
                if answer.status in (200, 206) and not body:
                    body = _first_bytes(answer, patience.deadline)
            except (BodyCut, ServerBroken) as error:
                answer.close()
                self._places.forget(video_id, place)
                patience.failed(error)
            except BaseException:
                answer.close()
                raise
            else:
                served = served._replace(body=body)
                if not self._pauses(served, number):
                    return served
                number += 1

    def served(
        self,
        video_id: str,
        patience: Patience,
        status: Status | None,
        *,
        span: ByteRange | None = None,
        headers: Mapping[str, str] | None = None,
        odd_type: str | None = None,
        known: bool = True,
        fresh: bool = False,
    ) -> Served:
        """As `content_answer`; what the API refuses is had where its status names it.

        *status* None: it is asked if it could matter. A pause that the API asks for, in
        words in place of content, is waited for.
        """
        number = 0
        while True:
            served = self._served(
                video_id,
                patience,
                status,
                span=span,
                headers=headers,
                odd_type=odd_type,
                known=known,
                fresh=fresh,
            )
            if not self._pauses(served, number):
                return served
            number += 1

    def _pauses(self, served: Served, number: int) -> bool:
        """Whether *served* is no more than a wish for a pause; the next turn keeps it.

        As a 200 it counts as an answer: so a pause without a time grows by *number*, as
        many as there were.
        """
        answer, message, status = served.answer, served.message, served.status
        if not (message and answer.from_api):
            return False
        if not refusals.asks_for_pause(answer.status, message, status or UNSAID):
            return False
        answer.close()
        named = named_pause(answer.headers, message, self._sender.now())
        if not named and number:
            named = min(2.0 ** (number - 1), _LONGEST_PAUSE_SECONDS)
        self._transport.limit.pause(named)
        return True

    def _served(
        self,
        video_id: str,
        patience: Patience,
        status: Status | None,
        *,
        span: ByteRange | None,
        headers: Mapping[str, str] | None,
        odd_type: str | None,
        known: bool,
        fresh: bool,
    ) -> Served:
        """As `served`, once."""
        ask = partial(self._at_status, video_id, patience, span=span, headers=headers)
        if self._places.is_named(video_id):
            status = self._status_with_url(video_id, status)
            found = ask(status)
            if found is not None:
                return found
        elsewhere = status is not None and bool(status.url)
        served = self.content_answer(
            video_id,
            patience,
            span=span,
            headers=headers,
            odd_type=odd_type,
            known=known and not elsewhere,
            fresh=fresh,
        )
        answer = served.answer
        if answer.from_api and refusals.may_be_elsewhere(
            answer.status, answer.headers, served.message
        ):
            status = self._status_with_url(video_id, status)
            if not status.url:
                status = self._row(video_id, whole=known) or status
            served = ask(status) or served
        return served._replace(status=status)

    def _at_status(
        self,
        video_id: str,
        patience: Patience,
        status: Status,
        *,
        span: ByteRange | None,
        headers: Mapping[str, str] | None,
    ) -> Served | None:
        """What comes from where *status* names the bytes; None if it names nothing."""
        waits = status.state in (State.NOT_READY, State.FAILED, State.GONE)
        if not status.url or waits:
            return None
        served = self._at_named(
            video_id, status.url, patience, span=span, headers=headers
        )
        if served is not None and served.answer.status in (200, 206):
            self._places.note_named(video_id)
        return served and served._replace(status=status)

    def _status_with_url(self, video_id: str, status: Status | None) -> Status:
        """*status*, asked for where it is unknown or comes of a list, without URLs."""
        if status is not None and status.url is not None:
            return status
        told = self._status.told(video_id)
        return told if status is None or told.word else status

    def _row(self, video_id: str, *, whole: bool) -> Status | None:
        """The row of *video_id* in the list, if that names its URL."""
        try:
            row = self._rows.row_of(video_id, whole=whole)
        except (TransportError, AccessDenied) as error:
            name = printable(video_id, 80)
            log.debug("%s: the list does not tell a URL: %s", name, error)
            return None
        return row if row is not None and row.url else None

    def _at_named(
        self,
        video_id: str,
        url: str,
        patience: Patience,
        *,
        span: ByteRange | None,
        headers: Mapping[str, str] | None,
    ) -> Served | None:
        """What comes from *url*, said in the API's JSON of *video_id*, as of a redirect.

        None if it leads to where it was said.
        """
        data = results.inline_bytes(url)
        if data is not None:
            return Served(inline_answer(data), b"", None)
        content_url = self._sender.content_url(video_id)
        target = self._transport.redirect_target(content_url, url)
        if target == content_url:
            return None
        answer, body = self._sender.send(
            "GET", target, patience, span=span, headers=headers
        )
        return Served(answer, body, answer.url)

    def content_answer(
        self,
        video_id: str,
        patience: Patience,
        *,
        span: ByteRange | None = None,
        headers: Mapping[str, str] | None = None,
        odd_type: str | None = None,
        known: bool = True,
        fresh: bool = False,
    ) -> Served:
        """The answer to a GET of a video's content, wherever the API keeps it.

        What comes under a type for reading, other than *odd_type*, is read for judging.
        A remembered place is asked first; where there is any trouble, it is forgotten,
        and the API is asked as if there had been none. What a replica does not know of
        a *known* video, others are asked. A URL that the API sends as JSON instead of
        bytes is followed like a redirect. A *fresh* answer comes by a connection of
        its own, and from no remembered place.
        """
        place = None if fresh else self._places.of(video_id)
        if place is not None:
            ask = partial(self._at_place, place, patience, span=span, headers=headers)
            found = ask(odd_type=odd_type)
            if found is not None:
                return Served(found, b"", place)
            self._places.forget(video_id, place)
        url = self._sender.content_url(video_id)

        def send(*, fresh: bool = False) -> tuple[Answer, bytes]:
            answer, body = self._sender.send(
                "GET", url, patience, span=span, headers=headers, fresh=fresh
            )
            return answer, body or _message_in(answer, odd_type, patience.deadline)

        answer, body = (
            asked_around(video_id, send) if known and not fresh else send(fresh=fresh)
        )
        if not answer.from_api:
            return Served(answer, body, answer.url)
        served = Served(answer, body, None)
        named = results.url_in_json(served.message) if answer.status == 200 else None
        if named is None:
            return served
        named_by_json = self._at_named(
            video_id, named, patience, span=span, headers=headers
        )
        return named_by_json or served

    def _at_place(
        self,
        place: str,
        patience: Patience,
        *,
        span: ByteRange | None,
        headers: Mapping[str, str] | None,
        odd_type: str | None,
    ) -> Answer | None:
        """What looks like content at *place*; None for anything else, or trouble."""
        try:
            answer = self._transport.request(
                "GET",
                place,
                deadline=patience.prompt_deadline,
                span=span,
                headers=headers,
            )
        except TransportError as error:
            name = printable(patience.about, 80)
            log.debug("%s: a place used before is in trouble: %s", name, error)
            return None
        message = verdict.may_be_message(answer.headers, odd_type)
        if answer.status in (200, 206) and not message:
            return answer
        answer.close()
        return None


def _message_in(answer: Answer, odd_type: str | None, deadline: float) -> bytes:
    """What the API sends as 200 under a type for reading, other than *odd_type*.

    *answer* is closed then, unless that begins as a video after all.
    """
    message = verdict.may_be_message(answer.headers, odd_type)
    if not answer.from_api or answer.status != 200 or not message:
        return b""
    with contextlib.ExitStack() as still_open:
        still_open.enter_context(answer)
        body = answer.read_text(deadline, MOST_ERROR_BYTES)
        if is_container(body):
            still_open.pop_all()
    return body


def _first_bytes(answer: Answer, deadline: float) -> bytes:
    """Enough of a content answer to tell video from a message; never the whole."""
    first = answer.read_some(verdict.PROBE.stop)
    while len(first) < verdict.PROBE.stop and (more := answer.read_some(16)):
        first += more
    if sort_of(first, needs_proof=False) is not Sort.VIDEO:
        first += answer.read_text(deadline, MOST_ERROR_BYTES)
    return first
