"""One request's answer on its connection: reads the head, hands out the body.

`http.client` writes the request. This module reads everything that comes back, past
`http.client`, urllib3 and requests: they believe more than the standard allows, and
wait longer than a caller may. Decides how much a head may hold, and whether the
connection may carry another request: only if the answer ended exactly where `body`
says, nothing came behind it, and nobody cut it off.

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

# The most bytes in all heads of one answer, interim ones included. curl stops at 300 KB;
# servers stop at 8 to 64 KiB.
MOST_HEAD_BYTES = 256 * KIB


def read_head(received: SocketInput, method: str, until: float) -> Head:
    """Read the head of the answer to a *method* request, past interim heads.

    Raises ServerBroken where a head breaks HTTP or all heads together are too long,
    TimeoutError past *until* (monotonic), and as `SocketInput.head`.
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
    """An answer as it arrives. Its owner closes it; read out, it keeps its connection.

    `http.client` and urllib3 take it for their own response, so it has the names that
    they use.
    """

    will_close = False  # to http.client; the connection is closed here
    # For urllib3: its log line, and its pool.
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
        head_seconds: float,
    ) -> None:
        self._carrier = connection
        self._method = method
        self._within = within
        self._input = SocketInput(sock, head_seconds)
        self._body: Body | None = None  # until `begin` has returned
        self._aborted = False  # never reset, so it needs no lock
        # Guards the two fields below and the socket's shutdown: once `_closed` is set,
        # another socket may have its number.
        self._lock = threading.Lock()
        self._closed = False
        self._reading = False  # a thread is at the socket
        within.add(self)

    # -- the answer --------------------------------------------------------------------

    def begin(self) -> None:
        """Read the head, past interim answers, within the connection's time-out.

        Raises NoAnswer if the head is not here by then, ServerBroken where it breaks
        HTTP, OSError where the connection ended.
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
        """The server's words beside its status code."""
        return self.head.reason

    @property
    def headers(self) -> dict[str, str]:
        """The headers, under lower-case names."""
        return self.head.headers

    def expect(self, size_bytes: int) -> None:
        """Refuse the body unless it has exactly *size_bytes*: see `Body.expect`."""
        assert self._body is not None
        self._body.expect(size_bytes)

    def read_into(
        self,
        targets: Sequence[memoryview],
        least_bytes: int,
        until: float,
        stall_seconds: float,
    ) -> int:
        """Fill *targets* in turn; return the count of bytes, 0 at the body's end.

        Waits for *least_bytes*, which must fit the first target; past *until*
        (monotonic), one byte is enough. The body's end may leave fewer. Raises BodyCut
        where no content came for *stall_seconds* or the connection ended too early, and
        ServerBroken where the framing breaks HTTP. Bytes that came before the error are
        returned, and the next call raises.
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
        """Wake the reading thread, which gets an error."""
        self._aborted = True
        with self._lock:
            if not self._closed:
                self._input.shut_down()

    def cut_off(self) -> None:
        """As `abort`; close it too, unless a thread is at the socket: that one closes."""
        self.abort()
        with self._lock:
            if self._reading or self._closed:
                return
            self._closed = True
        self._release_connection()

    @contextlib.contextmanager
    def _at_socket(self) -> Iterator[None]:
        """Let no other thread close the socket meanwhile; BodyCut once it is cut off."""
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
        """Keep the connection for another request, or close it at any doubt."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._release_connection()

    def _release_connection(self) -> None:
        self._within.discard(self)
        if self._ended_exactly() and self.head.keeps_open:
            self._carrier.kept_at = time.monotonic()
        else:
            self._carrier.close()
        if self._pool is not None:
            self._pool._put_conn(self._connection)  # noqa: SLF001 - no other way
            self._pool = self._connection = None

    def _ended_exactly(self) -> bool:
        body = self._body
        ended = body is not None and body.ended and not self._aborted
        return ended and not self._input.holds_more

    def isclosed(self) -> bool:
        """For http.client: whether the connection may take another request."""
        return self._closed

    def release_conn(self) -> None:
        """For urllib3: nothing, since `close` does it."""


def _seconds_of(connection: Any) -> float:  # noqa: ANN401 - of http.client
    """The time-out of *connection*: first for connecting, then for the answer."""
    seconds = connection.timeout
    assert isinstance(seconds, (int, float)), "transport sets it for each request"
    return seconds if seconds > 0 else math.ulp(0.0)
