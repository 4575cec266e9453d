"""The mutating server: an API, its storage and a proxy, on sockets of its own.

Each answer is made honestly, then spoilt or not: a `Mode` says by which kinds and how
often. What is chosen depends on the seed, the mode, the request and how often it was
made, not on which thread came first. Every answer is logged with its first bytes.
"""

import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from random import Random
from typing import Self
from urllib.parse import quote, unquote

from tests.fuzzing.clips import CLIPS, Clip, Versions, clip_of
from tests.fuzzing.line import Gone, Line
from tests.fuzzing.secured import HANDSHAKES, Handshake
from tests.fuzzing.table import Answer, Kind
from tests.support.endpoint import DEFAULT_TOKEN, Alarm, Server
from tests.support.personalities import (
    CREATED_AT,
    Personality,
    Request,
    Response,
    Site,
    Span,
    Video,
    json_response,
    ranged,
    redirect,
    source_of,
    text_response,
    validators,
    whole,
)

API_NAME, STORAGE_NAME = "api.fuzz.test", "storage.fuzz.test"
# A request that crossed with an answer nobody asked for, on the wire, takes it for its
# own, and no client can know. Generous: two cores are shared with readers and mount.
_CROSSING_SECONDS = 0.05
_MOST_LOGGED = 30_000


@dataclass(frozen=True, slots=True)
class Mode:
    """How answers are spoilt: *share* of them, each by one of *kinds*.

    *name* is an input of every decision. *handshakes* are names of
    `secured.HANDSHAKES`, tried on the same share of connections.
    """

    name: str
    kinds: Sequence[Kind] = ()
    share: float = 0.0
    handshakes: Sequence[str] = ()


HEALTHY = Mode("healthy")


@dataclass(slots=True)
class Sent:
    """One answer as it left; *shown* grows while it is being sent.

    *before* names the mutations that the connection had seen. *crossed*: the request
    may have crossed with an answer that nobody had asked for.
    """

    at: float
    connection: int
    request: str
    video_id: str
    span: Span | None
    kind: str
    shown: bytearray
    before: tuple[str, ...]
    crossed: bool

    def covers(self, offset: int) -> bool:
        return self.span is None or self.span[0] <= offset < self.span[1]

    def text(self) -> str:
        """All of it, for a report."""
        head, _, body = bytes(self.shown).partition(b"\r\n\r\n")
        before = ", ".join(self.before) or "none"
        return (
            f"    connection {self.connection}: {self.request} <- "
            f"{self.kind or 'honest'} (before it: {before})\n"
            f"      head: {head[:2000]!r}\n      then: {body[:300]!r}"
        )


def _innocence(sent: Sent) -> int:
    """How little an answer, or the past of its connection, is to be suspected."""
    kinds = [kind for kind in (sent.kind, *sent.before) if kind]
    if not kinds:
        return 2
    return int(all(kind.startswith("legal/") for kind in kinds))


@dataclass(slots=True)
class State:
    """The state of one connection. Used by its thread."""

    line: Line
    server: str
    before: list[str] = field(default_factory=list)
    doubted: Sent | None = None  # nothing may be asked after this answer
    crossed: bool = False


class Mixed(Personality):
    """A server that serves each clip in the clip's own manner."""

    def content(self, request: Request, site: Site) -> Response:
        clip = clip_of(request.video_id or "")
        if clip is None:
            return self.missing(request)
        found = site.find(clip.video_id)
        assert found is not None
        if request.method == "HEAD" and not {"ranges", "bare", "whole"} & manner_of(
            clip
        ):
            return self.refuse_head(request)
        if "moved" in clip.manner:
            return redirect(site.sign(clip.video_id))
        if "named" in clip.manner:
            return json_response(200, {"url": site.sign(clip.video_id)})
        return served(request, found, clip)


def manner_of(clip: Clip) -> set[str]:
    """The words of the clip's manner that say how HEAD is answered."""
    words = set(clip.manner.split())
    return set() if words & {"headless", "unsized", "moved", "named"} else words


def served(request: Request, video: Video, clip: Clip) -> Response:
    """The bytes: ranges, or the whole whatever was asked."""
    if "unsized" in clip.manner or "whole" in clip.manner:
        response = whole(video)
        if clip.has_validators:
            response = response.with_headers(validators(video))
        if "unsized" in clip.manner:
            return replace(response, length=None)
        return response
    response = ranged(request, video)
    if clip.has_validators:
        return response
    return response.without_headers("ETag", "Last-Modified", "Accept-Ranges")


