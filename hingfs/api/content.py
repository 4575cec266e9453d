"""The bytes of a video, which GET brings, or a URL that its status or the list names.

Decides when status and list are asked for that URL, when a message in place of bytes is a
pause to be kept, and under which type an answer may be content. Leaves to `get_route`
the GET itself, to `verdict` what an answer means, and to `results` which URL in JSON is
that of the bytes.

Threads: every method may be called from any thread.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from ..blocks import ByteRange
from ..content import Content
from ..errors import AccessDenied, BodyCut, ServerBroken, TransportError, printable
from ..http.answer import Answer
from ..http.patience import Patience
from ..http.pauses import named_pause
from ..http.transport import HttpTransport
from ..http.turns import pause_after
from .content_urls import ContentUrls
from .get_route import GetRoute, Served, Wanted
from .judgement import refusals, verdict
from .judgement.sniffing import Sort, sort_of
from .judgement.video_status import UNSAID, State, Status
from .sender import MOST_ERROR_BYTES, Sender
from .status_route import StatusRoute

log = logging.getLogger(__name__)


class Rows(Protocol):
    """The list of the API, which may name a URL if there is no status route."""

    def row_of(self, video_id: str, *, whole: bool) -> Status | None:
        """What the list says of *video_id*; None if it says nothing."""


class ContentRoute:
    """The bytes of the videos of one endpoint. See the module docstring."""

    def __init__(
        self,
        sender: Sender,
        status: StatusRoute,
        transport: HttpTransport,
        urls: ContentUrls,
        *,
        get: GetRoute,
        rows: Rows,
    ) -> None:
        self._sender = sender
        self._rows = rows
        self._status = status
        self._transport = transport
        self._urls = urls
        self._get = get

    def content_of(
        self,
        content: Content,
        patience: Patience,
        *,
        span: ByteRange | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Served:
        """As `served`, for a version that is known.

        A type other than a video's is believed once the first bytes under it began a
        container.
        """
        wanted = Wanted(
            content.video_id, patience, span, headers, odd_type=content.odd_type
        )
        served = self.served(wanted, None)
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
        return self.served(replace(wanted, odd_type=odd_type), None)

    def _is_proven(
        self, video_id: str, odd_type: str, served: Served, patience: Patience
    ) -> bool:
        """Whether the first bytes begin a container; asked for if *served* has none."""
        if served.body:
            return not served.message
        answer, first, *_ = self.probed(video_id, patience, None, known=True)
        with answer:
            facts = verdict.judge_probe(answer.status, answer.headers, first)
        return facts is not None and facts.odd_type == odd_type

    def probed(
        self, video_id: str, patience: Patience, status: Status | None, *, known: bool
    ) -> Served:
        """The answer to a GET of `PROBE`, and the first bytes of its body."""
        wanted = Wanted(video_id, patience, verdict.PROBE, known=known)
        number = 0
        while True:
            served = self.served(wanted, status)
            answer, body, url, _ = served
            try:
                if answer.status in (200, 206) and not body:
                    body = _first_bytes(answer, patience.deadline)
            except (BodyCut, ServerBroken) as error:
                answer.close()
                self._urls.forget(video_id, url)
                patience.failed(error)
            except BaseException:
                answer.close()
                raise
            else:
                served = served._replace(body=body)
                if not self._began_pause(served, number):
                    return served
                number += 1

    def served(self, wanted: Wanted, status: Status | None) -> Served:
        """The answer of GET, or of the URL that the status names if the API refuses.

        *status* None: the status route is asked if it could matter. If the API asks for a
        pause, in words in place of content, this waits and asks again.
        """
        number = 0
        while True:
            served = self._served_once(wanted, status)
            if not self._began_pause(served, number):
                return served
            number += 1

    def _began_pause(self, served: Served, number: int) -> bool:
        """Whether *served* only asks for a pause; then the next request waits for it.

        *number* is how many pauses this call had before.
        """
        answer, message, status = served.answer, served.message, served.status
        if not (message and answer.from_api):
            return False
        if not refusals.asks_for_pause(answer.status, message, status or UNSAID):
            return False
        answer.close()
        named = named_pause(answer.headers, message, self._sender.now())
        self._transport.limit.pause(named or pause_after(number))
        return True

    def _served_once(self, wanted: Wanted, status: Status | None) -> Served:
        """As `served`, without pauses."""
        video_id = wanted.video_id
        if self._urls.is_in_status(video_id):
            status = self._status_with_url(video_id, status)
            found = self._from_url_in(wanted, status)
            if found is not None:
                return found
        elsewhere = status is not None and bool(status.url)
        served = self._get.ask(replace(wanted, known=wanted.known and not elsewhere))
        answer = served.answer
        if answer.from_api and refusals.may_be_elsewhere(
            answer.status, answer.headers, served.message
        ):
            status = self._status_with_url(video_id, status)
            if not status.url:
                row = self._row_with_url(video_id, whole=wanted.known)
                status = row or status
            served = self._from_url_in(wanted, status) or served
        return served._replace(status=status)

    def _from_url_in(self, wanted: Wanted, status: Status) -> Served | None:
        """The answer from the URL that *status* names; None if it names none."""
        waits = status.state in (State.NOT_READY, State.FAILED, State.GONE)
        if not status.url or waits:
            return None
        served = self._get.from_named(wanted, status.url)
        if served is not None and served.answer.status in (200, 206):
            self._urls.remember_named(wanted.video_id)
        return served and served._replace(status=status)

    def _status_with_url(self, video_id: str, status: Status | None) -> Status:
        """*status*, or that of the status route if no URL was looked for in *status*."""
        if status is not None and status.url is not None:
            return status
        asked = self._status.ask_or_unsaid(video_id)
        return asked if status is None or asked.word else status

    def _row_with_url(self, video_id: str, *, whole: bool) -> Status | None:
        """The row of *video_id* in the list, if that names its URL."""
        try:
            row = self._rows.row_of(video_id, whole=whole)
        except (TransportError, AccessDenied) as error:
            name = printable(video_id, 80)
            log.debug("%s: the list does not tell a URL: %s", name, error)
            return None
        return row if row is not None and row.url else None


def _first_bytes(answer: Answer, deadline: float) -> bytes:
    """Enough of a content answer to tell video from a message; never a whole video."""
    first = answer.read_up_to(verdict.PROBE.stop)
    if sort_of(first, needs_proof=False) is not Sort.VIDEO:
        first += answer.read_text(deadline, MOST_ERROR_BYTES)
    return first
