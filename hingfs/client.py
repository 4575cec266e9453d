"""The endpoint's vocabulary: videos, their status, their bytes.

Nothing is cached here but what is learnt about the *server* (`endpoint_facts`) and
where it keeps the bytes. Decides what is asked to know a video and to read it, and which
answer is believed. Leaves to `sender` how often a request is tried, to `status_route`,
`content` and `pages` their routes, and to `verdict` what one answer means.

Threads: every method may be called from any thread.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

from . import refusals, verdict
from .admission import Admission
from .answer import Answer
from .begun import BegunAnswers
from .blocks import ByteRange, Content, Validator
from .config import EndpointConfig
from .content import ContentRoute
from .download import RangeDownload
from .endpoint_facts import Belief, EndpointFacts
from .errors import (
    AccessDenied,
    BodyCut,
    ContentChanged,
    HingError,
    ServerBroken,
    TransportError,
    VideoNotServed,
)
from .pace import Pace
from .pages import Listed, PagedList
from .patience import METADATA_TRIES, Patience
from .places import Places
from .readiness import Readiness
from .sender import Sender, broken
from .shifting import SAMPLE, Settling
from .status_route import StatusRoute, awaited
from .statuses import UNSAID, State, Status
from .transport import HttpTransport
from .verdict import Facts
from .whole import is_coded
from .workers import DaemonPool

log = logging.getLogger(__name__)

# Whoever takes this long to begin has fetched all of the file first, most likely. A
# guess.
_DEAR_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What the first sight of a video gave: its bytes' facts and its status."""

    facts: Facts
    status: Status


@dataclass(frozen=True, slots=True)
class _Head:
    """What HEAD answered: its code, 0 where it was not asked, and its length.

    *facts* None: it proves nothing.
    """

    code: int
    facts: Facts | None
    size_bytes: int | None = None

    def tells(self, size_bytes: int | None) -> bool:
        """Whether it told the size that GET tells, if GET does."""
        return self.code == 200 and self.size_bytes == size_bytes


