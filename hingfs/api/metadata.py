"""Size, validator and status of videos, as the API tells them.

Decides which requests are sent to know a video, and which answer is believed. Leaves to
`sender` how often a request is tried, to `head_route`, `status_route`, `probing` and
`pages` the requests themselves, to `proving` what an unknown status leads to, and to
`verdict` what one answer means.

Threads: every method may be called from any thread.
"""

import time
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from ..content import Content
from ..errors import AccessDenied, ServerBroken, TransportError
from .beliefs import Belief
from .judgement import refusals
from .judgement.verdict import Facts
from .judgement.video_status import UNSAID, State, Status
from .probing import Look, Prober
from .proving import Proving
from .routes import Routes
from .status_route import result_by
from .whole import UNKNOWN_SIZE


@dataclass(frozen=True, slots=True)
class Probe:
    """The result of a first look at a video: the facts of its bytes, and its status."""

    facts: Facts
    status: Status
    listed: bool = False  # whether the status is from the list, and was not asked for


class VideoMetadata:
    """What videos are. See the module docstring.

    `pages` lists them; `validators` tells whether the validators of a video count.
    """

    def __init__(self, routes: Routes) -> None:
        self.pages = routes.pages
        self.validators = routes.settling
        self._transport = routes.transport
        self._config = routes.config
        self._endpoint = routes.endpoint
        self._sender = routes.sender
        self._statuses = routes.statuses
        self._heads = routes.heads
        self._begun = routes.begun
        self._proving = Proving(routes)
        self._prober = Prober(
            routes.content,
            routes.statuses,
            routes.endpoint,
            routes.urls,
            routes.begun,
        )

    def probe(
        self,
        video_id: str,
        listed: Status | None = None,
        *,
        told: Status | None = None,
        known: bool = False,
        ahead: bool = False,
    ) -> Probe:
        """Size, validator and status of a video, seen for the first time.

        The status route is asked beside the HEAD. *listed* is a status from the API's
        list of just now; it saves that request if it tells when the video was completed.
        Some lists tell less than the status route, and the time must not depend on which
        of the two was asked. *told* is what the status route has told just now, if it was
        asked. *known*: the video was served or listed before, so a 404 is
        believed when several replicas say so. *ahead*: no program asked for the video, so
        the look-up gives way once the API counts requests. Raises the errors of `refusals`
        and TransportError, which includes GivenWay.
        """
        tries = self._sender.terms.tries()
        patience = self._sender.terms.of_name(video_id, tries, gives_way=ahead)
        if listed is not None and listed.completed_at_seconds is None:
            listed = None
        begin = partial(self._statuses.begin, video_id, tries, gives_way=ahead)
        asking = begin() if listed is None and told is None else None
        look = Look(video_id, patience, self._heads.ask(video_id, patience))
        status, facts = told or listed or UNSAID, look.head.facts
        if asking is not None:
            status, facts = self._status_and_facts(look, asking)
        if status.unknown:
            facts = facts or self._prober.facts(look, status, known=known)
            # The video is served, so some replica knows it.
            status = self._statuses.ask_replicas(video_id, status)
        # The bytes prove nothing: some servers serve a file while they write it.
        self.refuse_unfinished(status)
        if facts is None:
            known = known or (status.state is State.READY and not status.expired)
            facts = self._prober.facts(look, status, known=known)
        was_asked = asking is not None or told is not None
        self._check_shown(look, status, facts, was_asked=was_asked)
        return Probe(facts, status, listed=status is listed)

    def status(self, video_id: str, *, known: bool = False) -> Status:
        """The status of *video_id*; `UNSAID` if no route tells it to this token.

        *known*: it was told before, so that it is unknown when several replicas say so.
        Raises VideoNotReady or VideoFailed if that is what it says, and TransportError.
        """
        status = self.told(video_id) or UNSAID
        if known:
            status = self._statuses.ask_replicas(video_id, status)
        self.refuse_unfinished(status)
        return status

    def told(self, video_id: str) -> Status | None:
        """The status of *video_id*, whatever it is; None if no route tells this token.

        Raises TransportError.
        """
        asking = self._statuses.begin(video_id, self._sender.terms.tries())
        if asking is None:
            return None
        deadline = time.monotonic() + self._config.metadata_seconds
        try:
            return result_by(deadline, asking)
        except AccessDenied:  # the content may be read all the same
            return None

    def refuse_unfinished(self, status: Status) -> None:
        """Raise VideoNotReady or VideoFailed if that is what *status* says."""
        if status.state in (State.NOT_READY, State.FAILED):
            raise refusals.refusal(200, {}, b"", status)

    def _check_shown(
        self, look: Look, status: Status, facts: Facts, *, was_asked: bool
    ) -> None:
        """Raise unless a video that is served may be shown under its *status*.

        *was_asked*: the status is from the status route.
        """
        if status.state is State.UNCERTAIN or (
            status.unknown and self._endpoint.status.has_told
        ):
            content = self.content_of(look.video_id, facts)
            self._proving.prove(content, status, look.patience)
        if was_asked:
            self._check_route_told(status)
        self._endpoint.token.served()

    def content_of(
        self, video_id: str, facts: Facts, completed_at: float | None = None
    ) -> Content:
        """A new sighting of *video_id* with these *facts*, *completed_at* then."""
        return Content(
            self._config.base_url,
            video_id,
            UNKNOWN_SIZE if facts.size_bytes is None else facts.size_bytes,
            facts.validator,
            ranges=facts.ranges,
            odd_type=facts.odd_type,
            odd_coding=facts.odd_coding,
            completed_at=completed_at,
        )

    def can_be_read(self, status: Status) -> bool:
        """Whether a listed video of that *status* is shown.

        Under an unknown word it is, once a video with that word was whole. Without a word
        it is: `rsync --delete` would erase the copy of a name that is left out, and
        deletes nothing if a name turns out not to be ready.
        """
        if status.state is State.UNCERTAIN:
            return self._endpoint.status.has_passed(status.word)
        return status.state in (State.READY, State.UNSAID)

    def _status_and_facts(
        self, look: Look, asking: Future[Status]
    ) -> tuple[Status, Facts | None]:
        """The status by *asking*, and the facts as far as they are known by then.

        If the API refuses only the status to this token, the content may be read all the
        same. Raises TransportError at any other trouble with the status.
        """
        head = look.head
        try:
            return result_by(look.patience.deadline, asking), head.facts
        except TransportError:
            if head.facts is None:  # the words of a refusal may still decide
                self._prober.facts(look, UNSAID)
            raise  # the video is served, but all of it may not be there yet
        except AccessDenied as error:
            if head.code in (401, 402):
                raise self._statuses.warned_denial(error, look.video_id) from error
            facts = head.facts or self._prober.facts(look, UNSAID)
            why = f"it is refused to this token (HTTP {error.code})"
            self._endpoint.status.missing(why)
            return UNSAID, facts

    def _check_route_told(self, status: Status) -> None:
        """Judge what the status route said of a video that is served.

        Raises ServerBroken if it said nothing, and told the status of other videos: the
        file may be half written, and its time would come from another source than later.
        A video that the route does not know was proved by its content before.
        """
        known = self._endpoint.status.has_told
        if status.word or (status.unknown and known):
            return
        if known:
            raise ServerBroken("the video is served, and its status is not told")
        if status.state is State.GONE:
            self._endpoint.status.missing("it knows nothing of a video that is served")

    @property
    def counts_requests(self) -> bool:
        """Whether the API asked for a pause lately: each request may cost another."""
        return self._transport.limit.known

    @property
    def looks_ahead(self) -> bool:
        """Whether asking about videos that no program wants yet does little harm.

        It does harm if the API counts requests, if its sizes cost whole files, or if it
        seems dead: then it gets few tries, and wanted videos need them.
        """
        if self.counts_requests or self._transport.breaker.seems_dead:
            return False
        return self._endpoint.delivery.sizes_are_cheap

    @property
    def is_away(self) -> bool:
        """Whether the API is away: see `http.breaker`."""
        return self._transport.breaker.is_away

    def has_begun(self, video_id: str) -> bool:
        """Whether an open answer with all of *video_id* is kept for `open_whole`."""
        return self._begun.has(video_id)

    def drop_begun(self, video_id: str) -> None:
        """All of *video_id* is here: close the open answer that is kept, if any."""
        answer = self._begun.take(video_id)
        if answer is not None:
            answer.close()

    def completed_at(self, video_id: str) -> float | None:
        """When *video_id* was made; None unless the status route says it is completed."""
        status = self._statuses.ask_or_unsaid(video_id)
        return status.mtime_seconds if status.state is State.READY else None

    @property
    def sizes_cost_all(self) -> bool:
        """Whether the API was seen to send all of a video to tell its size."""
        return not self._endpoint.beliefs.holds(Belief.CHEAP_SIZES)

    def now(self) -> float:
        """Unix seconds by the API's clock, which its times are told by."""
        return self._sender.now()

    def refresh(self, content: Content) -> Facts | None:
        """The facts of a known video now; None if the server says "not modified".

        Raises as `probe` does.
        """
        tries = self._sender.terms.tries()
        patience = self._sender.terms.of_name(content.video_id, tries)
        self.validators.believe(content)
        etag = content.validator.etag
        headers = {"If-None-Match": etag} if etag and not content.shifting else {}
        head = self._heads.ask(content.video_id, patience, headers)
        if head.code == 304:
            return None
        if head.facts is not None:
            return head.facts
        look = Look(content.video_id, patience, head)
        return self._prober.facts(look, None, known=True)

    def distrust_head(self, video_id: str) -> None:
        """Record that GET contradicted what HEAD told of *video_id*."""
        self._endpoint.head.contradicted(video_id, 200)
