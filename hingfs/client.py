"""The endpoint's vocabulary: videos, their status, their bytes.

Nothing is cached here but what the *server* can do (whether HEAD, status and list
routes exist) and where it keeps the bytes.
Decides how often and how long to try; what an answer means is `verdict`'s, how it is
had is `transport`'s.

Threads: every method may be called from any thread. The flags about the server are
single assignments that only ever go one way, so a race costs one request.
`_places_lock` guards the table of redirect targets.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import quote, urlencode

from . import verdict
from .blocks import KIB, MIB, ByteRange, Content, views_of
from .config import EndpointConfig
from .errors import (
    AccessDenied,
    BodyCut,
    ContentChanged,
    DeadlineExceeded,
    EndpointError,
    HingError,
    NotAVideo,
    RangesIgnored,
    RateLimited,
    ServerBroken,
    TokenError,
    TransportError,
    VideoNotServed,
    printable,
)
from .transport import Answer, HttpTransport, parse_retry_after
from .verdict import Facts, ListPage, State, Status
from .workers import DaemonPool

log = logging.getLogger(__name__)

# Tries without a byte of progress: about 12 s of waiting for reads, so that a server
# may restart under a reader, and well under a second for names, so that `ls` on a
# dead server is quick.
READ_TRIES = 8
METADATA_TRIES = 3
_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 3.0
# However long the API asks for quiet, it is asked again after this: a wrong header
# must not end the mount. A guess.
_LONGEST_PAUSE_SECONDS = 120.0

# A redirect target (often a signed URL) is used again for this long before the API
# is asked for another. Signed URLs live an hour; a guess well below.
_PLACE_SECONDS = 120.0
_MOST_PLACES = 1024

# A body that brings less than this a second, over a stall time-out, has stalled: a
# byte now and then would hold a connection and its thread for ever. No link that a
# video is read over is so slow. A guess.
_SLOWEST_BYTES_PER_SECOND = 1 * KIB

_PAGE_ENTRIES = 100
_MOST_PAGES = 200
# A server may ignore `limit`; some 50 MB of memory. A guess.
_MOST_LISTED = 100_000
_MOST_PAGE_BYTES = 8 * MIB
_MOST_ERROR_BYTES = 64 * KIB
_MOST_STATUS_BYTES = 1 * MIB  # the prompt may be in it, and pictures in that
# A body is judged again, as more of it arrives, up to here: as far as its judge looks.
_JUDGED_BYTES = 8 * KIB
# Servers refuse request lines beyond some 8 KiB.
_LONGEST_URL = 8 * KIB
# What servers without a list answer; with 200, a web page or another kind of object.
_NO_LIST_CODES = frozenset({200, 400, 404, 405, 501})


@dataclass(frozen=True, slots=True)
class Probe:
    """What the first sight of a video gave: its bytes' facts and its status."""

    facts: Facts
    status: Status


@dataclass(frozen=True, slots=True)
class Listed:
    """One video of the API's list."""

    video_id: str
    status: Status


class Served(NamedTuple):
    """An answer to a GET of content.

    *body* is what was read of it for judging, else b"". *place* is the URL of the bytes
    where that is not the API's own: to be remembered once they are known to be content.
    """

    answer: Answer
    body: bytes
    place: str | None


