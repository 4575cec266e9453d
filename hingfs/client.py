"""The endpoint's vocabulary: videos, their status, their bytes.

Nothing is cached here but what is learnt about the *server* (`endpoint_facts`) and
where it keeps the bytes.
Decides how often and how long to try; what an answer means is left to
`verdict`, `refusals`, `statuses` and `listing`, how it is
had is `transport`'s.

Threads: every method may be called from any thread.
"""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import quote, urlencode, urlsplit

from . import bodies, listing, refusals, results, statuses, verdict
from .answer import Answer, inline_answer
from .begun import BegunAnswers
from .blocks import KIB, MIB, ByteRange, Content, Validator
from .config import EndpointConfig
from .download import MOST_ERROR_BYTES, RangeDownload, Served
from .endpoint_facts import Belief, EndpointFacts
from .errors import (
    AccessDenied,
    BodyCut,
    ContentChanged,
    DeadlineExceeded,
    EndpointError,
    HingError,
    NoAnswer,
    RateLimited,
    ServerBroken,
    TokenError,
    TransportError,
    Unreachable,
    VideoNotReady,
    VideoNotServed,
    printable,
)
from .listing import ListPage
from .pace import Pace
from .patience import METADATA_TRIES, READ_TRIES, Patience
from .pauses import asks_for_pause, named_pause
from .places import Places
from .readiness import Readiness
from .replicas import ask_around
from .shifting import SAMPLE, Settling
from .statuses import UNSAID, State, Status
from .transport import HttpTransport
from .verdict import Facts
from .wording import DENIED_CODES
from .workers import DaemonPool

log = logging.getLogger(__name__)

_PAGE_ENTRIES = 100
_MOST_PAGES = 200
# A server may ignore `limit`: 20,000 videos with prompts of a line.
_MOST_PAGE_BYTES = 8 * MIB
_MOST_STATUS_BYTES = 1 * MIB  # the prompt may be in it, and pictures in that
# Servers refuse request lines beyond some 8 KiB.
_LONGEST_URL = 8 * KIB
# No server gives out this id.
_NO_VIDEO = "hingfs-asks-for-no-video"
# Whoever takes this long to begin has fetched all of the file first, most likely. A
# guess.
_DEAR_SECONDS = 1.0
# What servers without a list answer; with 200, a web page or another kind of object.
_NO_LIST_CODES = frozenset({200, 400, 404, 405, 501})


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


@dataclass(frozen=True, slots=True)
class Listed:
    """One video of the API's list."""

    video_id: str
    status: Status


