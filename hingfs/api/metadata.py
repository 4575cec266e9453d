"""What a video is, as the API tells it: size, validator, status, and who is listed.

Decides what is asked to know a video, and which answer is believed. Leaves to `sender`
how often a request is tried, to `head_route`, `status_route`, `probing` and `pages`
what each of them asks, to `proving` what an unknown status leads to, and to `verdict`
what one answer means.

Threads: every method may be called from any thread.
"""

from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from ..errors import AccessDenied, ServerBroken, TransportError
from ..version import Content
from .judgement import refusals
from .judgement.statuses import UNSAID, State, Status
from .judgement.verdict import Facts
from .probing import Look, Prober
from .proving import Proving
from .routes import Routes
from .status_route import awaited
from .whole import UNKNOWN_SIZE


@dataclass(frozen=True, slots=True)
class Probe:
    """What the first sight of a video gave: its bytes' facts and its status."""

    facts: Facts
    status: Status


class VideoMetadata:
    """What videos are. See the module docstring.

    *pages* lists them; *validators* tells what those of one are worth.
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
            routes.places,
            routes.begun,
        )

    def probe(
        self,
        video_id: str,
        listed: Status | None = None,
        *,
        known: bool = False,
        ahead: bool = False,
    ) -> Probe:
        """Size, validator and status of a video, seen for the first time.

        The status route is asked beside the HEAD; *listed*, a status that the API's
        list gave just now, saves that request if it tells when the video was completed:
        some lists tell less than the status route, and the time must not depend on who
        was asked. Of a video that is *known*, for it was served or listed before, a 404
        is believed when several replicas say so. One that is asked *ahead* of whoever may
        want it gives way once the API counts requests. Raises what `refusals` makes of
        the answers, and TransportError, GivenWay among it.
        """
        tries = self._sender.terms.tries()
        patience = self._sender.terms.of_name(video_id, tries, gives_way=ahead)
        if listed is not None and listed.completed_at_seconds is None:
            listed = None
        ask = partial(self._statuses.asked, video_id, tries, gives_way=ahead)
        asked = ask() if listed is None else None
        look = Look(video_id, patience, self._heads.ask(video_id, patience))
        status, facts = listed or UNSAID, look.head.facts
        if asked is not None:
            status, facts = self._with_status(look, asked)
        if status.unknown:
            facts = facts or self._prober.facts(look, status, known=known)
            # It is served: one replica knows it.
            status = self._statuses.of_known(video_id, status)
        if status.state in (State.NOT_READY, State.FAILED):
            # Some servers serve a file that is still being written.
            raise refusals.refusal(200, {}, b"", status)
        if facts is None:
            known = known or (status.state is State.READY and not status.expired)
            facts = self._prober.facts(look, status, known=known)
        self._accept(look, status, facts, was_asked=asked is not None)
        return Probe(facts, status)

    def _accept(
        self, look: Look, status: Status, facts: Facts, *, was_asked: bool
    ) -> None:
        """Raise unless what is served may be shown under its *status*."""
        if status.state is State.UNCERTAIN or (
            status.unknown and self._endpoint.status.has_told
        ):
            content = self.content_of(look.video_id, facts)
            self._proving.prove(content, status, look.patience)
        if was_asked:
            self._check_told(status)
        self._endpoint.token.served()

    def content_of(self, video_id: str, facts: Facts) -> Content:
        """A sighting of *video_id*, of which *facts* were told."""
        return Content(
            self._config.base_url,
            video_id,
            UNKNOWN_SIZE if facts.size_bytes is None else facts.size_bytes,
            facts.validator,
            ranges=facts.ranges,
            odd_type=facts.odd_type,
            odd_coding=facts.odd_coding,
        )

    def can_be_read(self, status: Status) -> bool:
        """Whether a listed video of that *status* is to be shown.

        Where nobody knows its word, once a video of the same word was whole. Where it
        has none: `rsync --delete` would erase the copy of what is left out, and deletes
        nothing where a name turns out not to be ready.
        """
        if status.state is State.UNCERTAIN:
            return self._endpoint.status.has_passed(status.word)
        return status.state in (State.READY, State.UNSAID)

    def _with_status(
        self, look: Look, asked: Future[Status]
    ) -> tuple[Status, Facts | None]:
        """The status, and the facts as far as they are known beside it.

        Where the status alone is refused to this token, the content may be read all the
        same. Raises TransportError where it cannot be had.
        """
        head = look.head
        try:
            return awaited(asked, look.patience.deadline), head.facts
        except TransportError:
            if head.facts is None:  # the words of a refusal may still decide
                self._prober.facts(look, UNSAID)
            raise  # it is served, and nobody says whether all of it is there
        except AccessDenied as error:
            if head.code in (401, 402):
                raise self._statuses.denied(error, look.video_id) from error
            facts = head.facts or self._prober.facts(look, UNSAID)
            why = f"it is refused to this token (HTTP {error.code})"
            self._endpoint.status.missing(why)
            return UNSAID, facts

    def _check_told(self, status: Status) -> None:
        """Judge the *status* of a video that is served.

        Raises ServerBroken if it says nothing, and the endpoint told others: the file
        may be half written, and its time would come from another source than later. Of
        one that the route does not know, the content was the proof.
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
        """Whether it costs little to ask about videos that nobody has asked for.

        And takes nothing from who wants one: an API that seems dead gets few tries.
        """
        if self.counts_requests or self._transport.breaker.seems_dead:
            return False
        return self._endpoint.delivery.sizes_are_cheap

    def has_begun(self, video_id: str) -> bool:
        """Whether an answer with all of *video_id* waits to be read: `open_whole`."""
        return self._begun.has(video_id)

    def completed_at(self, video_id: str) -> float | None:
        """When *video_id* was made, if the status route tells that it is completed."""
        status = self._statuses.told(video_id)
        return status.mtime_seconds if status.state is State.READY else None

    @property
    def sizes_are_cheap(self) -> bool:
        """Whether the facts of a video can be had without all of its bytes."""
        return self._endpoint.delivery.sizes_are_cheap

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
        """HEAD said something of *video_id* that GET contradicted."""
        self._endpoint.head.contradicted(video_id, 200)
