"""A video endpoint on loopback for tests, with a log of all it was asked.

`FakeEndpoint` is a threaded HTTP/1.1 server that speaks for a `Personality` of
`tests.personalities` (what is answered) and decides how the answer travels: whole
and fast, or spoilt by a fault that a test injected. It is a context manager, runs
beside real mounts, and leaves no thread, socket or warning behind:

    with FakeEndpoint() as endpoint:
        endpoint.add("video_a", size_bytes=10_000_000)
        endpoint.inject(reset_at(100_000), times=2)
        ...
        assert endpoint.bytes_served_twice("video_a") == 0

Faults wait for a request that they can spoil: `reset_at` for an answer that carries
video, `wrong_start` for a 206, `status` for any. They combine by ``+``.
"""

import gzip
import json
import math
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import partial
from http.client import responses
from itertools import count, repeat
from pathlib import Path
from random import Random
from typing import Self, TypeVar
from urllib.parse import quote

from tests.support.personalities import (
    CREATED_AT,
    PERSONALITIES,
    RENDER_SECONDS,
    Buffer,
    Personality,
    Request,
    Response,
    Span,
    Video,
    part,
    ramp,
    ranged,
    redirect,
    source_of,
    text_response,
    whole,
)

__all__ = ["PERSONALITIES", "FakeEndpoint", "Fault", "LoggedRequest", "Video", "ramp"]

DEFAULT_TOKEN = "oh-test-token"
PROBE_BYTES = 16
LINK_PIECE_BYTES = 64 << 10
ERROR = json.dumps({"error": {"message": "Out of order", "type": "fake"}}).encode()
BODILESS = frozenset({204, 304})

T = TypeVar("T")


# --- the wire ------------------------------------------------------------------


class CutError(Exception):
    """Raised by a body to end the connection: cleanly, or by a reset."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


class Alarm:
    """A flag that also wakes a `poll`: its descriptor is readable once it rings."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reader, self._writer = socket.socketpair()

    def fileno(self) -> int:
        return self._reader.fileno()

    def has_rung(self) -> bool:
        return self._event.is_set()

    def ring(self) -> None:
        self._event.set()
        self._writer.close()

    def close(self) -> None:
        self._reader.close()