class Patience:
    """How long one call keeps trying: until its deadline, or *tries* in vain.

    Used by one thread.
    """

    def __init__(
        self,
        transport: HttpTransport,
        *,
        seconds: float,
        tries: int,
        retry_after_seconds: float,
    ) -> None:
        self._transport = transport
        self._seconds = seconds
        self._tries = tries
        self._pause_left = retry_after_seconds
        self._failures = 0
        self.deadline = time.monotonic() + seconds

    def progressed(self) -> None:
        """Bytes arrived: what failed before does not count any more."""
        self._failures = 0
        self.deadline = time.monotonic() + self._seconds

    def failed(
        self, error: TransportError | NotAVideo, asked_seconds: float = 0.0
    ) -> None:
        """Wait before the next try; raise *error* if there is none left.

        The wait is *asked_seconds* where that is longer, unless it is too long for
        this call.
        """
        self._failures += 1
        if self._failures >= self._tries:
            raise error
        delay = min(
            _FIRST_DELAY_SECONDS * 2 ** (self._failures - 1), _LONGEST_DELAY_SECONDS
        )
        delay *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        if delay < asked_seconds <= self._longest_pause():
            self._pause_left -= asked_seconds
            delay = asked_seconds
        self._sleep(delay, error)

    def limited(self, retry_after_seconds: float | None) -> None:
        """The server asked for a pause: quiet everybody, and wait if it is short."""
        self._failures += 1
        # Retry-After: 0 must not become a stream of requests without a pause.
        seconds = retry_after_seconds or _FIRST_DELAY_SECONDS * 2**self._failures
        self._transport.pause(min(seconds, _LONGEST_PAUSE_SECONDS))
        self.respect_pause()

    def respect_pause(self) -> None:
        """Wait while the endpoint wants to be left alone.

        Raises RateLimited where that is longer than this call may wait for it.
        """
        seconds = self._transport.paused_seconds()
        if seconds <= 0:
            return
        error = RateLimited(
            f"the API is rate-limiting; it asks for {seconds:.0f} s of quiet", seconds
        )
        too_long = seconds > self._longest_pause()
        if too_long or self._failures >= 2 * self._tries:
            raise error
        self._pause_left -= seconds
        self._sleep(seconds, error)

    def _longest_pause(self) -> float:
        return min(self._pause_left, self.deadline - time.monotonic())

    def _sleep(self, seconds: float, error: Exception) -> None:
        if time.monotonic() + seconds >= self.deadline:
            raise DeadlineExceeded(f"out of time; last: {error}") from error
        self._transport.wait(seconds)


