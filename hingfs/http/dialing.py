"""A TCP connection to one of a host's addresses, whichever answers first.

Decides in which order and how far apart addresses are tried (RFC 8305: one that is
dead, or a whole family of them, costs a fraction of a second), and how soon a dead
connection is noticed. Leaves to `connections` what is done with it.

Thread safety: all methods; `_lock` guards the table, and is not held while anything
waits. Attempts run on the caller's thread.
"""

import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

# Between the starts of two attempts, unless one fails before (RFC 8305 §5).
_ATTEMPT_SECONDS = 0.25
_MOST_REMEMBERED = 256
# A connection whose peer has gone without a word (NAT that forgot it, a suspend, a VPN
# that went down) is noticed after this much silence of its TCP: what was sent and not
# acknowledged, or probes. A server that computes acknowledges all the same. Three
# retransmissions fit in; a guess.
SILENCE_SECONDS = 4
# Probes begin after so much quiet, and come so far apart.
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
    """Connects, and remembers which address of a host answered last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered: dict[tuple[str, int], str] = {}  # guarded by _lock

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
        place = (host, port)
        with self._lock:
            first = self._answered.get(place)
        ordered = _interleaved(addresses)
        if first in ordered:
            ordered.remove(first)
            ordered.insert(0, first)
        sock, address = _first_to_answer(ordered, port, seconds, list(options))
        sock.settimeout(seconds)  # for what comes before the first request: TLS
        with self._lock:
            if len(self._answered) >= _MOST_REMEMBERED:
                self._answered.clear()
            self._answered[place] = address
        return sock


def _interleaved(addresses: Sequence[str]) -> list[str]:
    """*addresses* with the two families in turn, the first one's first."""
    first = [a for a in addresses if (":" in a) == (":" in addresses[0])]
    second = [a for a in addresses if a not in first]
    pairs = chain.from_iterable(zip_longest(first, second))
    return [address for address in pairs if address is not None]


def _first_to_answer(
    addresses: list[str], port: int, seconds: float, options: list[SocketOption]
) -> tuple[socket.socket, str]:
    until = time.monotonic() + seconds
    waiting = deque(addresses)
    failed: OSError = OSError("the name has no address")
    next_at = 0.0
    with selectors.DefaultSelector() as attempts:
        try:
            while waiting or attempts.get_map():
                now = time.monotonic()
                if now >= until:
                    raise TimeoutError("no address answered in time")
                if waiting and now >= next_at:
                    address = waiting.popleft()
                    next_at = now + _ATTEMPT_SECONDS
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
    """A socket that is connecting to *address*, without waiting for it."""
    family, kind, protocol, _, place = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.setblocking(False)  # noqa: FBT003 - the name says it
        sock.connect(place)
    except BlockingIOError:
        pass
    except BaseException:
        sock.close()
        raise
    return sock
