"""One request's answer on its connection: the head read, the body handed out as it comes.

`http.client` writes the request; this reads all that comes back, past `http.client`,
urllib3 and requests, which believe more than the standard does and wait longer than a
caller may. Decides how much a head may hold, and whether the connection may carry
another request: only if its answer ended exactly where `body` says, nothing came behind
it, and nobody cut it off.

Threads: one thread reads and closes an exchange; `abort` may come from any other.
"""

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ..blocks import KIB
from ..errors import BodyCut, NoAnswer, ServerBroken
from .body import Body
from .framing import SWITCHING_PROTOCOLS, Head, parse_head
from .open_connections import Connection, OpenConnections
from .socket_input import SocketInput

# All heads of one answer, interim ones included, hold at most this much: curl stops at
# 300 KB, servers at 8 to 64 KiB.
MOST_HEAD_BYTES = 256 * KIB


def read_head(received: SocketInput, method: str, until: float) -> Head:
    """The head of the answer to a request by *method*; interim ones are read away.

    Raises ServerBroken where one breaks HTTP, or all of them hold too much, and as
    `SocketInput.head` past *until* (monotonic).
    """
    most = MOST_HEAD_BYTES
    while True:
        read = received.head(most, until)
        most -= len(read)
        head = parse_head(read, method)
        if head.status == SWITCHING_PROTOCOLS:
            raise ServerBroken("the server switches to a protocol not asked for")
        if not head.is_interim:
            return head


class Exchange:
    """An answer as it arrives. Close it; read out, it leaves its connection in use.

    It stands where `http.client` expects its response and urllib3 its own: the names
    that they use of it are theirs.
    """

    will_close = False  # to http.client; the connection is closed here
    # To urllib3, for a line in its log, and to its pool.
    version_string = "HTTP/1.1"
    length_remaining = None
    retries: object = None
    _connection: Any = None
    _pool: Any = None

    head: Head  # once `begin` has returned

    def __init__(
        self,
        sock: Any,  # noqa: ANN401 - as of Connection
        *,
        method: str,
        connection: Connection,
        within: OpenConnections,
    ) -> None:
        self._carrier = connection
        self._method = method
        self._within = within
        self._input = SocketInput(sock)
        self._body: Body | None = None  # until `begin` has returned
        # Guards the three below, and the socket's shutdown: after `_closed` is set, its
        # number may be another's.
        self._lock = threading.Lock()
        self._aborted = False  # only ever set; read without the lock
        self._closed = False
        self._reading = False  # a thread is at the socket
        within.add(self)

    # -- the answer --------------------------------------------------------------------

    def begin(self) -> None:
        """Read the head; interim answers before it are read away.

        The connection's time-out bounds all of it. Raises NoAnswer if it is not there
        by then, ServerBroken where it breaks HTTP, OSError where the connection ended.
        """
        seconds = _seconds_of(self._carrier)
        until = time.monotonic() + seconds
        try:
            with self._at_socket():
                self.head = read_head(self._input, self._method, until)
        except TimeoutError:
            raise NoAnswer(
                f"the server did not begin its answer within {seconds:.3g} s"
            ) from None
        self._body = Body(self.head, self._input)

    @property
    def status(self) -> int:
        """The status code."""
        return self.head.status

    @property
    def reason(self) -> str:
        """What the server says of its code."""
        return self.head.reason

    @property
    def headers(self) -> dict[str, str]:
        """The fields, under lower-case names."""
        return self.head.headers

    def expect(self, size_bytes: int) -> None:
        """The body has exactly *size_bytes*: see `Body.expect`."""
        assert self._body is not None
        self._body.expect(size_bytes)

    def read_into(
        self,
        targets: Sequence[memoryview],
        least_bytes: int,
        until: float,
        stall_seconds: float,
    ) -> int:
        """Put what has arrived over *targets* in turn; the count, 0 at the body's end.

        At least *least_bytes*, for which the first target has room, unless the body
        ends before; or at least one byte, once it is past *until* (monotonic).
        Raises BodyCut where no byte of content came for *stall_seconds*, or the
        connection ended before the body, ServerBroken where its framing breaks HTTP;
        what came before that is returned, and the next call raises.
        """
        body = self._body
        assert body is not None, "its head was read"
        if body.fault is not None:
            raise body.fault
        with self._at_socket():
            count, fault = body.take(targets, least_bytes, until, stall_seconds)
        if self._aborted:
            raise BodyCut("the transfer was cut off here")
        if fault is not None and not count:
            raise fault
        return count

    # -- the end -----------------------------------------------------------------------

    def abort(self) -> None:
        """Wake the reading thread, whatever it waits for; it gets an error."""
        self._aborted = True
        with self._lock:
            if not self._closed:
                self._input.shut_down()

    def cut_off(self) -> None:
        """As `abort`, and close it unless a thread is at the socket, which will."""
        self.abort()
        with self._lock:
            if self._reading or self._closed:
                return
            self._closed = True
        self._leave()

    @contextlib.contextmanager
    def _at_socket(self) -> Iterator[None]:
        """Nobody else closes the socket meanwhile. Raises BodyCut if it was cut off."""
        with self._lock:
            if self._aborted:
                raise BodyCut("the transfer was cut off here")
            self._reading = True
        try:
            yield
        finally:
            with self._lock:
                self._reading = False

    def close(self) -> None:
        """Leave the connection for another request, or close it if there is any doubt."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._leave()

    def _leave(self) -> None:
        self._within.discard(self)
        if self._ended_exactly() and self.head.keeps_open:
            self._carrier.kept_at = time.monotonic()
        else:
            self._carrier.close()
        if self._pool is not None:
            self._pool._put_conn(self._connection)  # noqa: SLF001 - there is no other way
            self._pool = self._connection = None

    def _ended_exactly(self) -> bool:
        body = self._body
        ended = body is not None and body.ended and not self._aborted
        return ended and not self._input.holds_more

    def isclosed(self) -> bool:
        """As http.client's: whether its connection may take another request."""
        return self._closed

    def release_conn(self) -> None:
        """As urllib3's: `close` has done it."""


def _seconds_of(connection: Any) -> float:  # noqa: ANN401 - of http.client
    """Its time-out: for connecting at first, for the answer once it has asked."""
    seconds = connection.timeout
    assert isinstance(seconds, (int, float)), "transport sets it for each request"
    return seconds if seconds > 0 else math.ulp(0.0)
