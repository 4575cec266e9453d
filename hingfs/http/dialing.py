"""A TCP connection to the first of a host's addresses that accepts one.

Decides in which order and how far apart the addresses are tried, and how soon a dead
connection is noticed. A dead address, or a whole dead family, costs a fraction of a
second (RFC 8305). Leaves to `connections` how the connection is used.

Threads: none of its own; attempts run on the caller's thread.
"""

import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

# From the start of one attempt to the next, unless the first fails before (RFC 8305 §5).
_ATTEMPT_SECONDS = 0.25
_MOST_REMEMBERED = 256
# A peer that has gone without a word (a NAT forgot it, a suspend, a VPN went down) is
# noticed once its TCP has acknowledged neither data nor probes for this long. A server
# that computes still acknowledges. Three retransmissions fit in; a guess.
SILENCE_SECONDS = 4
# The first probe comes after so much quiet, and the next ones so far apart.
_PROBE_AFTER_SECONDS = 2
_PROBE_EVERY_SECONDS = 1

SocketOption = tuple[int, int, int | bytes]
LIVELY: Sequence[SocketOption] = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_EVERY_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, SILENCE_SECONDS),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_SECONDS * 1000),
)


class Dialer:
    """Connects, and remembers which address of a host accepted last.

    Thread safety: all methods; none waits with the lock held.
    """

    def __init__(self, attempt_seconds: float = _ATTEMPT_SECONDS) -> None:
        self._attempt_seconds = attempt_seconds
        self._lock = threading.Lock()  # guards the table below
        # (host, port) -> the address that accepted last
        self._accepted: dict[tuple[str, int], str] = {}

    def dial(
        self,
        host: str,
        port: int,
        addresses: Sequence[str],
        *,
        seconds: float,
        options: Iterable[SocketOption],
    ) -> socket.socket:
        """A socket to one of the *addresses* of *host*, with *options* set.

        Raises TimeoutError after *seconds*, else the OSError of the last attempt that
        failed.
        """
        with self._lock:
            first = self._accepted.get((host, port))
        ordered = _interleaved(addresses)
        if first in ordered:
            ordered.remove(first)
            ordered.insert(0, first)
        sock, address = _first_to_accept(
            ordered, port, seconds, list(options), self._attempt_seconds
        )
        sock.settimeout(seconds)  # for TLS, which comes before the first request
        with self._lock:
            if len(self._accepted) >= _MOST_REMEMBERED:
                self._accepted.clear()
            self._accepted[host, port] = address
        return sock


def _interleaved(addresses: Sequence[str]) -> list[str]:
    """*addresses* with the two families in turn, starting with the first one's."""
    first = [a for a in addresses if (":" in a) == (":" in addresses[0])]
    second = [a for a in addresses if a not in first]
    pairs = chain.from_iterable(zip_longest(first, second))
    return [address for address in pairs if address is not None]


def _first_to_accept(
    addresses: list[str],
    port: int,
    seconds: float,
    options: list[SocketOption],
    attempt_seconds: float,
) -> tuple[socket.socket, str]:
    """A connected socket and its address; the other attempts are given up."""
    until = time.monotonic() + seconds
    waiting = deque(addresses)
    failed: OSError = OSError("the name has no address")
    next_at = 0.0
    with selectors.PollSelector() as attempts:  # epoll would take a descriptor
        try:
            while waiting or attempts.get_map():
                now = time.monotonic()
                if now >= until:
                    raise TimeoutError("no address accepted a connection in time")
                if waiting and now >= next_at:
                    address = waiting.popleft()
                    next_at = now + attempt_seconds
                    try:
                        sock = begin_connecting(address, port, options)
                    except OSError as error:
                        failed, next_at = error, 0.0
                        continue
                    attempts.register(sock, selectors.EVENT_WRITE, address)
                wake_at = min(until, next_at) if waiting else until
                for key, _ in attempts.select(max(0.0, wake_at - now)):
                    ended = attempts.unregister(key.fileobj).fileobj
                    assert isinstance(ended, socket.socket)
                    number = ended.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not number:
                        return ended, key.data
                    ended.close()
                    failed, next_at = OSError(number, os.strerror(number)), 0.0
        finally:
            for key in list(attempts.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()
    raise failed


def begin_connecting(
    address: str, port: int, options: list[SocketOption]
) -> socket.socket:
    """A socket that has begun to connect to *address*."""
    family, kind, protocol, _, peer = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.setblocking(False)  # noqa: FBT003 - the name says it
        sock.connect(peer)
    except BlockingIOError:
        pass
    except BaseException:
        sock.close()
        raise
    return sock