class VideoClient:
    """Videos at one endpoint. See the module docstring for its threads."""

    def __init__(
        self, transport: HttpTransport, config: EndpointConfig, pool: DaemonPool
    ) -> None:
        self._transport = transport
        self._config = config
        self._pool = pool
        self._endpoint = EndpointFacts()
        self._settling = Settling(self, self._endpoint)
        self._warned: set[str] = set()
        self._places = Places()
        self._begun = BegunAnswers()
        self._readiness = Readiness(config.settle_seconds)
        # One status or page is parsed at a time: as objects a body takes fifteen times
        # its size, and each of the threads that ask may have one.
        self._parsing = threading.Lock()

    # -- before mounting ---------------------------------------------------------

    def check(self) -> str:
        """Ask the API for one list entry, as a test of address and token.

        Returns a warning where the list cannot be had and the token is good all the
        same; "" otherwise. Raises TokenError when the token is refused everywhere,
        EndpointError when nothing answers. Many servers have no list.
        """
        base_url = self._config.base_url
        try:
            listless = self._trouble_with(
                self._list_url({"limit": "1"}), self._config.metadata_seconds
            )
            if listless is None:
                return ""
            if isinstance(listless, RateLimited):  # the API is there
                return f"the token was not tried: {listless}"
            self._find_access(listless)
        except AccessDenied as error:
            raise TokenError(
                f"{base_url} refuses the token ({error.code}): {error.said}"
            ) from error
        except TransportError as error:
            raise EndpointError(
                f"cannot reach {base_url}: {error}. Check --base-url and the network, "
                "or skip this check with --no-check"
            ) from error
        return (
            f"{base_url} does not give its list ({listless}); names that are given "
            "work, and ls shows what was opened"
        )

    def _find_access(self, listless: AccessDenied | TransportError) -> None:
        """Return if any route but the list takes the token; else raise.

        *listless* is what came instead of the list. The video asked about is none:
        whoever is let in hears that, and an error of the server is no refusal.
        """
        if isinstance(listless, Unreachable):
            raise listless
        troubles = [listless]
        for route in ("", "/content"):
            url = self._transport.url_of(f"/v1/videos/{_NO_VIDEO}{route}")
            trouble = self._trouble_with(url, self._config.metadata_seconds / 3)
            if trouble is None:
                return
            troubles.append(trouble)
        refused = [error for error in troubles if isinstance(error, AccessDenied)]
        answered = any(isinstance(error, ServerBroken) for error in troubles)
        if refused and not answered:
            raise refused[0]
        if not refused:
            raise listless

    def _trouble_with(
        self, url: str, seconds: float
    ) -> AccessDenied | TransportError | None:
        """What keeps this token from *url*: a refusal or trouble; None if nothing does."""
        patience = self._patience(METADATA_TRIES, seconds)
        try:
            answer, body = self._send("GET", url, patience)
        except TransportError as error:
            return error
        answer.close()
        refusal = refusals.refusal(answer.status, body, UNSAID)
        return refusal if isinstance(refusal, AccessDenied) else None

    # -- metadata ----------------------------------------------------------------

    def probe(
        self, video_id: str, listed: Status | None = None, *, known: bool = False
    ) -> Probe:
        """Size, validator and status of a video, seen for the first time.

        The status route is asked beside the HEAD; *listed*, a status that the API's
        list gave just now, saves that request if it tells when the video was completed:
        some lists tell less than the status route, and the time must not depend on who
        was asked. Of a video that is *known*, for it was served or listed before, a 404
        is believed when several replicas say so. Raises what `refusals` makes of the
        answers, and TransportError.
        """
        tries = self._transport.tries(METADATA_TRIES)
        patience = self._patience(tries, self._config.metadata_seconds, video_id)
        if listed is not None and listed.completed_at_seconds is None:
            listed = None
        asked = self._asked(video_id, tries) if listed is None else None
        head = self._head(video_id, patience)
        status, facts = listed or UNSAID, head.facts
        if asked is not None:
            status, facts = self._with_status(video_id, asked, patience, head)
        if status.unknown:
            facts = facts or self._probe_by_get(
                video_id, status, patience, head, known=known
            )
            # It is served: one replica knows it.
            status = self._status_of_known(video_id, status)
        if status.state in (State.NOT_READY, State.FAILED):
            # Some servers serve a file that is still being written.
            raise refusals.refusal(200, b"", status)
        if facts is None:
            known = known or (status.state is State.READY and not status.expired)
            facts = self._probe_by_get(video_id, status, patience, head, known=known)
        if status.state is State.UNCERTAIN:
            self._prove(video_id, status, facts, patience)
        if asked is not None:
            self._weigh(status)
        self._endpoint.served()
        return Probe(self._believed(facts), status)

    def _believed(self, facts: Facts) -> Facts:
        """*facts* without a validator where those of the endpoint tell nothing."""
        if self._endpoint.holds(Belief.VALIDATORS):
            return facts
        return replace(facts, validator=Validator())

    def can_be_read(self, status: Status) -> bool:
        """Whether a listed video of that *status* is to be shown.

        Where nobody knows its word, once a video of the same word was whole.
        """
        if status.state is State.UNCERTAIN:
            return self._endpoint.has_passed(status.word)
        return status.state is State.READY

    def _prove(
        self, video_id: str, status: Status, facts: Facts, patience: Patience
    ) -> None:
        """Raise VideoNotReady unless the content proves itself whole.

        It is served, under a status word that nobody knows.
        """
        self._warn_of_word(status)
        size_bytes = -1 if facts.size_bytes is None else facts.size_bytes
        content = Content(
            video_id, size_bytes, facts.validator, facts.ranges, facts.odd_type
        )
        pace = partial(Pace, self._config.stall_seconds)
        doubt = self._readiness.doubt(
            content,
            lambda span: RangeDownload(
                self, self._places, content, span, patience=patience, pace=pace()
            ),
            patience.deadline,
        )
        if doubt:
            begun = self._begun.take(video_id)
            if begun is not None:  # of what is not whole
                begun.close()
            said = f"the status word {status.word} is unknown, and {doubt}"
            raise VideoNotReady(said)
        self._endpoint.word_passed(status.word, video_id)

    def _with_status(
        self, video_id: str, asked: Future[Status], patience: Patience, head: _Head
    ) -> tuple[Status, Facts | None]:
        """The status, and the facts as far as they are known beside it.

        Where the status alone is refused to this token, the content may be read all the
        same. Raises TransportError where it cannot be had.
        """
        try:
            return _awaited(asked, patience.deadline), head.facts
        except TransportError:
            if head.facts is None:  # the words of a refusal may still decide
                self._probe_by_get(video_id, UNSAID, patience, head)
            raise  # it is served, and nobody says whether all of it is there
        except AccessDenied as error:
            if head.code in (401, 402):
                raise self._denied(error, video_id) from error
            facts = head.facts or self._probe_by_get(video_id, UNSAID, patience, head)
            why = f"it is refused to this token ({error.code})"
            self._endpoint.status_missing(why)
            return UNSAID, facts

    def _weigh(self, status: Status) -> None:
        """Judge the *status* of a video that is served.

        Raises ServerBroken if it says nothing, and the endpoint told others: the file
        may be half written, and its time would come from another source than later.
        """
        if status.word:
            return
        if self._endpoint.has_told_status:
            raise ServerBroken("the video is served, and its status is not told")
        if status.state is State.GONE:
            self._endpoint.status_missing("it knows nothing of a video that is served")

    @property
    def counts_requests(self) -> bool:
        """Whether the API asked for a pause lately: each request may cost another."""
        return self._transport.limit.known

    @property
    def looks_ahead(self) -> bool:
        """Whether it costs little to ask about videos that nobody has asked for."""
        return self._endpoint.sizes_are_cheap and not self.counts_requests

    def has_begun(self, video_id: str) -> bool:
        """Whether an answer with all of *video_id* waits to be read: `open_whole`."""
        return self._begun.has(video_id)

    def completed_at(self, video_id: str) -> float | None:
        """When *video_id* was made, if the status route tells that it is completed."""
        status = self._status_if_told(video_id)
        return status.mtime_seconds if status.state is State.READY else None

    @property
    def sizes_are_cheap(self) -> bool:
        """Whether the facts of a video can be had without all of its bytes."""
        return self._endpoint.sizes_are_cheap

    def now(self) -> float:
        """Unix seconds by the API's clock, which its times are told by."""
        return self._transport.clock.now()

    def refresh(self, content: Content) -> Facts | None:
        """The facts of a known video now; None if the server says "not modified".

        Raises as `probe` does.
        """
        tries = self._transport.tries(METADATA_TRIES)
        patience = self._patience(
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

    def head_validator(self, video_id: str) -> Validator | None:
        """What HEAD tells, if it is believed of *video_id*."""
        patience = self._patience(1, self._config.metadata_seconds, video_id)
        head = self._head(video_id, patience)
        return head.facts.validator if head.facts is not None else None

    def sample(self, content: Content) -> tuple[Validator, bytes]:
        """The validator, and the first bytes under it, of a fresh answer to GET.

        Raises TransportError, or what else came.
        """
        patience = self._patience(1, self._config.metadata_seconds, content.video_id)
        answer, body, *_ = self._served(
            content.video_id,
            patience,
            None,
            span=SAMPLE,
            odd_type=content.odd_type,
            fresh=True,
        )
        with answer:
            if answer.status not in (200, 206) or body:
                raise _broken(answer, body)
            if not verdict.tells_size(
                answer.status, answer.headers, content.size_bytes
            ):
                raise ServerBroken("its size is another one now")
            decoded = verdict.is_encoded(answer.headers)
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

    def list_videos(self, wanted: Callable[[str], bool]) -> list[Listed] | None:
        """The videos of the API's list whose ids are *wanted*, newest first.

        None if the API never had a list. Raises TransportError if the list cannot be
        had whole.
        """
        found: dict[str, Listed] = {}
        after, rows, held_bytes = "", 0, 0
        for _ in range(_MOST_PAGES):
            page = self._list_page(after)
            if page is None:
                return None
            known = len(found)
            for video_id, status in page.videos:
                if wanted(video_id) and video_id not in found:
                    found[video_id] = Listed(video_id, status)
                    held_bytes += listing.listed_bytes(video_id)
            if held_bytes > listing.MOST_LISTED_BYTES:
                break
            if page.has_more is False:
                return list(found.values())
            # A page of nothing that is wanted is told from a repeated one by its end.
            seen = page.last_id in found or page.last_id in ("", after)
            if len(found) == known and seen:
                _check_whole(page, rows)
                return list(found.values())
            after, rows = page.last_id, rows + page.rows
        raise ServerBroken(
            f"the list has more than {_MOST_PAGES} pages, or ids that take more than "
            f"{listing.MOST_LISTED_BYTES // MIB} MiB"
        )

    def newest_videos(self, wanted: Callable[[str], bool]) -> list[Listed] | None:
        """As `list_videos`, but its first page alone, for one request."""
        page = self._list_page("")
        if page is None:
            return None
        return [Listed(*video) for video in page.videos if wanted(video[0])]

    def _list_page(self, after: str) -> ListPage | None:
        code, body = self._list_answer(after)
        with self._parsing:
            page = listing.judge_list(body, self.now()) if code == 200 else None
        if page is not None:
            self._endpoint.list_given()
        elif self._endpoint.has_listed or code not in _NO_LIST_CODES | DENIED_CODES:
            # What gave a list once has one: anything else from it is trouble.
            raise ServerBroken(f"no list came, but another answer ({code})")
        return page

    def _list_answer(self, after: str) -> tuple[int, bytes]:
        tries = self._transport.tries(METADATA_TRIES)
        patience = self._patience(tries, self._config.metadata_seconds)
        query = {"limit": str(_PAGE_ENTRIES), "order": "desc"}
        if after:
            query["after"] = after
        try:
            url = self._list_url(query)
        except UnicodeEncodeError as error:
            raise ServerBroken("the list cannot be paged: an id is no text") from error
        if len(url) > _LONGEST_URL:
            raise ServerBroken("the list cannot be paged: an id is too long to be sent")
        ask = partial(self._json, url, patience, _MOST_PAGE_BYTES, listing.is_cut_short)
        # Another replica may not know the video to go on after.
        answer, body = _asked_around(ask) if after else ask()
        if len(body) > _MOST_PAGE_BYTES:
            raise ServerBroken("a page of the list is larger than 8 MiB")
        refusal = refusals.refusal(answer.status, body, UNSAID)
        if isinstance(refusal, AccessDenied):
            self._without_list(refusal)
        return answer.status, body

    def _without_list(self, refusal: AccessDenied) -> None:
        """Return where the list alone is refused to this token; else raise.

        Once that is known, another look costs no more than the refusal.
        """
        if self._endpoint.holds(Belief.LIST):
            try:
                self._find_access(refusal)
            except AccessDenied:
                self._warn("denied", str(refusal))
                raise
            self._endpoint.list_withheld(f"refused ({refusal.code}): {refusal.said}")

    def _head(
        self,
        video_id: str,
        patience: Patience,
        headers: Mapping[str, str] | None = None,
    ) -> _Head:
        """What HEAD says of the content; nothing where HEAD is not believed."""
        if not self._endpoint.believes_head_of(video_id):
            return _Head(0, None)
        url = self._content_url(video_id)
        if not self._endpoint.holds(Belief.PROMPT):
            patience.wait_long()
        answer, _ = self._send("HEAD", url, patience, headers=headers)
        answer.close()
        self._endpoint.head_refused(answer.status)
        facts = verdict.judge_head(answer.status, answer.headers)
        if facts is not None:
            self._endpoint.size_told()
            self._endpoint.began(video_id, answer.waited_seconds)
        if facts is not None and not self._endpoint.holds(Belief.ANNOUNCED_RANGES):
            facts = replace(facts, ranges=None)
        return _Head(answer.status, facts, verdict.length_of(answer.headers))

    def _status(self, video_id: str, tries: int, *, fresh: bool = False) -> Status:
        patience = self._patience(tries, self._config.metadata_seconds, video_id)
        url = self._transport.url_of(f"/v1/videos/{quote(video_id, safe='')}")
        answer, body = self._json(
            url, patience, _MOST_STATUS_BYTES, bodies.is_cut_short, fresh=fresh
        )
        with self._parsing:
            status = statuses.judge_status(
                answer.status, answer.headers, body, video_id, self.now()
            )
        if status.word:
            self._endpoint.status_told()
        if status.state is State.NO_ROUTE:
            self._endpoint.status_missing(f"there is none ({answer.status})")
        return status

    def _status_of_known(self, video_id: str, status: Status) -> Status:
        """*status*, or that of a replica that knows *video_id*, which some do."""
        return ask_around(
            status,
            lambda: self._status(video_id, 1, fresh=True),
            lambda found: not found.unknown,
        )

    def _asked(self, video_id: str, tries: int) -> Future[Status] | None:
        """The status, on its way; None where the server has no route for it."""
        if not self._endpoint.holds(Belief.STATUS):
            return None
        return self._pool.submit(self._status, video_id, tries)

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
        answer, body, place, status = self._probed(
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
        raise self.refused(video_id, answer, body, status)

    def _learn(self, video_id: str, answer: Answer, facts: Facts, head: _Head) -> None:
        """What *answer*, which told *facts* after *head* told none, says of the server."""
        if head.code and not head.tells(facts.size_bytes):
            self._endpoint.head_contradicted(video_id, head.code)
        self._endpoint.began(video_id, answer.waited_seconds)
        if facts.ranges:
            self._endpoint.size_told()
        else:
            self._endpoint.size_cost_all()

    def _probed(
        self, video_id: str, patience: Patience, status: Status | None, *, known: bool
    ) -> Served:
        """The answer to a GET of `PROBE`, with the first bytes of its body."""
        while True:
            served = self._served(
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
                return served._replace(body=body)

    def refused(
        self, video_id: str, answer: Answer, body: bytes, status: Status | None = None
    ) -> HingError:
        """The error that *answer*, which is no content, means for *video_id*.

        Asks the status route where *status* is not known and could matter.
        """
        if not answer.from_api:
            return _broken(answer, body)
        if (
            refusals.route_missing(answer.status, answer.headers, body)
            and not self._endpoint.has_served
        ):
            self._warn(
                "base URL",
                f"{self._config.base_url} answers with a web page; check the base URL",
            )
        if status is None and refusals.is_final(answer.status, body):
            status = self._status_if_told(video_id)
        status = status or UNSAID
        self._warn_of_word(status)
        error = refusals.refusal(answer.status, body, status)
        if isinstance(error, AccessDenied):
            return self._denied(error, video_id)
        if isinstance(error, RateLimited):
            self._transport.limit.pause(named_pause(answer.headers, body, self.now()))
        return error

    def _denied(self, error: AccessDenied, video_id: str) -> AccessDenied:
        """*error*, said once; of *video_id* alone where the token is good for others."""
        about_video = error.code == 403 and self._endpoint.is_about_video(video_id)
        if not about_video:
            self._warn("denied", str(error))
            return error
        name = printable(video_id, 80)
        own = AccessDenied(
            f"the API refuses {name} and serves others ({error.code}): {error.said}",
            error.code,
        )
        self._warn(f"denied {video_id}", str(own))
        return own

    def _status_if_told(self, video_id: str) -> Status:
        asked = self._asked(video_id, METADATA_TRIES)
        if asked is None:
            return UNSAID
        deadline = time.monotonic() + self._config.metadata_seconds
        try:
            return self._status_of_known(video_id, _awaited(asked, deadline))
        except (TransportError, AccessDenied) as error:
            # What was refused is judged by its words.
            log.debug("the status route does not tell: %s", error)
            return UNSAID

    # -- content -----------------------------------------------------------------

    def open_range(self, content: Content, span: ByteRange) -> RangeDownload:
        """The bytes of *span*, to be read in order; nothing is sent before `read`."""
        self._settling.believe(content)
        patience = self._read_patience(content.video_id)
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
            seen = verdict.validator_of(begun.headers)
            if not offset and not content.contradicted_by(seen):
                content.taken_from(seen)
                return begun
            begun.close()
        patience = self._read_patience(content.video_id)
        patience.wait_long()
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and content.validator.etag:
            headers["If-Range"] = content.validator.etag
        answer, body, place, status = self.content_of(
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
        error = self.refused(content.video_id, answer, body, status)
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
        content.taken_from(seen)
        return answer

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
            self._served, content.video_id, patience, None, span=span, headers=headers
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
        content.odd_type = odd_type
        return ask(odd_type=odd_type)

    def _is_proven(
        self, video_id: str, odd_type: str, served: Served, patience: Patience
    ) -> bool:
        """Whether the first bytes, asked for if *served* has none, are a container's."""
        if served.body:
            return bodies.is_container(served.body)
        answer, first, *_ = self._probed(video_id, patience, None, known=True)
        with answer:
            facts = verdict.judge_probe(answer.status, answer.headers, first)
        return facts is not None and facts.odd_type == odd_type

    def _served(
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

        *status* None: it is asked if it could matter.
        """
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
        answer, body, *_ = served
        if answer.from_api and refusals.may_be_elsewhere(answer.status, body):
            status = self._status_with_url(video_id, status)
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
        told = self._status_if_told(video_id)
        return told if status is None or told.word else status

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
        content_url = self._content_url(video_id)
        target = self._transport.redirect_target(content_url, url)
        if target == content_url:
            return None
        answer, body = self._send("GET", target, patience, span=span, headers=headers)
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
        url = self._content_url(video_id)
        send = partial(self._send, "GET", url, patience, span=span, headers=headers)
        answer, body = _asked_around(send) if known and not fresh else send(fresh=fresh)
        if not answer.from_api:
            return Served(answer, body, answer.url)
        message = verdict.may_be_message(answer.headers, odd_type)
        if answer.status != 200 or not message:
            return Served(answer, body, None)
        with contextlib.ExitStack() as still_open:
            still_open.enter_context(answer)
            body = answer.read_text(patience.deadline, MOST_ERROR_BYTES)
            if bodies.is_container(body):
                still_open.pop_all()  # a video after all
                return Served(answer, body, None)
        named = results.url_in_json(body)
        if named is None:
            return Served(answer, body, None)
        named_by_json = self._at_named(
            video_id, named, patience, span=span, headers=headers
        )
        return named_by_json or Served(answer, body, None)

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
            log.debug("a place that was used before is in trouble: %s", error)
            return None
        message = verdict.may_be_message(answer.headers, odd_type)
        if answer.status in (200, 206) and not message:
            return answer
        answer.close()
        return None

    # -- one request, tried several times ------------------------------------------

    def _send(
        self,
        method: str,
        url: str,
        patience: Patience,
        *,
        span: ByteRange | None = None,
        headers: Mapping[str, str] | None = None,
        fresh: bool = False,
    ) -> tuple[Answer, bytes]:
        """An answer that is no passing trouble; its body is read unless 200 or 206."""
        renewed = False
        while True:
            turn, began = patience.turn(), time.monotonic()
            try:
                with turn:
                    answer = self._transport.request(
                        method,
                        url,
                        deadline=patience.head_deadline,
                        about=patience.about,
                        span=span,
                        headers=headers,
                        fresh=fresh,
                    )
            except TransportError as error:
                if isinstance(error, NoAnswer) and method == "HEAD":
                    self._bear_silence(patience, began)
                patience.failed(error)
                continue
            patience.answered()
            if answer.status in (200, 206):
                self._transport.limit.answered()
                return answer, b""
            with answer:
                body = answer.read_text(patience.deadline, MOST_ERROR_BYTES)
            if not renewed and self._has_new_token(answer, body):
                renewed = True
                continue
            if asks_for_pause(answer.status, answer.headers, body):
                self._pause(answer, body, patience)
                continue
            self._transport.limit.answered()
            if method == "HEAD" or refusals.is_final(answer.status, body):
                return answer, body  # what HEAD refuses, GET may serve
            patience.failed(_broken(answer, body))

    def _bear_silence(self, patience: Patience, since: float) -> None:
        """HEAD has had no answer *since* then: where the API answers others, wait.

        A proxy may fetch the whole file to answer it, and does so for each.
        """
        if self._transport.answered_since(since):
            patience.bear_silence()

    def _pause(self, answer: Answer, body: bytes, patience: Patience) -> None:
        """*answer* asks for a pause: quiet everybody, or this call alone.

        A storage host does not speak for the API.
        """
        seconds = named_pause(answer.headers, body, self.now())
        if answer.from_api:
            patience.limited(seconds)
        else:
            patience.failed(_broken(answer, body), seconds or 0.0)

    def _json(
        self,
        url: str,
        patience: Patience,
        most_bytes: int,
        is_cut_short: Callable[[bytes], bool],
        *,
        fresh: bool = False,
    ) -> tuple[Answer, bytes]:
        """What the API tells at *url*, closed, with its body up to *most_bytes* + 1.

        A body that *is_cut_short* is asked for again: as it is, it would be taken for a
        page in place of what was asked for.
        """
        while True:
            answer, body = self._send("GET", url, patience, fresh=fresh)
            if answer.status not in (200, 206):
                return answer, body
            with answer:
                body = answer.read_text(patience.deadline, most_bytes + 1)
            with self._parsing:
                whole = len(body) > most_bytes or not is_cut_short(body)
            if whole:
                return answer, body
            patience.failed(BodyCut("the JSON breaks off, or is more than is read"))

    def _has_new_token(self, answer: Answer, body: bytes) -> bool:
        """Whether *answer* refuses a token, and the token file holds another by now."""
        if not (answer.from_api and refusals.refuses_token(answer.status, body)):
            return False
        # Of requests refused at the same time, only one finds a new token.
        if not (
            self._transport.renew_token() or self._transport.token_renewed_since(answer)
        ):
            return False
        self._warned.discard("denied")  # that of another token is news
        self._endpoint.token_renewed()
        return True

    def _patience(self, tries: int, seconds: float, about: str = "") -> Patience:
        return Patience(
            self._transport,
            about=about,
            seconds=seconds,
            tries=tries,
            retry_after_seconds=self._config.retry_after_seconds,
            stall_seconds=self._config.stall_seconds,
            first_byte_seconds=self._config.first_byte_seconds,
        )

    def _read_patience(self, video_id: str) -> Patience:
        """That of a read, which waits for a pause as long as for anything else."""
        return Patience(
            self._transport,
            about=video_id,
            seconds=self._config.read_seconds,
            tries=READ_TRIES,
            retry_after_seconds=math.inf,
            stall_seconds=self._config.stall_seconds,
            first_byte_seconds=self._config.first_byte_seconds,
        )

    def _content_url(self, video_id: str) -> str:
        return self._transport.url_of(f"/v1/videos/{quote(video_id, safe='')}/content")

    def _list_url(self, query: Mapping[str, str]) -> str:
        return self._transport.url_of(f"/v1/videos?{urlencode(query)}")

    def _warn_of_word(self, status: Status) -> None:
        if status.state is State.UNCERTAIN:
            self._warn(
                f"word {status.word}",
                f"unknown status word {status.word!r}: such a video is taken as not "
                "ready until its content proves that it is whole",
            )

    def _warn(self, subject: str, message: str) -> None:
        """Log *message* once for each *subject*; what is said often is not read."""
        if subject not in self._warned and len(self._warned) < 100:
            self._warned.add(subject)
            log.warning("%s", message)


def _asked_around(ask: Callable[..., tuple[Answer, bytes]]) -> tuple[Answer, bytes]:
    """What *ask* gives of a video, by fresh connections where one does not know it."""
    return ask_around(ask(), partial(ask, fresh=True), _is_known)


def _is_dear(answer: Answer, facts: Facts) -> bool:
    """Whether *answer* has the whole file, and would cost as much once more."""
    late = answer.waited_seconds >= _DEAR_SECONDS
    return answer.status == 200 and (facts.size_bytes is None or late)


def _is_known(found: tuple[Answer, bytes]) -> bool:
    answer, body = found
    return not (answer.from_api and refusals.is_absent(answer.status, body))


def _broken(answer: Answer, body: bytes) -> ServerBroken:
    host = urlsplit(answer.url).hostname or ""
    return refusals.trouble(answer.status, body, host, from_api=answer.from_api)


def _awaited(asked: Future[Status], deadline: float) -> Status:
    try:
        return asked.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise DeadlineExceeded("the status route did not answer in time") from None


def _check_whole(page: ListPage, rows: int) -> None:
    """Raise ServerBroken unless *page*, which brought nothing new, ends the list.

    *rows* came before it. Servers that page without saying has_more end with an empty
    page; those that ignore `after` send the first one again, which is the whole if it
    is a short one, and holds as many as there are in all.
    """
    short = page.total is not None and page.total > rows
    if page.has_more or page.rows >= _PAGE_ENTRIES or short:
        raise ServerBroken("the list cannot be paged: the same came again")


def _first_bytes(answer: Answer, deadline: float) -> bytes:
    """Enough of a content answer to tell video from a message; never the whole."""
    first = answer.read_some(verdict.PROBE.stop)
    while len(first) < verdict.PROBE.stop and (more := answer.read_some(16)):
        first += more
    if first.lstrip()[:1] in (b"{", b"[", b"<"):
        first += answer.read_text(deadline, MOST_ERROR_BYTES)
    return first