class VideoClient:
    """Videos at one endpoint. See the module docstring for its threads."""

    def __init__(
        self, transport: HttpTransport, config: EndpointConfig, pool: DaemonPool
    ) -> None:
        self._transport = transport
        self._config = config
        self._pool = pool
        self._head_useless = False
        self._no_status_route = False  # means nothing once a status was seen
        self._seen_status = False
        self._seen_list = False
        self._seen_video = False
        self._announces_falsely = False  # "Accept-Ranges: bytes", and ignores them
        self._warned: set[str] = set()
        self._places_lock = threading.Lock()
        # video id -> (URL, monotonic time until which it is used); guarded
        self._places: dict[str, tuple[str, float]] = {}

    # -- before mounting ---------------------------------------------------------

    def check(self) -> None:
        """Ask the API for one list entry, as a test of address and token.

        Raises TokenError when the token is refused, EndpointError when there is no
        connection. Any other answer is fine: many servers have no list.
        """
        patience = self._patience(METADATA_TRIES, self._config.metadata_seconds)
        try:
            answer, body = self._send("GET", self._list_url({"limit": "1"}), patience)
        except TransportError as error:
            raise EndpointError(
                f"cannot reach {self._config.base_url}: {error}. Check --base-url and "
                "the network, or skip this check with --no-check"
            ) from error
        answer.close()
        if isinstance(
            verdict.refusal(answer.status, body, verdict.UNSAID), AccessDenied
        ):
            raise TokenError(
                f"{self._config.base_url} refuses the token ({answer.status}): "
                f"{printable(body.decode('utf-8', 'replace'), 120)}"
            )

    # -- metadata ----------------------------------------------------------------

    def probe(self, video_id: str, listed: Status | None = None) -> Probe:
        """Size, validator and status of a video, seen for the first time.

        The status route is asked beside the HEAD; *listed*, a status that the API's
        list gave just now, saves that request if it tells when the video was completed:
        some lists tell less than the status route, and the time must not depend on who
        was asked. Raises what `verdict` makes of the answers, and TransportError.
        """
        tries = self._transport.tries(METADATA_TRIES)
        patience = self._patience(tries, self._config.metadata_seconds)
        if listed is not None and listed.completed_at_seconds is None:
            listed = None
        asked = self._asked(video_id, tries) if listed is None else None
        facts = None if self._head_useless else self._head(video_id, patience)
        status = listed or verdict.UNSAID
        if asked is not None:
            try:
                status = _awaited(asked, patience.deadline)
            except TransportError:
                if facts is None:  # the words of a refusal may still decide
                    self._probe_by_get(video_id, verdict.UNSAID, patience)
                raise  # it is served, and nobody says whether all of it is there
        if status.state in (State.NOT_READY, State.FAILED):
            # Some servers serve a file that is still being written.
            self._warn_of_word(status)
            raise verdict.refusal(200, b"", status)
        if facts is None:
            facts = self._probe_by_get(video_id, status, patience)
        if asked is not None:
            self._weigh(status)
        self._seen_video = True
        return Probe(facts, status)

    def _weigh(self, status: Status) -> None:
        """Judge the *status* of a video that is served.

        Raises ServerBroken if it says nothing, and the endpoint told others: the file
        may be half written, and its time would come from another source than later.
        """
        if status.word:
            return
        if self._seen_status:
            raise ServerBroken("the video is served, and its status is not told")
        if status.state is State.GONE:
            # It serves the video and knows nothing of it: there is no such route.
            self._no_status_route = True

    def refresh(self, content: Content) -> Facts | None:
        """The facts of a known video now; None if the server says "not modified".

        Raises as `probe` does.
        """
        tries = self._transport.tries(METADATA_TRIES)
        patience = self._patience(tries, self._config.metadata_seconds)
        etag = content.validator.etag
        if not self._head_useless:
            headers = {"If-None-Match": etag} if etag else {}
            answer, _ = self._send(
                "HEAD", self._content_url(content.video_id), patience, headers=headers
            )
            answer.close()
            if answer.status == 304:
                return None
            facts = verdict.judge_head(answer.status, answer.headers)
            if facts is not None:
                return facts
        return self._probe_by_get(content.video_id, None, patience)

    def distrust_head(self) -> None:
        """HEAD said something that GET contradicted: use GET from now on."""
        self._head_useless = True

    def distrust_ranges(self) -> None:
        """A video announced ranges and sent the whole: announcements prove nothing."""
        self._announces_falsely = True

    def list_videos(self, wanted: Callable[[str], bool]) -> list[Listed] | None:
        """The videos of the API's list whose ids are *wanted*, newest first.

        None if the API never had a list. Raises TransportError if the list cannot be
        had whole.
        """
        found: dict[str, Listed] = {}
        after = ""
        for _ in range(_MOST_PAGES):
            page = self._list_page(after)
            if page is None:
                return None
            known = len(found)
            for video_id, status in page.videos:
                if wanted(video_id):
                    found.setdefault(video_id, Listed(video_id, status))
            if len(found) > _MOST_LISTED:
                break
            if page.has_more is False:
                return list(found.values())
            # A page of nothing that is wanted is told from a repeated one by its end.
            seen = page.last_id in found or page.last_id in ("", after)
            if len(found) == known and seen:
                _check_whole(page)
                return list(found.values())
            after = page.last_id
        raise ServerBroken(
            f"the list has more than {_MOST_PAGES} pages or {_MOST_LISTED} videos"
        )

    def newest_videos(self, wanted: Callable[[str], bool]) -> list[Listed] | None:
        """As `list_videos`, but its first page alone, for one request."""
        page = self._list_page("")
        if page is None:
            return None
        return [Listed(*video) for video in page.videos if wanted(video[0])]

    def _list_page(self, after: str) -> ListPage | None:
        code, body = self._list_answer(after)
        page = verdict.judge_list(body, time.time()) if code == 200 else None
        if page is not None:
            self._seen_list = True
        elif self._seen_list or code not in _NO_LIST_CODES:
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
        answer, body = self._json(url, patience, _MOST_PAGE_BYTES)
        if len(body) > _MOST_PAGE_BYTES:
            raise ServerBroken("a page of the list is larger than 8 MiB")
        refusal = verdict.refusal(answer.status, body, verdict.UNSAID)
        if isinstance(refusal, AccessDenied):
            self._warn("denied", str(refusal))
            raise refusal
        return answer.status, body

    def _head(self, video_id: str, patience: Patience) -> Facts | None:
        answer, _ = self._send("HEAD", self._content_url(video_id), patience)
        answer.close()
        facts = verdict.judge_head(answer.status, answer.headers)
        if facts is not None and self._announces_falsely:
            facts = replace(facts, ranges=None)
        return facts

    def _status(self, video_id: str, tries: int) -> Status:
        patience = self._patience(tries, self._config.metadata_seconds)
        url = self._transport.url_of(f"/v1/videos/{quote(video_id, safe='')}")
        answer, body = self._json(url, patience, _MOST_STATUS_BYTES)
        try:
            status = verdict.judge_status(
                answer.status, answer.headers, body, time.time()
            )
        except AccessDenied as error:
            self._warn("denied", str(error))
            raise
        if status.word:
            self._seen_status = True
        if status.state is State.NO_ROUTE:
            self._no_status_route = True
        return status

    def _asked(self, video_id: str, tries: int) -> Future[Status] | None:
        """The status, on its way; None where the server has no route for it."""
        if self._no_status_route and not self._seen_status:
            return None
        return self._pool.submit(self._status, video_id, tries)

    def _probe_by_get(
        self, video_id: str, status: Status | None, patience: Patience
    ) -> Facts:
        answer, body, place = self.content_answer(
            video_id, patience, span=verdict.PROBE
        )
        with answer:
            if answer.status in (200, 206) and not body:
                body = _first_bytes(answer, patience.deadline)
        empty = verdict.is_empty_video(answer.status, answer.headers)
        facts = verdict.judge_probe(answer.status, answer.headers, body)
        if empty or (facts is not None and not body):  # chunks may bring nothing, too
            raise VideoNotServed("the file has no bytes yet")
        if facts is not None:
            self._head_useless = True  # or this GET would not have been needed
            self.remember_place(video_id, place)
            return facts
        raise self.refused(video_id, answer, body, status)

    def refused(
        self, video_id: str, answer: Answer, body: bytes, status: Status | None = None
    ) -> HingError:
        """The error that *answer*, which is no content, means for *video_id*.

        Asks the status route where *status* is not known and could matter.
        """
        if not answer.from_api:
            return _broken(answer)
        if (
            verdict.route_missing(answer.status, answer.headers, body)
            and not self._seen_video
        ):
            self._warn(
                "base URL",
                f"{self._config.base_url} answers with a web page; check the base URL",
            )
        if status is None and verdict.is_final(answer.status, body):
            status = self._status_if_told(video_id)
        status = status or verdict.UNSAID
        self._warn_of_word(status)
        error = verdict.refusal(answer.status, body, status)
        if isinstance(error, AccessDenied):
            self._warn("denied", str(error))
        return error

    def _status_if_told(self, video_id: str) -> Status:
        asked = self._asked(video_id, METADATA_TRIES)
        if asked is None:
            return verdict.UNSAID
        try:
            return _awaited(asked, time.monotonic() + self._config.metadata_seconds)
        except TransportError as error:
            # What was refused is judged by its words.
            log.debug("the status route did not answer: %s", error)
            return verdict.UNSAID

    # -- content -----------------------------------------------------------------

    def open_range(self, content: Content, span: ByteRange) -> "RangeDownload":
        """The bytes of *span*, to be read in order; nothing is sent before `read`."""
        patience = self._patience(READ_TRIES, self._config.read_seconds)
        pace = _Pace(self._config.stall_seconds)
        return RangeDownload(self, content, span, patience, pace)

    def open_whole(self, content: Content, offset: int) -> Answer:
        """A 200 with the whole file, or a 206 that goes on at *offset* > 0.

        Raises ContentChanged for another version than *content*, NotAVideo for a
        message, what the refusal means for anything else, and TransportError.
        """
        patience = self._patience(READ_TRIES, self._config.read_seconds)
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and content.validator.etag:
            headers["If-Range"] = content.validator.etag
        answer, body, place = self.content_answer(
            content.video_id, patience, headers=headers
        )
        # Who asks for another has met trouble there.
        self.forget_place(content.video_id, place)
        if answer.status in (200, 206) and not body:
            seen = verdict.validator_of(answer.headers)
            if not content.validator.contradicts(seen):
                return answer
            answer.close()
            raise ContentChanged("the server's validator is another one now")
        answer.close()
        if answer.status == 416:  # only said to what goes on at an offset
            if content.size_bytes >= 0 and verdict.changed_by_416(
                answer.headers, content
            ):
                raise ContentChanged("the size is another one now")
            raise ServerBroken("416 for a range inside the file")
        raise self.refused(content.video_id, answer, body)

    def content_answer(
        self,
        video_id: str,
        patience: Patience,
        *,
        span: ByteRange | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Served:
        """The answer to a GET of a video's content, wherever the API keeps it.

        A remembered place is asked first; where there is any trouble, it is forgotten,
        and the API is asked as if there had been none. A URL that the API sends as JSON
        instead of bytes is followed like a redirect.
        """
        place = self._place_of(video_id)
        if place is not None:
            found = self._at_place(place, patience, span=span, headers=headers)
            if found is not None:
                return Served(found, b"", place)
            self.forget_place(video_id, place)
        url = self._content_url(video_id)
        answer, body = self._send("GET", url, patience, span=span, headers=headers)
        if not answer.from_api:
            return Served(answer, body, answer.url)
        if answer.status != 200 or not verdict.may_be_message(answer.headers):
            return Served(answer, body, None)
        with answer:
            body = answer.read_text(patience.deadline, _MOST_ERROR_BYTES)
        named = verdict.url_in_json(body, url)
        if named is None:
            return Served(answer, body, None)
        url = self._transport.redirect_target(url, named)
        answer, body = self._send("GET", url, patience, span=span, headers=headers)
        return Served(answer, body, answer.url)

    def _at_place(
        self,
        place: str,
        patience: Patience,
        *,
        span: ByteRange | None,
        headers: Mapping[str, str] | None,
    ) -> Answer | None:
        """What looks like content at *place*; None for anything else, or trouble."""
        patience.respect_pause()
        try:
            answer = self._transport.request(
                "GET", place, deadline=patience.deadline, span=span, headers=headers
            )
        except TransportError as error:
            log.debug("a place that was used before is in trouble: %s", error)
            return None
        if answer.status in (200, 206) and not verdict.may_be_message(answer.headers):
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
    ) -> tuple[Answer, bytes]:
        """An answer that is no passing trouble; its body is read unless 200 or 206."""
        renewed = False
        while True:
            patience.respect_pause()
            try:
                answer = self._transport.request(
                    method, url, deadline=patience.deadline, span=span, headers=headers
                )
            except TransportError as error:
                patience.failed(error)
                continue
            if answer.status in (200, 206):
                return answer, b""
            with answer:
                body = answer.read_text(patience.deadline, _MOST_ERROR_BYTES)
            if not renewed and self._has_new_token(answer, body):
                renewed = True
                continue
            retry_after = parse_retry_after(answer.headers.get("Retry-After"))
            wants_pause = answer.status == 429 or (
                answer.status == 503 and retry_after is not None
            )
            if wants_pause and answer.from_api:
                patience.limited(retry_after)
            elif wants_pause:  # a storage host does not speak for the API
                patience.failed(_broken(answer), retry_after or 0.0)
            elif method == "HEAD" or verdict.is_final(answer.status, body):
                return answer, body  # what HEAD refuses, GET may serve
            else:
                patience.failed(_broken(answer))

    def _json(
        self, url: str, patience: Patience, most_bytes: int
    ) -> tuple[Answer, bytes]:
        """What the API tells at *url*, closed, with its body up to *most_bytes* + 1.

        JSON that breaks off is asked for again: as it is, it would be taken for a page
        in place of what was asked for.
        """
        while True:
            answer, body = self._send("GET", url, patience)
            if answer.status not in (200, 206):
                return answer, body
            with answer:
                body = answer.read_text(patience.deadline, most_bytes + 1)
            if len(body) > most_bytes or not verdict.is_cut_short(body):
                return answer, body
            patience.failed(BodyCut("the answer broke off"))

    def _has_new_token(self, answer: Answer, body: bytes) -> bool:
        """Whether *answer* refuses a token, and the token file holds another by now."""
        if not (answer.from_api and verdict.refuses_token(answer.status, body)):
            return False
        # Of requests refused at the same time, only one finds a new token.
        if not (
            self._transport.renew_token() or self._transport.token_renewed_since(answer)
        ):
            return False
        self._warned.discard("denied")  # that of another token is news
        return True

    def _patience(self, tries: int, seconds: float) -> Patience:
        return Patience(
            self._transport,
            seconds=seconds,
            tries=tries,
            retry_after_seconds=self._config.retry_after_seconds,
        )

    def _content_url(self, video_id: str) -> str:
        return self._transport.url_of(f"/v1/videos/{quote(video_id, safe='')}/content")

    def _list_url(self, query: Mapping[str, str]) -> str:
        return self._transport.url_of(f"/v1/videos?{urlencode(query)}")

    def _place_of(self, video_id: str) -> str | None:
        with self._places_lock:
            url, until = self._places.get(video_id, ("", 0.0))
        return url if time.monotonic() < until else None

    def remember_place(self, video_id: str, place: str | None) -> None:
        """What came from *place* was content: it is asked first for a while."""
        if place is None:
            return
        with self._places_lock:
            if video_id not in self._places and len(self._places) >= _MOST_PLACES:
                self._places.pop(next(iter(self._places)))
            # A place keeps its first time: it was signed then, not at each use.
            before = self._places.get(video_id)
            if before is None or before[0] != place:
                self._places[video_id] = (place, time.monotonic() + _PLACE_SECONDS)

    def forget_place(self, video_id: str, place: str | None) -> None:
        """There was trouble at *place*; another one that is known by now stays."""
        with self._places_lock:
            if self._places.get(video_id, ("", 0.0))[0] == place:
                self._places.pop(video_id, None)

    def _warn_of_word(self, status: Status) -> None:
        if status.unknown_word:
            self._warn(
                f"word {status.word}",
                f"unknown status word {status.word!r}; taken as not ready",
            )

    def _warn(self, subject: str, message: str) -> None:
        """Log *message* once for each *subject*; what is said often is not read."""
        if subject not in self._warned and len(self._warned) < 100:
            self._warned.add(subject)
            log.warning("%s", message)