class VideoClient:
    """Videos at one endpoint. See the module docstring for its threads."""

    def __init__(
        self, transport: HttpTransport, config: EndpointConfig, pool: DaemonPool
    ) -> None:
        self._transport = transport
        self._config = config
        self._endpoint = endpoint = EndpointFacts()
        self._sender = Sender(transport, config, endpoint)
        self._statuses = StatusRoute(self._sender, transport, config, endpoint, pool)
        self._places = Places()
        self._content = ContentRoute(
            self._sender, self._statuses, transport, self._places
        )
        admission = Admission(self._sender, transport, config, endpoint)
        self._list = PagedList(self._sender, transport, config, endpoint, admission)
        self._settling = Settling(self, self._endpoint)
        self._begun = BegunAnswers()
        self._readiness = Readiness(config.settle_seconds)
        self.check = admission.check
        # What a download and a mount need beside what is below.
        self.content_of = self._content.content_of
        self.refused = self._statuses.refused
        self.renew_token = self._sender.renew_token
        self.ranges_ignored = endpoint.ranges_ignored

    # -- metadata ----------------------------------------------------------------

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
        tries = self._transport.tries(METADATA_TRIES)
        patience = self._sender.patience(
            tries, self._config.metadata_seconds, video_id, gives_way=ahead
        )
        if listed is not None and listed.completed_at_seconds is None:
            listed = None
        ask = partial(self._statuses.asked, video_id, tries, gives_way=ahead)
        asked = ask() if listed is None else None
        head = self._head(video_id, patience)
        status, facts = listed or UNSAID, head.facts
        if asked is not None:
            status, facts = self._with_status(video_id, asked, patience, head)
        if status.unknown:
            facts = facts or self._probe_by_get(
                video_id, status, patience, head, known=known
            )
            # It is served: one replica knows it.
            status = self._statuses.of_known(video_id, status)
        if status.state in (State.NOT_READY, State.FAILED):
            # Some servers serve a file that is still being written.
            raise refusals.refusal(200, b"", status)
        if facts is None:
            known = known or (status.state is State.READY and not status.expired)
            facts = self._probe_by_get(video_id, status, patience, head, known=known)
        if status.state is State.UNCERTAIN or (
            status.unknown and self._endpoint.has_told_status
        ):
            self._prove(video_id, status, facts, patience)
        if asked is not None:
            self._weigh(status)
        self._endpoint.served()
        return Probe(facts, status)

    def can_be_read(self, status: Status) -> bool:
        """Whether a listed video of that *status* is to be shown.

        Where nobody knows its word, once a video of the same word was whole. Where it
        has none: `rsync --delete` would erase the copy of what is left out, and deletes
        nothing where a name turns out not to be ready.
        """
        if status.state is State.UNCERTAIN:
            return self._endpoint.has_passed(status.word)
        return status.state in (State.READY, State.UNSAID)

    def _prove(
        self, video_id: str, status: Status, facts: Facts, patience: Patience
    ) -> None:
        """Raise as `refusals.unproven` unless the content proves itself whole.

        It is served, under a status word that nobody knows, or though the status route
        tells of others and not of it.
        """
        self._statuses.warn_of_word(video_id, status)
        size_bytes = -1 if facts.size_bytes is None else facts.size_bytes
        content = Content(
            video_id,
            size_bytes,
            facts.validator,
            facts.ranges,
            facts.odd_type,
            facts.odd_coding,
        )
        pace = partial(Pace, self._config.stall_seconds)
        doubt = self._readiness.doubt(
            content,
            lambda span: RangeDownload(
                self, self._places, content, span, patience=patience, pace=pace()
            ),
            patience.deadline,
        )
        if doubt is not None:
            begun = self._begun.take(video_id)
            if begun is not None:  # of what is not whole
                begun.close()
            raise refusals.unproven(status, doubt.reason, passing=doubt.passing)
        if status.word:
            self._endpoint.word_passed(status.word, video_id)

    def _with_status(
        self, video_id: str, asked: Future[Status], patience: Patience, head: _Head
    ) -> tuple[Status, Facts | None]:
        """The status, and the facts as far as they are known beside it.

        Where the status alone is refused to this token, the content may be read all the
        same. Raises TransportError where it cannot be had.
        """
        try:
            return awaited(asked, patience.deadline), head.facts
        except TransportError:
            if head.facts is None:  # the words of a refusal may still decide
                self._probe_by_get(video_id, UNSAID, patience, head)
            raise  # it is served, and nobody says whether all of it is there
        except AccessDenied as error:
            if head.code in (401, 402):
                raise self._statuses.denied(error, video_id) from error
            facts = head.facts or self._probe_by_get(video_id, UNSAID, patience, head)
            why = f"it is refused to this token (HTTP {error.code})"
            self._endpoint.status_missing(why)
            return UNSAID, facts

    def _weigh(self, status: Status) -> None:
        """Judge the *status* of a video that is served.

        Raises ServerBroken if it says nothing, and the endpoint told others: the file
        may be half written, and its time would come from another source than later. Of
        one that the route does not know, the content was the proof.
        """
        known = self._endpoint.has_told_status
        if status.word or (status.unknown and known):
            return
        if known:
            raise ServerBroken("the video is served, and its status is not told")
        if status.state is State.GONE:
            self._endpoint.status_missing("it knows nothing of a video that is served")

    @property
    def counts_requests(self) -> bool:
        """Whether the API asked for a pause lately: each request may cost another."""
        return self._transport.limit.known

    @property
    def looks_ahead(self) -> bool:
        """Whether it costs little to ask about videos that nobody has asked for.

        And takes nothing from who wants one: an API that seems dead gets few tries.
        """
        if self.counts_requests or self._transport.seems_dead:
            return False
        return self._endpoint.sizes_are_cheap

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
        return self._endpoint.sizes_are_cheap

    def now(self) -> float:
        """Unix seconds by the API's clock, which its times are told by."""
        return self._sender.now()

    def list_videos(self, wanted: Callable[[str], bool]) -> list[Listed] | None:
        """The videos of the API's list: see `PagedList`."""
        return self._list.list_videos(wanted)

    def newest_videos(self, wanted: Callable[[str], bool]) -> list[Listed] | None:
        """As `list_videos`, but its first page alone, for one request."""
        return self._list.newest_videos(wanted)

    def refresh(self, content: Content) -> Facts | None:
        """The facts of a known video now; None if the server says "not modified".

        Raises as `probe` does.
        """
        tries = self._transport.tries(METADATA_TRIES)
        patience = self._sender.patience(
            tries, self._config.metadata_seconds, content.video_id
        )
        self._settling.believe(content)
        etag = content.validator.etag
        headers = {"If-None-Match": etag} if etag and not content.shifting else {}
        head = self._head(content.video_id, patience, headers)
        if head.code == 304:
            return None
        if head.facts is not None:
            return head.facts
        return self._probe_by_get(content.video_id, None, patience, head, known=True)

    def settle(self, content: Content, seen: Sequence[Validator]) -> None:
        """Find out why *seen* contradict the validator of *content*: see `shifting`."""
        self._settling.settle(content, seen)

    def shifts(self, content: Content, seen: Sequence[Validator]) -> bool:
        """Whether validators change while *content* may not: see `shifting`."""
        return self._settling.shifts(content, seen)

    def believe(self, content: Content) -> None:
        """Let *content* be read whole where validators tell nothing: see `shifting`."""
        self._settling.believe(content)

    def differs(self, content: Content, held: bytes) -> bool | None:
        """Whether *content* begins otherwise now than with *held*: see `shifting`."""
        return self._settling.differs(content, held)

    def head_validator(self, video_id: str) -> Validator | None:
        """What HEAD tells, if it is believed of *video_id*."""
        patience = self._sender.patience(1, self._config.metadata_seconds, video_id)
        head = self._head(video_id, patience)
        return head.facts.validator if head.facts is not None else None

    def sample(self, content: Content) -> tuple[Validator, bytes]:
        """The validator, and the first bytes under it, of a fresh answer to GET.

        Raises TransportError, or what else came.
        """
        patience = self._sender.patience(
            1, self._config.metadata_seconds, content.video_id
        )
        answer, body, *_ = self._content.served(
            content.video_id,
            patience,
            None,
            span=SAMPLE,
            odd_type=content.odd_type,
            fresh=True,
        )
        with answer:
            if answer.status not in (200, 206) or body:
                raise broken(answer, body)
            if not verdict.tells_size(
                answer.status, answer.headers, content.size_bytes
            ):
                raise ServerBroken("its size is another one now")
            decoded = is_coded(answer)
            first = b""
            while len(first) < SAMPLE.stop and (
                piece := answer.read_some(SAMPLE.stop - len(first), decoded=decoded)
            ):
                first += piece
        return verdict.validator_of(answer.headers), first

    def distrust_head(self, video_id: str) -> None:
        """HEAD said something of *video_id* that GET contradicted."""
        self._endpoint.head_contradicted(video_id, 200)

    def distrust_ranges(self) -> None:
        """A video announced ranges and sent the whole: announcements prove nothing."""
        self._endpoint.ranges_announced_falsely()

    def _head(
        self,
        video_id: str,
        patience: Patience,
        headers: Mapping[str, str] | None = None,
    ) -> _Head:
        """What HEAD says of the content; nothing where HEAD is not believed."""
        if not self._endpoint.believes_head_of(video_id):
            return _Head(0, None)
        url = self._sender.content_url(video_id)
        if not self._endpoint.holds(Belief.PROMPT):
            patience.wait_long()
        answer, _ = self._sender.send("HEAD", url, patience, headers=headers)
        answer.close()
        self._endpoint.head_refused(answer.status)
        facts = verdict.judge_head(answer.status, answer.headers)
        if facts is not None:
            self._endpoint.size_told()
            self._endpoint.began(video_id, answer.waited_seconds)
        if facts is not None and not self._endpoint.holds(Belief.ANNOUNCED_RANGES):
            facts = replace(facts, ranges=None)
        return _Head(answer.status, facts, verdict.length_of(answer.headers))

    def _probe_by_get(
        self,
        video_id: str,
        status: Status | None,
        patience: Patience,
        head: _Head,
        *,
        known: bool = False,
    ) -> Facts:
        """The facts that GET tells after *head* told none."""
        if not self._endpoint.asks_again:
            patience.wait_long()
        answer, body, place, status = self._content.probed(
            video_id, patience, status, known=known
        )
        with contextlib.ExitStack() as still_open:
            still_open.enter_context(answer)
            empty = verdict.is_empty_video(answer.status, answer.headers)
            facts = verdict.judge_probe(answer.status, answer.headers, body)
            if empty or (facts is not None and not body):  # chunks may bring nothing
                raise VideoNotServed("the file has no bytes yet")
            if facts is not None:
                self._learn(video_id, answer, facts, head)
                self._places.remember(video_id, place)
                if _is_dear(answer, facts):
                    still_open.pop_all()
                    answer.unread(body)
                    self._begun.keep(video_id, answer)
                return facts
        raise self._statuses.refused(video_id, answer, body, status)

    def _learn(self, video_id: str, answer: Answer, facts: Facts, head: _Head) -> None:
        """What *answer*, which told *facts* after *head* told none, says of the server."""
        if head.code and not head.tells(facts.size_bytes):
            self._endpoint.head_contradicted(video_id, head.code)
        self._endpoint.began(video_id, answer.waited_seconds)
        if facts.size_bytes is not None and answer.status == 206:
            self._endpoint.size_told()
        else:
            self._endpoint.size_cost_all()
        if answer.status == 200:  # the probe asks for a range
            self._endpoint.ranges_ignored()

    # -- content -----------------------------------------------------------------

    def open_range(self, content: Content, span: ByteRange) -> RangeDownload:
        """The bytes of *span*, to be read in order; nothing is sent before `read`."""
        self._settling.believe(content)
        patience = self._sender.read_patience(content.video_id)
        if not (content.ranges and self._endpoint.holds(Belief.PROMPT)):
            patience.wait_long()  # it may bring all of it
        pace = Pace(self._config.stall_seconds)
        return RangeDownload(
            self, self._places, content, span, patience=patience, pace=pace
        )

    def open_whole(self, content: Content, offset: int) -> Answer:
        """A 200 with the whole file, or a 206 that goes on at *offset* > 0.

        The 200 may be one that told the size, or that came late, before. Raises
        ContentChanged for another version than *content*, NotAVideo for a
        message, what the refusal means for anything else, and TransportError.
        """
        self._settling.believe(content)
        begun = self._begun.take(content.video_id)
        if begun is not None:
            if not offset and content.taken_from(verdict.validator_of(begun.headers)):
                return begun
            begun.close()
        patience = self._sender.read_patience(content.video_id)
        patience.wait_long()
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and content.validator.etag:
            headers["If-Range"] = content.validator.etag
        answer, body, place, status = self._content.content_of(
            content, patience, headers=headers
        )
        # Who asks for another has met trouble there.
        self._places.forget(content.video_id, place)
        if answer.status in (200, 206) and not body:
            return self._of_version(answer, content)
        answer.close()
        if answer.status == 416:  # only said to what goes on at an offset
            if content.size_bytes >= 0 and verdict.changed_by_416(
                answer.headers, content
            ):
                raise ContentChanged("the size is another one now")
            raise ServerBroken("416 for a range inside the file")
        error = self._statuses.refused(content.video_id, answer, body, status)
        raise refusals.of_opened(error)

    def _of_version(self, answer: Answer, content: Content) -> Answer:
        """*answer*, where it may be that of *content*, whole or from an offset on."""
        try:
            seen = verdict.validator_of(answer.headers)
            if content.contradicted_by(seen):
                if content.size_bytes >= 0 and not verdict.tells_size(
                    answer.status, answer.headers, content.size_bytes
                ):
                    raise ContentChanged("its size is another one now")
                self.settle(content, [seen])
            if content.shifting and answer.status == 206:
                raise BodyCut("one answer alone holds it: the download starts over")
        except HingError:
            answer.close()
            raise
        if not content.taken_from(seen):  # another answer told one meanwhile
            answer.close()
            raise ContentChanged("its validator is another one now")
        return answer


def _is_dear(answer: Answer, facts: Facts) -> bool:
    """Whether *answer* has the whole file, and would cost as much once more."""
    late = answer.waited_seconds >= _DEAR_SECONDS
    return answer.status == 200 and (facts.size_bytes is None or late)