class FuzzServer:
    """See the module docstring. *tls* is a certificate file and its key.

    With *proxied*, the API and its storage are names that only the proxy knows.
    Thread safety: any thread may call anything but *start* and *stop*.
    """

    def __init__(
        self,
        seed: int | str,
        *,
        tls: tuple[str, str] | None = None,
        proxied: bool = False,
    ) -> None:
        self.token = DEFAULT_TOKEN
        self.versions = Versions.new()
        self.violations: deque[tuple[str, Sent]] = deque()
        self.injected: Counter[str] = Counter()
        self.answers = 0
        self._seed = seed
        self._proxied = proxied
        self._personality = Mixed()
        self._mode = HEALTHY
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()  # guarded by _lock
        self._videos: dict[str, Video] = {}  # guarded by _lock
        self._log: deque[Sent] = deque(maxlen=_MOST_LOGGED)  # guarded by _lock
        self._connections = count(1)
        self._signatures = count(1)
        self._context: ssl.SSLContext | None = None
        if tls is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*tls)
        self._servers = {
            name: Server(name, partial(self._serve, name))
            for name in ("api", "storage", "proxy")
        }
        self._closed_port = 0

    # -- life -------------------------------------------------------------------------

    def __enter__(self) -> Self:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self._closed_port = taken.getsockname()[1]
        for server in self._servers.values():
            server.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        for server in self._servers.values():
            server.close()
        self.versions.remove()

    def set_mode(self, mode: Mode) -> None:
        """Take effect from the next answer on; a started answer goes on as it began."""
        self._mode = mode

    def renew(self, clip: Clip) -> None:
        """Another version of *clip*."""
        version = self.versions.newest(clip) + 1
        self.versions.raise_to(clip, version)
        self._video(clip).replace(size_bytes=clip.size_at(version))

    # -- places (`table.World`) ---------------------------------------------------------

    @property
    def scheme(self) -> str:
        return "http" if self._context is None else "https"

    @property
    def origin(self) -> str:
        host = API_NAME if self._proxied else "127.0.0.1"
        return f"{self.scheme}://{host}:{self._servers['api'].port}"

    @property
    def plain_origin(self) -> str:
        return f"http://127.0.0.1:{self._servers['api'].port}"

    @property
    def closed_origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self._closed_port}"

    @property
    def proxy_url(self) -> str:
        return f"http://127.0.0.1:{self._servers['proxy'].port}"

    def storage_url(self, video_id: str) -> str:
        host = STORAGE_NAME if self._proxied else "127.0.0.1"
        path = f"/videos/{quote(video_id, safe='')}.mp4?X-Signature={next(self._signatures)}"
        return f"{self.scheme}://{host}:{self._servers['storage'].port}{path}"

    def other(self, request: Request) -> Answer:
        """The honest answer to *request* for another video of the same size."""
        own = clip_of(request.video_id or "")
        name = "bare" if own is not None and not own.has_validators else "equal"
        clips = [clip for clip in CLIPS if clip.video_id.startswith(f"{name}-")]
        clip = clips[0] if own is not clips[0] else clips[1]
        asked = replace(
            request,
            target=f"/videos/{clip.video_id}.mp4",
            headers={
                "range": request.headers.get("range", "bytes=0-131071"),
            },
            server="storage",
        )
        response = served(asked, self._video(clip).snapshot(), clip)
        return Answer.of(asked, response, self, sized=True)

    # -- what personalities may ask (`tests.personalities.Site`) -------------------------

    def find(self, video_id: str) -> Video | None:
        clip = clip_of(video_id)
        return None if clip is None else self._video(clip).snapshot()

    def find_all(self) -> list[Video]:
        return [self._video(clip).snapshot() for clip in CLIPS]

    def sign(self, video_id: str) -> str:
        return self.storage_url(video_id)

    def _video(self, clip: Clip) -> Video:
        with self._lock:
            if clip.video_id not in self._videos:
                self._videos[clip.video_id] = Video(
                    clip.video_id,
                    source_of(clip.video_id, 0, clip.size_at(0), None),
                    status="completed",
                    created_at=CREATED_AT,
                    completed_at=CREATED_AT + 60,
                    expires_at=None,
                )
            return self._videos[clip.video_id]

    # -- what was sent --------------------------------------------------------------------

    def suspects(self, video_id: str, offset: int, most: int = 3) -> list[Sent]:
        """The last answers that may have brought the byte at *offset*.

        First those that were spoilt, or came on a connection that had been, and of
        them those that no server may send; the newest before others.
        """
        with self._lock:
            found = [
                sent
                for sent in reversed(self._log)
                if sent.video_id == video_id and sent.covers(offset)
            ]
        return sorted(found, key=_innocence)[:most]

    # -- the service, on the threads of the servers -----------------------------------------

    def _serve(self, name: str, sock: socket.socket, alarm: Alarm) -> None:
        line = Line(next(self._connections), sock, alarm)
        state = State(line, name)
        try:
            if name == "proxy":
                self._tunnel(state)
            if self._context is not None:
                line.start_tls(self._context, self._handshake(line.number))
            for request in self._requests(state):
                self._exchange(state, request)
        except Gone:
            pass
        finally:
            line.close()

    def _handshake(self, number: int) -> Handshake:
        mode = self._mode
        chance = Random(f"{self._seed}/{mode.name}/connection/{number}")
        if not mode.handshakes or chance.random() >= mode.share:
            return Handshake()
        name = chance.choice(list(mode.handshakes))
        self._count(name)
        return HANDSHAKES[name](chance)

    def _tunnel(self, state: State) -> None:
        """Answer CONNECT; the connection is then one to the server that it names."""
        request = self._next_request(state)
        if request is None or request.method != "CONNECT":
            raise Gone
        self._exchange(state, request)
        state.doubted = None  # TLS comes next, and has proofs of its own
        storage = request.target.startswith(STORAGE_NAME)
        state.server = "storage" if storage else "api"

    def _requests(self, state: State) -> Iterator[Request]:
        while (request := self._next_request(state)) is not None:
            yield request

    def _next_request(self, state: State) -> Request | None:
        head = state.line.receive_head()
        if head is None:
            return None
        self._look_for_reuse(state)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return Request(method, target, headers, state.server)

    def _look_for_reuse(self, state: State) -> None:
        """A request has come where no client may send one."""
        line = state.line
        if line.unasked_at:
            since = time.monotonic() - line.unasked_at
            line.unasked_at = 0.0
            if since < _CROSSING_SECONDS:
                state.crossed = True
                state.doubted = None
        if state.doubted is not None:
            self.violations.append(("used again", state.doubted))
            state.doubted = None

    def _exchange(self, state: State, request: Request) -> None:
        if request.server == "storage" and "authorization" in request.headers:
            sent = self._log_answer(state, request, None, "")
            self.violations.append(("the token went to the storage", sent))
        answer = self._answer(request)
        chosen = self._choose(answer)
        state.line.shown = bytearray()
        sent = self._log_answer(
            state, request, answer.span, "" if chosen is None else chosen[0].name
        )
        if chosen is None:
            state.line.play([answer.whole()])
            return
        kind, chance = chosen
        state.before.append(kind.name)
        state.line.play(kind.make(answer, chance))
        if kind.doubtful or (state.line.unasked_at and not kind.undetectable):
            state.doubted = sent

    def _answer(self, request: Request) -> Answer:
        if request.method == "CONNECT":
            return Answer.of(request, Response(200, {}), self, sized=True)
        clip = clip_of(request.video_id or "")
        if request.server == "storage":
            if clip is None:
                response = text_response(404, b"<Error/>", "application/xml")
            else:
                response = served(request, self._video(clip).snapshot(), clip)
        else:
            response = self._personality.respond(request, self)
        sized = clip is None or "unsized" not in clip.manner
        return Answer.of(request, response, self, sized=sized)

    def _choose(self, answer: Answer) -> tuple[Kind, Random] | None:
        mode, request = self._mode, answer.request
        asked = f"{request.method} {request.server} {request.kind} {request.video_id} "
        asked += request.headers.get("range", "")
        with self._lock:
            self.answers += 1
            self._asked[f"{mode.name} {asked}"] += 1
            number = self._asked[f"{mode.name} {asked}"]
        chance = Random(f"{self._seed}/{mode.name}/{asked}/{number}")
        if chance.random() >= mode.share:
            return None
        suitable = [kind for kind in mode.kinds if kind.suits(answer)]
        if not suitable:
            return None
        kind = chance.choice(suitable)
        self._count(kind.name)
        return kind, chance

    def _count(self, name: str) -> None:
        with self._lock:
            self.injected[name] += 1

    def _log_answer(
        self, state: State, request: Request, span: Span | None, kind: str
    ) -> Sent:
        sent = Sent(
            time.monotonic(),
            state.line.number,
            f"{request.method} {request.server} {unquote(request.target)[:200]} "
            f"{request.headers.get('range', '')}".strip(),
            request.video_id or "",
            span,
            kind,
            state.line.shown,
            tuple(state.before[-4:]),
            state.crossed,
        )
        with self._lock:
            self._log.append(sent)
        return sent