class _Pace:
    """Whether a body comes fast enough to be waited for; judged each *seconds*.

    Used by one thread.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """What came until now counts no more."""
        self._since = time.monotonic()
        self._came = 0

    def took(self, count: int) -> None:
        """Note *count* bytes. The wait for the first ones tells nothing of the link."""
        if not self._came:
            self._since = time.monotonic()
        self._came += count

    @property
    def judged_at(self) -> float:
        """When it is time to judge (monotonic)."""
        return self._since + self._seconds

    @property
    def good(self) -> bool:
        """Whether bytes came, and, if that took long, not too few of them."""
        elapsed = time.monotonic() - self._since
        enough = self._came >= elapsed * _SLOWEST_BYTES_PER_SECOND
        return self._came > 0 and (enough or elapsed < self._seconds)


class RangeDownload:
    """The bytes of one range in order, whatever becomes of the connections.

    A body that breaks off is resumed at the byte reached. Every answer is checked
    against what was asked and against the version that was opened.

    Thread safety: one thread reads and closes; `abort` may come from any other.
    """

    def __init__(
        self,
        client: VideoClient,
        content: Content,
        span: ByteRange,
        patience: Patience,
        pace: _Pace,
    ) -> None:
        self._client = client
        self._content = content
        self._patience = patience
        self._pace = pace
        self._position = span.start
        self._stop = span.stop
        self._answer: Answer | None = None
        self._answer_left = 0
        self._place: str | None = None  # where the last answer came from
        self._doubted: set[type[HingError]] = set()
        self._aborted = False

    def read_into(
        self, buffers: Sequence[bytearray], start: int, least_bytes: int
    ) -> int:
        """Put the next bytes over *buffers*, laid end to end, from *start* on.

        Returns how many: at least *least_bytes*, and more where they are there and
        fit. Raises ContentChanged, RangesIgnored (its first argument is then the open
        Answer with the whole file), NotAVideo, or what the refusal means; and
        TransportError once patience is over.
        """
        at_start = self._position == 0
        count = 0
        while count < least_bytes:
            judged = at_start and count < _JUDGED_BYTES
            least = 1 if judged else least_bytes - count
            count += self._next_piece(buffers, start + count, least)
            if judged:
                most = start + min(count, _MOST_ERROR_BYTES)
                self._refuse_message(b"".join(views_of(buffers, start, most)))
        return count

    def abort(self) -> None:
        """Wake the reading thread; its `read_into` raises BodyCut."""
        self._aborted = True
        answer = self._answer
        if answer is not None:
            answer.abort()

    def close(self) -> None:
        """Give the connection back, or drop it if bytes are left in it."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _next_piece(
        self, buffers: Sequence[bytearray], start: int, least_bytes: int
    ) -> int:
        """Put at least one byte over *buffers* from *start* on; returns how many.

        Fewer than *least_bytes* only where the body ends, breaks off or comes slowly.
        """
        while True:
            if self._aborted:
                raise BodyCut("the transfer was cut off here")
            try:
                answer = self._answer or self._connect()
                views = views_of(buffers, start, start + self._answer_left)
                count = answer.read_into(views, least_bytes, self._pace.judged_at)
            except (BodyCut, ServerBroken, NotAVideo) as error:
                trouble: TransportError | NotAVideo = error
            else:
                if count:
                    self._took(count)
                    return count
                trouble = BodyCut("the body ended before its range")
            self._failed(trouble)

    def _took(self, count: int) -> None:
        self._position += count
        self._answer_left -= count
        self._pace.took(count)
        if self._answer_left == 0:
            self.close()
            self._progressed()
        elif time.monotonic() >= self._pace.judged_at:
            if self._pace.good:
                self._progressed()
            else:
                self._failed(BodyCut("the body came too slowly"))

    def _progressed(self) -> None:
        self._patience.progressed()
        self._pace.restart()

    def _failed(self, trouble: TransportError | NotAVideo) -> None:
        """Wait before another request for what is missing; raise if there is none."""
        self._leave()
        if self._pace.good:  # this attempt does not count against the tries
            self._patience.progressed()
        self._pace.restart()
        if not self._aborted:
            self._patience.failed(trouble)

    def _refuse_message(self, first: bytes) -> None:
        """Raise NotAVideo if what begins with *first* is a message called a video."""
        if verdict.looks_like_message(first):
            self._leave()
            raise _message_error(first)

    def _leave(self) -> None:
        """Close after trouble; the next answer shall come by the API."""
        self.close()
        self._client.forget_place(self._content.video_id, self._place)

    def _connect(self) -> Answer:
        asked = ByteRange(self._position, self._stop)
        etag = self._content.validator.etag
        answer, body, self._place = self._client.content_answer(
            self._content.video_id,
            self._patience,
            span=asked,
            headers={"If-Range": etag} if etag else None,
        )
        if answer.status in (200, 206) and not body:
            span = self._judged(answer, asked)
            self._doubted.clear()
            self._client.remember_place(self._content.video_id, self._place)
            self._answer, self._answer_left = answer, len(span)
            self._pace.restart()
            return answer
        answer.close()
        if answer.status == 416:
            changed = ContentChanged("the size is another one now")
            said = verdict.changed_by_416(answer.headers, self._content)
            if said and not self._seen_once(changed):
                raise changed
            raise ServerBroken("416 for a range inside the file")
        raise self._client.refused(self._content.video_id, answer, body)

    def _judged(self, answer: Answer, asked: ByteRange) -> ByteRange:
        """The bytes of *asked* that *answer* brings; closed if there are none."""
        try:
            return verdict.judge_range(
                answer.status, answer.headers, asked, self._content
            )
        except RangesIgnored as error:
            # A server that has answered, or announced, ranges: one 200 may be a fault,
            # and what it leads to is for good, the whole file in the spool.
            if self._content.ranges and self._seen_once(error):
                answer.close()
                raise ServerBroken(f"seen once: {error}") from error
            if self._content.ranges:
                self._client.distrust_ranges()
            raise RangesIgnored(answer) from None
        except ContentChanged as error:
            with answer:
                self._refuse_short_message(answer)
            if self._seen_once(error):
                raise ServerBroken(f"seen once: {error}") from error
            raise
        except HingError:
            answer.close()
            raise

    def _refuse_short_message(self, answer: Answer) -> None:
        """Raise NotAVideo if all that *answer* brings is a message.

        Its length is another than the video's, which alone would mean a change.
        """
        length = answer.headers.get("Content-Length", "")
        if length.isdecimal() and int(length[:9]) <= _MOST_ERROR_BYTES:
            self._refuse_message(
                answer.read_text(self._patience.deadline, _MOST_ERROR_BYTES)
            )

    def _seen_once(self, error: HingError) -> bool:
        """Whether this answer is the first to say *error* since a good one came.

        One may be a fault; a second that says the same is believed.
        """
        once = type(error) not in self._doubted
        self._doubted.add(type(error))
        return once


def _broken(answer: Answer) -> ServerBroken:
    who = "server" if answer.from_api else "storage host"
    return ServerBroken(f"the {who} answered {answer.status}")


def _awaited(asked: Future[Status], deadline: float) -> Status:
    try:
        return asked.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise DeadlineExceeded("the status route did not answer in time") from None


def _check_whole(page: ListPage) -> None:
    """Raise ServerBroken unless *page*, which brought nothing new, ends the list.

    Servers that page without saying has_more end with an empty page; those that
    ignore `after` send the first one again, which is the whole if it is a short one.
    """
    if page.has_more or page.rows >= _PAGE_ENTRIES:
        raise ServerBroken("the list cannot be paged: the same came again")


def _message_error(body: bytes) -> NotAVideo:
    said = printable(body[:200].decode("utf-8", "replace"))
    return NotAVideo(f"no video, but: {said}")


def _first_bytes(answer: Answer, deadline: float) -> bytes:
    """Enough of a content answer to tell video from a message; never the whole."""
    first = answer.read_some(verdict.PROBE.stop)
    if first.lstrip()[:1] in (b"{", b"[", b"<"):
        first += answer.read_text(deadline, _MOST_ERROR_BYTES)
    return first