class Connection:
    """One accepted socket, owned by one thread.

    Every wait ends with `CutError` when the server's *alarm* rings, so that stopping
    needs no time-outs. *body_bytes* counts what the kernel took of the last body;
    after a hang-up that is a little more than what the client has read.
    """

    def __init__(self, number: int, sock: socket.socket, alarm: Alarm) -> None:
        self.number = number
        self.body_bytes = 0
        self._sock = sock
        self._alarm = alarm
        self._received = b""
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start_tls(self, context: ssl.SSLContext) -> None:
        self._sock = tls = context.wrap_socket(
            self._sock, server_side=True, do_handshake_on_connect=False
        )
        self._when_able(tls.do_handshake, select.POLLIN)

    def receive_request(self, server: str) -> Request | None:
        """The next request without its body, or None once the client left."""
        while b"\r\n\r\n" not in self._received:
            if not self._receive():
                return None
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body_bytes = int(headers.get("content-length", "0"))
        while len(self._received) < body_bytes:
            if not self._receive():
                return None
        self._received = self._received[body_bytes:]
        return Request(method, target, headers, server, self.number)

    def send_response(self, request: Request, response: Response) -> bool:
        """Send *response*; true if the connection can take another request."""
        chunked = response.length is None and "Connection" not in response.headers
        headers: dict[str, object] = dict(response.headers)
        if chunked:
            headers.setdefault("Transfer-Encoding", "chunked")
        elif response.length is not None:
            headers.setdefault("Content-Length", response.length)
        lines = [f"HTTP/1.1 {response.status} {responses.get(response.status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._send("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if request.method == "HEAD" or response.status in BODILESS:
            return True
        for piece in filter(len, response.body):
            if chunked:
                self._send(b"%x\r\n" % len(piece))
            self._send_body(piece)
            if chunked:
                self._send(b"\r\n")
        if chunked:
            self._send(b"0\r\n\r\n")
        return chunked or headers.get("Content-Length") == self.body_bytes

    def send_raw(self, data: bytes) -> None:
        """Send *data* as it is, for faults that spoil more than a body."""
        self._send(data)

    def pause(self, until: float | threading.Event) -> None:
        """Wait that many seconds, or for the event, while the client stays."""
        hang_up = select.POLLRDHUP | select.POLLHUP | select.POLLERR
        if not isinstance(until, threading.Event):
            if self._wait(hang_up, until):
                raise CutError(reset=False)
            return
        while not until.is_set():  # an Event cannot be polled: look at it often
            self.pause(0.005)

    def close(self, *, reset: bool) -> None:
        if reset:
            linger = struct.pack("ii", 1, 0)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._sock.close()

    def _receive(self) -> bool:
        data = self._when_able(lambda: self._sock.recv(65536), select.POLLIN)
        self._received += data
        return bool(data)

    def _send(self, data: Buffer) -> None:
        view = memoryview(data)
        while view:
            view = view[self._send_some(view) :]

    def _send_body(self, data: Buffer) -> None:
        view = memoryview(data)
        while view:
            sent = self._send_some(view)
            self.body_bytes += sent
            view = view[sent:]

    def _send_some(self, view: memoryview) -> int:
        return self._when_able(lambda: self._sock.send(view), select.POLLOUT)

    def _when_able(self, call: Callable[[], T], events: int) -> T:
        while not self._alarm.has_rung():
            try:
                return call()
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(events)
        raise CutError(reset=True)

    def _wait(self, events: int, seconds: float = math.inf) -> bool:
        """True if one of *events* came within *seconds*."""
        poll = select.poll()
        poll.register(self._sock, events)
        poll.register(self._alarm, select.POLLIN)
        ready = poll.poll(None if seconds == math.inf else seconds * 1000)
        if self._alarm.has_rung():
            raise CutError(reset=True)
        return bool(ready)


class Server:
    """Accepts on one port of 127.0.0.1 and gives each connection a thread.

    *serve* owns the connection until it returns; *start* after *stop* takes the same
    port again. Thread safety: *start* and *stop* are the owner's alone.
    """

    def __init__(
        self, name: str, serve: Callable[[socket.socket, Alarm], None]
    ) -> None:
        self.name = name
        self.port = 0
        self._serve = serve
        self._alarm: Alarm | None = None
        self._threads: list[threading.Thread] = []  # the acceptor is the first
        # Bound and never listening: between `stop` and `start` nobody else gets the port.
        self._holder: socket.socket | None = None

    def start(self) -> None:
        if self._holder is None:
            self._holder = socket.socket()
            self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._holder.bind(("127.0.0.1", 0))
            self.port = self._holder.getsockname()[1]
        listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self._alarm = alarm = Alarm()
        self._spawn(self._accept, listener, alarm)

    def stop(self) -> None:
        """Reset all connections, refuse new ones, and join every thread."""
        if self._alarm is None:
            return
        self._alarm.ring()
        while self._threads:
            self._threads.pop(0).join()
        self._alarm.close()
        self._alarm = None

    def close(self) -> None:
        """As `stop`, and give the port back."""
        self.stop()
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def _accept(self, listener: socket.socket, alarm: Alarm) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(alarm, select.POLLIN)
        with listener:
            while True:
                poll.poll()
                if alarm.has_rung():
                    return
                self._spawn(self._serve, listener.accept()[0], alarm)

    def _spawn(self, run: Callable[..., None], *args: object) -> None:
        name = f"endpoint-{self.name}"
        thread = threading.Thread(target=run, args=args, name=name, daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()


# --- the log -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request and what became of it.

    Logged when it arrives (*status* 0) and again as its answer goes out. A piece of
    the body is counted before it is sent, so whoever has read a body finds it here;
    once the body ended, was cut, or the client hung up (*finished*), the count is of
    what was sent. *served* is the span of the video sent, of version *version*.
    """

    method: str
    path: str
    video_id: str | None
    kind: str
    range: tuple[int, int | None] | None
    headers: Mapping[str, str]
    server: str
    connection_id: int
    status: int = 0
    body_bytes: int = 0
    served: Span | None = None
    version: int = 0
    fault: str = ""
    finished: bool = False


class RequestLog:
    """What the endpoint was asked, and by how many connections.

    Thread safety: everything may be called from any thread; `_changed` guards every
    field and is notified of every change.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._records: dict[int, LoggedRequest] = {}  # in order of arrival
        self._tickets = count()
        self._connections_open = 0
        self.connections_seen = 0
        self.peak_connections = 0

    @property
    def log(self) -> list[LoggedRequest]:
        with self._changed:
            return list(self._records.values())

    def requests_of(
        self, kind: str, method: str | None = None, video_id: str | None = None
    ) -> list[LoggedRequest]:
        """The requests of *kind*, of any method and video unless one is given."""
        return [
            record
            for record in self.log
            if record.kind == kind
            and method in {None, record.method}
            and video_id in {None, record.video_id}
        ]

    def content_bytes(self, video_id: str) -> int:
        """Body bytes sent for the content of *video_id*, error bodies included."""
        records = self.requests_of("content", video_id=video_id)
        return sum(record.body_bytes for record in records)

    def bytes_served_twice(self, video_id: str) -> int:
        """Bytes of *video_id* sent again after they were sent once; probes aside."""
        twice = 0
        reached: dict[int, int] = {}  # version -> end of what was sent so far
        spans = sorted(
            (record.version, *record.served)
            for record in self.requests_of("content", video_id=video_id)
            if record.served is not None and not _is_probe(record)
        )
        for version, start, stop in spans:
            end = reached.get(version, 0)
            twice += max(0, min(stop, end) - start)
            reached[version] = max(stop, end)
        return twice

    def reset_log(self) -> None:
        """Forget all requests and counts; open connections stay and count as one."""
        with self._changed:
            self._records.clear()
            self.connections_seen = 0
            self.peak_connections = self._connections_open
            self._changed.notify_all()

    def wait_until(self, predicate: Callable[[], bool], timeout: float = 10) -> None:
        """Return once *predicate* holds; it is asked anew after every change.

        Raises TimeoutError after *timeout* seconds.
        """
        with self._changed:
            if not self._changed.wait_for(predicate, timeout):
                raise TimeoutError(f"not so within {timeout} s; log: {self.log}")

    def wait_until_idle(self, timeout: float = 10) -> None:
        """Return once no request is being answered, or raise TimeoutError."""
        self.wait_until(lambda: all(record.finished for record in self.log), timeout)

    def _enter(self, request: Request, connection: Connection) -> int:
        with self._changed:
            ticket = next(self._tickets)
            self._records[ticket] = LoggedRequest(
                method=request.method,
                path=request.target,
                video_id=request.video_id,
                kind=request.kind,
                range=request.range,
                headers=request.headers,
                server=request.server,
                connection_id=connection.number,
            )
            self._changed.notify_all()
            return ticket

    def _amend(self, ticket: int, **changes: object) -> None:
        with self._changed:
            if ticket in self._records:  # else the log was reset meanwhile
                record = self._records[ticket]
                self._records[ticket] = replace(record, **changes)  # type: ignore[arg-type]
            self._changed.notify_all()

    def _connection_opened(self) -> int:
        with self._changed:
            self.connections_seen += 1
            self._connections_open += 1
            open_now = self._connections_open
            self.peak_connections = max(self.peak_connections, open_now)
            self._changed.notify_all()
            return next(self._tickets)

    def _connection_closed(self) -> None:
        with self._changed:
            self._connections_open -= 1
            self._changed.notify_all()


def _is_probe(record: LoggedRequest) -> bool:
    start, stop = record.range or (0, None)
    return stop is not None and stop - start <= PROBE_BYTES


# --- faults --------------------------------------------------------------------


def any_answer(request: Request, response: Response) -> bool:
    return True


def video_answer(request: Request, response: Response) -> bool:
    return response.video is not None


def video_body(request: Request, response: Response) -> bool:
    return request.method == "GET" and response.video is not None


def range_body(request: Request, response: Response) -> bool:
    return response.status == 206 and video_body(request, response)


@dataclass(frozen=True, slots=True)
class Fault:
    """A named way to spoil an answer.

    *spoil* makes another answer of a good one (or waits, or cuts the connection);
    *suits* says which answers it can be used on. A fault *at_accept* strikes before
    there is a request.
    """

    name: str
    spoil: Callable[[Response, Connection], Response]
    suits: Callable[[Request, Response], bool] = any_answer
    at_accept: bool = False

    def __add__(self, other: "Fault") -> "Fault":
        """This fault, then *other* on what it leaves."""
        return Fault(
            f"{self.name}+{other.name}",
            lambda answer, line: other.spoil(self.spoil(answer, line), line),
            lambda request, answer: (
                self.suits(request, answer) and other.suits(request, answer)
            ),
        )


def _interrupted(
    body: Iterable[Buffer], at: int, happens: Callable[[], None]
) -> Iterator[Buffer]:
    """The pieces of *body*, with something that happens after *at* bytes."""
    passed = 0
    for piece in body:
        view = memoryview(piece)
        if passed <= at <= passed + len(view):
            yield view[: at - passed]
            happens()
            yield view[at - passed :]
        else:
            yield view
        passed += len(view)


def _interrupt(name: str, at: int, happens: Callable[[Connection], None]) -> Fault:
    def spoil(answer: Response, line: Connection) -> Response:
        body = _interrupted(answer.body, at, lambda: happens(line))
        return replace(answer, body=body)

    return Fault(name, spoil, video_body)


def _reset(line: Connection) -> None:
    raise CutError(reset=True)


def _close(line: Connection) -> None:
    raise CutError(reset=False)


def refuse_connection() -> Fault:
    """The next connection is accepted and closed at once."""
    return Fault("refuse_connection", lambda answer, _line: answer, at_accept=True)


def reset_at(body_bytes: int) -> Fault:
    """RST after that many bytes of the body."""
    return _interrupt("reset_at", body_bytes, _reset)


def close_at(body_bytes: int) -> Fault:
    """A clean close after that many bytes of the body."""
    return _interrupt("close_at", body_bytes, _close)


def call_at(body_bytes: int, act: Callable[[], None]) -> Fault:
    """*act* is called after that many bytes."""
    return _interrupt("call_at", body_bytes, lambda _line: act())


def stall_at(body_bytes: int, until: float | threading.Event) -> Fault:
    """Silence after that many bytes, for so many seconds or until the event."""
    return _interrupt("stall_at", body_bytes, lambda line: line.pause(until))


def stall_before_headers(until: float | threading.Event) -> Fault:
    """Silence before the status line."""

    def spoil(answer: Response, line: Connection) -> Response:
        line.pause(until)
        return answer

    return Fault("stall_before_headers", spoil)


def drip_headers(bytes_per_second: int) -> Fault:
    """The headers byte by byte, at that rate, without end."""

    def spoil(answer: Response, line: Connection) -> Response:
        line.send_raw(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nX-Drip: ")
        while True:
            line.send_raw(b"x")
            line.pause(1 / bytes_per_second)

    return Fault("drip_headers", spoil)


def drip(bytes_per_second: int) -> Fault:
    """The body in small pieces, at that rate."""

    def drops(body: Iterable[Buffer], line: Connection) -> Iterator[Buffer]:
        step = max(1, bytes_per_second // 20)
        for piece in body:
            view = memoryview(piece)
            while view:
                yield view[:step]
                line.pause(len(view[:step]) / bytes_per_second)
                view = view[step:]

    def spoil(answer: Response, line: Connection) -> Response:
        return replace(answer, body=drops(answer.body, line))

    return Fault("drip", spoil, video_body)


class Link:
    """A link of *bytes_per_second*, which all bodies that it carries share."""

    def __init__(self, bytes_per_second: float) -> None:
        self._bytes_per_second = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = 0.0  # monotonic; under _lock

    def seconds_for(self, size_bytes: int) -> float:
        """How long *size_bytes* take, behind all that is on the link already."""
        now = time.monotonic()
        with self._lock:
            self._free_at = (
                max(now, self._free_at) + size_bytes / self._bytes_per_second
            )
            return self._free_at - now


def carried_by(link: Link) -> Fault:
    """The body comes over *link*, piece by piece, in turn with the others."""

    def pieces(body: Iterable[Buffer], line: Connection) -> Iterator[Buffer]:
        for piece in body:
            view = memoryview(piece)
            while view:
                line.pause(link.seconds_for(len(view[:LINK_PIECE_BYTES])))
                yield view[:LINK_PIECE_BYTES]
                view = view[LINK_PIECE_BYTES:]

    def spoil(answer: Response, line: Connection) -> Response:
        return replace(answer, body=pieces(answer.body, line))

    return Fault("carried_by", spoil, video_body)


def _without_end(answer: Response, missing: int, line: Connection) -> Iterator[Buffer]:
    start, stop = answer.span or (0, 0)
    kept = max(0, stop - start - missing)
    return _interrupted(answer.body, kept, lambda: _close(line))


def short_content_length(missing: int = 1) -> Fault:
    """So many bytes fewer than Content-Length says, then a clean close."""

    def spoil(answer: Response, line: Connection) -> Response:
        return replace(answer, body=_without_end(answer, missing, line))

    return Fault("short_content_length", spoil, video_body)


def short_chunked(missing: int = 1) -> Fault:
    """A chunked body that closes so many bytes early, without its last chunk."""

    def spoil(answer: Response, line: Connection) -> Response:
        return replace(answer, body=_without_end(answer, missing, line), length=None)

    return Fault("short_chunked", spoil, video_body)


def short_of_range(missing: int = 1) -> Fault:
    """Content-Length and body agree, and are less than Content-Range says."""

    def spoil(answer: Response, line: Connection) -> Response:
        start, stop = answer.span or (0, 0)
        kept = max(start, stop - missing)
        body = answer.video.source.pieces(start, kept) if answer.video else ()
        return replace(answer, body=body, length=kept - start, span=(start, kept))

    return Fault("short_of_range", spoil, range_body)


def chunked() -> Fault:
    """No Content-Length, but chunks: the length is not known before the end."""

    def spoil(answer: Response, line: Connection) -> Response:
        return replace(answer, length=None)

    return Fault("chunked", spoil, video_answer)


def until_close() -> Fault:
    """Neither Content-Length nor chunks: the body ends with the connection."""

    def spoil(answer: Response, line: Connection) -> Response:
        return replace(answer, length=None).with_headers({"Connection": "close"})

    return Fault("until_close", spoil, video_answer)


def _other_range(name: str, move: Callable[[int, int], Span]) -> Fault:
    def spoil(answer: Response, line: Connection) -> Response:
        assert answer.video is not None
        assert answer.span is not None
        start, stop = move(*answer.span)
        other = part(answer.video, start, min(stop, answer.video.size_bytes))
        return other.with_headers({**answer.headers, **other.headers})

    return Fault(name, spoil, range_body)


def wrong_start(distance: int = 1) -> Fault:
    """A faithful 206, but of the range *distance* bytes earlier (later, at 0)."""

    def move(start: int, stop: int) -> Span:
        by = -min(distance, start) or distance
        return start + by, stop + by

    return _other_range("wrong_start", move)


def more_than_asked(extra: int = 1) -> Fault:
    """A faithful 206 that goes on beyond what was asked."""
    return _other_range("more_than_asked", lambda start, stop: (start, stop + extra))


def wrong_total(excess: int = 1) -> Fault:
    """A 206 whose Content-Range names another size."""

    def spoil(answer: Response, line: Connection) -> Response:
        span, _, total = answer.headers["Content-Range"].partition("/")
        return answer.with_headers({"Content-Range": f"{span}/{int(total) + excess}"})

    return Fault("wrong_total", spoil, range_body)


def answer_200_to_range() -> Fault:
    """The whole body instead of the range."""

    def spoil(answer: Response, line: Connection) -> Response:
        assert answer.video is not None
        kept = answer.without_headers("Content-Range").headers
        return whole(answer.video).with_headers(kept)

    return Fault("answer_200_to_range", spoil, range_body)


def status_416() -> Fault:
    """416 with the true size, whatever was asked."""

    def spoil(answer: Response, line: Connection) -> Response:
        size = answer.video.size_bytes if answer.video else 0
        return Response(416, {"Content-Range": f"bytes */{size}"})

    return Fault("status_416", spoil, range_body)


def gzip_encoded() -> Fault:
    """The body gzipped, though nobody asked for it."""

    def spoil(answer: Response, line: Connection) -> Response:
        body = gzip.compress(b"".join(answer.body), compresslevel=1)
        zipped = replace(answer, body=(body,), length=len(body), span=None)
        return zipped.with_headers({"Content-Encoding": "gzip"})

    return Fault("gzip_encoded", spoil, video_answer)


def gzip_message() -> Fault:
    """As `gzip_encoded`, of what is no video."""

    def suits(request: Request, response: Response) -> bool:
        return request.method == "GET" and response.video is None

    return Fault("gzip_message", gzip_encoded().spoil, suits)


def multipart_206() -> Fault:
    """The range as a multipart/byteranges body of one part."""

    def spoil(answer: Response, line: Connection) -> Response:
        content_range = answer.headers["Content-Range"]
        head = f"\r\n--cut\r\nContent-Range: {content_range}\r\n\r\n".encode()
        body = b"".join([head, *answer.body, b"\r\n--cut--\r\n"])
        multipart = text_response(206, body, "multipart/byteranges; boundary=cut")
        kept = answer.without_headers("Content-Range", "Content-Type").headers
        return multipart.with_headers(kept)

    return Fault("multipart_206", spoil, range_body)


def _instead(name: str, make: Callable[[], Response]) -> Fault:
    return Fault(name, lambda _answer, _line: make())


def status(code: int, retry_after: str | None = None, body: bytes = ERROR) -> Fault:
    """That status with *body*; *retry_after* is a header: seconds or an HTTP date."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    answer = text_response(code, body, "application/json").with_headers(headers)
    return _instead(f"status_{code}", lambda: answer)


def json_200(body: bytes = ERROR) -> Fault:
    """200 and video/mp4, but the body is an error in JSON."""
    return _instead("json_200", lambda: text_response(200, body, "video/mp4"))


def deep_json(depth: int = 100_000) -> Fault:
    """200 with JSON nested so deeply that parsers give up."""
    answer = text_response(200, b"[" * depth + b"]" * depth, "application/json")
    return _instead("deep_json", lambda: answer)


def huge_error_page(code: int = 500) -> Fault:
    """An HTML error page that does not end."""
    page = b"<p>Something went wrong.</p>\n" * 1000
    headers = {"Content-Type": "text/html"}
    return _instead(
        "huge_error_page", lambda: Response(code, headers, repeat(page), None)
    )


def redirect_to(url: str) -> Fault:
    """302 to *url*."""
    return _instead("redirect_to", lambda: redirect(url))


def redirect_loop() -> Fault:
    """302 to a place that redirects for ever."""
    return _instead("redirect_loop", lambda: redirect("/loop/1"))


def _headers(name: str, make: Callable[[], dict[str, str]]) -> Fault:
    return Fault(name, lambda answer, _line: answer.with_headers(make()), video_answer)


def wrong_etag(etag: str = '"another"') -> Fault:
    """The right bytes under another ETag."""
    return _headers("wrong_etag", lambda: {"ETag": etag})


def etag_changes() -> Fault:
    """The right bytes under a new ETag each time."""
    numbers = count(1)
    return _headers("etag_changes", lambda: {"ETag": f'"change-{next(numbers)}"'})


def huge_content_length(size_bytes: int = 2**63) -> Fault:
    """A Content-Length beyond all reason, then the true body and a close."""
    return _headers("huge_content_length", lambda: {"Content-Length": str(size_bytes)})


def header_bomb(headers: int = 3000) -> Fault:
    """More headers than clients take."""
    bomb = {f"X-Bomb-{number}": "x" * 100 for number in range(headers)}
    return _headers("header_bomb", lambda: bomb)


def empty_body() -> Fault:
    """The right status and headers, and Content-Length: 0."""

    def spoil(answer: Response, line: Connection) -> Response:
        return replace(answer, body=(), length=0, span=None)

    return Fault("empty_body", spoil, video_answer)


# --- the endpoint --------------------------------------------------------------


def content_get(request: Request) -> bool:
    """For `inject`: where content is asked for, by GET."""
    return request.kind == "content" and request.method == "GET"


@dataclass(slots=True)
class Pending:
    """An injected fault and the requests it is meant for."""

    fault: Fault
    times: float
    where: Callable[[Request], bool]


class Chaos:
    """A fault now and then, the same for the same seed and order of requests."""

    def __init__(self, seed: int, probability: float, faults: Sequence[Fault]) -> None:
        self._random = Random(seed)
        self._probability = probability
        self._faults = faults

    def choose(self, suits: Callable[[Fault], bool]) -> Fault | None:
        candidates = [fault for fault in self._faults if suits(fault)]
        if not candidates or self._random.random() >= self._probability:
            return None
        return self._random.choice(candidates)


class Storage:
    """An object store behind signed URLs: GET only, no keys, ranges.

    A URL serves *uses_per_url* times, and not at all once it was made to `expire`.
    """

    def __init__(self) -> None:
        self.uses_per_url = math.inf
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._uses_left: dict[str, float] = {}  # signature -> uses; under _lock

    def sign(self, video_id: str) -> str:
        """The path and query of a fresh signed URL."""
        with self._lock:
            signature = f"signature-{next(self._numbers)}"
            self._uses_left[signature] = self.uses_per_url
        return f"/videos/{quote(video_id, safe='')}.mp4?X-Signature={signature}"

    def expire(self) -> None:
        """Make every URL signed so far worthless."""
        with self._lock:
            self._uses_left.clear()

    def respond(self, request: Request, video: Video | None) -> Response:
        if "authorization" in request.headers:
            return _xml(400, "InvalidArgument")
        if request.method != "GET":
            return _xml(403, "SignatureDoesNotMatch")
        if not self._use(request.query.get("X-Signature", "")):
            return _xml(403, "AccessDenied")
        return _xml(404, "NoSuchKey") if video is None else ranged(request, video)

    def _use(self, signature: str) -> bool:
        with self._lock:
            left = self._uses_left.get(signature, 0)
            self._uses_left[signature] = left - 1
        return left > 0


def _xml(code: int, word: str) -> Response:
    body = f"<?xml version='1.0'?><Error><Code>{word}</Code></Error>".encode()
    return text_response(code, body, "application/xml")


class FakeEndpoint(RequestLog):
    """The server; see the top of the module.

    *tls* is a certificate file and its key. *personality* may be changed at any
    time. Thread safety: any thread may call anything but *start* and *stop*.
    """

    def __init__(
        self,
        token: str = DEFAULT_TOKEN,
        personality: Personality = PERSONALITIES["openai"],
        *,
        tls: tuple[str | Path, str | Path] | None = None,
    ) -> None:
        super().__init__()
        self.token = token
        self.personality = personality
        self.videos: dict[str, Video] = {}  # written under _changed
        self.storage = Storage()
        self.ahead_seconds = 0.0  # of its clock, before that of this machine
        self._pending: list[Pending] = []  # under _changed, as the next
        self._chaos = Chaos(0, 0.0, ())
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        self._servers = {
            name: Server(name, partial(self._serve, name))
            for name in ("api", "storage")
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Listen; after `stop` on the same ports as before."""
        for server in self._servers.values():
            server.start()

    def stop(self) -> None:
        """Reset every connection and refuse new ones, until `start`."""
        for server in self._servers.values():
            server.stop()

    def close(self) -> None:
        """As `stop`, for good: ends stalls, joins every thread."""
        for server in self._servers.values():
            server.close()

    @property
    def base_url(self) -> str:
        """What users are told to configure; needs a started endpoint."""
        return self._origin("api") + self.personality.base_path

    def url(self, video_id: str) -> str:
        """The content URL of *video_id*."""
        return f"{self._origin('api')}/v1/videos/{quote(video_id, safe='')}/content"

    # The videos.

    def add(
        self,
        video_id: str,
        *,
        size_bytes: int = 1_000_000,
        status: str = "completed",
        data: bytes | Path | None = None,
        created_at: int = CREATED_AT,
        completed_at: int | None = CREATED_AT + RENDER_SECONDS,
        expires_at: float | None = None,
    ) -> Video:
        """Put up a video: a ramp of *size_bytes*, or *data* (bytes or a file)."""
        video = Video(
            video_id,
            source_of(video_id, 0, size_bytes, data),
            status=status,
            created_at=created_at,
            completed_at=completed_at,
            expires_at=expires_at,
        )
        with self._changed:
            self.videos[video_id] = video
        return video

    def remove(self, video_id: str) -> None:
        with self._changed:
            del self.videos[video_id]

    def set_status(self, video_id: str, status: str, progress: int = 0) -> None:
        self.videos[video_id].set_status(status, progress)

    # What personalities may ask (`tests.personalities.Site`).

    def find(self, video_id: str) -> Video | None:
        with self._changed:
            video = self.videos.get(video_id)
        return None if video is None else video.snapshot()

    def find_all(self) -> list[Video]:
        with self._changed:
            return [video.snapshot() for video in self.videos.values()]

    def sign(self, video_id: str) -> str:
        return self._origin("storage") + self.storage.sign(video_id)

    # The faults.

    def inject(
        self,
        fault: Fault,
        times: float = 1,
        where: Callable[[Request], bool] = lambda _request: True,
    ) -> None:
        """Use *fault* on the next *times* answers that it suits and *where* allows.

        One injected fault strikes at a time, the oldest first; `math.inf` times is
        until `calm`.
        """
        with self._changed:
            self._pending.append(Pending(fault, times, where))

    def chaos(self, seed: int, probability: float, faults: Sequence[Fault]) -> None:
        """From now on spoil answers at random, each with that probability."""
        with self._changed:
            self._chaos = Chaos(seed, probability, faults)

    def calm(self) -> None:
        """No more faults."""
        with self._changed:
            self._pending.clear()
            self._chaos = Chaos(0, 0.0, ())

    @property
    def faults_left(self) -> float:
        """How many injected faults have not struck yet."""
        with self._changed:
            return sum(pending.times for pending in self._pending)

    def _choose_fault(
        self, suits: Callable[[Fault], bool], request: Request | None
    ) -> Fault | None:
        with self._changed:
            for pending in self._pending:
                allowed = request is None or pending.where(request)
                if allowed and suits(pending.fault):
                    pending.times -= 1
                    if pending.times <= 0:
                        self._pending.remove(pending)
                    return pending.fault
            return self._chaos.choose(suits)

    # The service, on the threads of the servers.

    def _origin(self, server: str) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._servers[server].port}"

    def _serve(self, server: str, sock: socket.socket, alarm: Alarm) -> None:
        connection = Connection(self._connection_opened(), sock, alarm)
        reset = False
        try:
            if self._choose_fault(lambda fault: fault.at_accept, None) is not None:
                return
            if self._tls is not None:
                connection.start_tls(self._tls)
            while (request := connection.receive_request(server)) is not None:
                if not self._exchange(request, connection):
                    return
        except CutError as cut:
            reset = cut.reset
        except OSError:
            pass  # the client hung up, which is its right
        finally:
            connection.close(reset=reset)
            self._connection_closed()

    def _exchange(self, request: Request, connection: Connection) -> bool:
        """Answer *request*; true if the connection can take another."""
        ticket = self._enter(request, connection)
        connection.body_bytes = 0
        span = None
        try:
            now = formatdate(time.time() + self.ahead_seconds, usegmt=True)
            answer = self._respond(request)
            answer = answer.with_headers({"Date": now, **answer.headers})
            fault = self._choose_fault(
                lambda fault: not fault.at_accept and fault.suits(request, answer),
                request,
            )
            if fault is not None:
                self._amend(ticket, fault=fault.name)
                answer = fault.spoil(answer, connection)
            span = answer.span
            version = 0 if answer.video is None else answer.video.version
            self._amend(ticket, status=answer.status, version=version)
            answer = replace(answer, body=self._counted(ticket, answer))
            return connection.send_response(request, answer)
        finally:
            self._count(ticket, span, connection.body_bytes)
            self._amend(ticket, finished=True)

    def _counted(self, ticket: int, answer: Response) -> Iterator[Buffer]:
        body_bytes = 0
        for piece in answer.body:
            body_bytes += len(piece)
            self._count(ticket, answer.span, body_bytes)
            yield piece

    def _count(self, ticket: int, span: Span | None, body_bytes: int) -> None:
        served = (span[0], span[0] + body_bytes) if span and body_bytes else None
        self._amend(ticket, body_bytes=body_bytes, served=served)

    def _respond(self, request: Request) -> Response:
        if request.path.startswith("/loop/"):
            return redirect(f"/loop/{int(request.path.split('/')[2]) + 1}")
        if request.server == "storage":
            return self.storage.respond(request, self.find(request.video_id or ""))
        return self.personality.respond(request, self)
