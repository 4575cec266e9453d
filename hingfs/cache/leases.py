"""Which values this host brings to the shared cache, and which others do.

A lease lies beside the place of its value, under the name of whoever took it first.
Decides how long it lasts: it ends by itself, so that a host that dies costs the others a
few seconds, and lasts while its host goes on bringing values. It ends earlier when the
value is there, or is not brought any more. A lease is a hint: it saves a transfer, and
proves nothing.

Threads: any thread may call any method.
"""

import secrets
import threading
import time
from collections.abc import Iterable, Sequence

from ..version import VideoVersion
from .valkey import Reply, Server
from .values import name_of

# Others leave a value to its holder for so long after that has taken it, or has brought
# another one: at 350 KB/s and more. It lasts no longer in any case than MOST_SECONDS, so
# that nobody waits for what was given up halfway. Guesses.
LEASE_SECONDS = 3.0
MOST_SECONDS = 30.0
# Between two rounds in which this host makes its leases last.
_RENEW_SECONDS = 1.0
# One of our own that ends a little later on the server would look like another's.
_SLACK_SECONDS = 1.0


class Leases:
    """The leases on *server*. Thread safety: all methods. None of them raises."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._owner = secrets.token_hex(8).encode()
        self._lock = threading.Lock()  # guards what is below; nothing is asked under it
        # Names -> when each ends, and when it was taken (monotonic).
        self._ours: dict[bytes, tuple[float, float]] = {}
        self._renewed_at = 0.0  # monotonic

    def take(self, version: VideoVersion, indices: Sequence[int]) -> list[int]:
        """Those of *indices* that others bring; the rest is this host's to bring.

        There is no lease for what is there.
        """
        wanted = self._not_ours({i: name_of(version, i) for i in indices})
        asked: list[Sequence[bytes]] = []
        life = _life()
        for name in wanted.values():
            asked.append([b"SET", _lease_of(name), self._owner, b"NX", b"PX", life])
            # In this order: a holder gives its lease back once the value is there.
            asked.append([b"EXISTS", name])
        told = self._told(asked)
        now = time.monotonic()
        theirs, brought = [], []
        for (index, name), (taken, there) in zip(wanted.items(), told, strict=False):
            if taken is not None:
                with self._lock:
                    self._ours[name] = now + LEASE_SECONDS + _SLACK_SECONDS, now
            elif not there:
                theirs.append(index)
            if there:
                brought.append(name)
        self._give_back(brought)
        return theirs

    def others(self, version: VideoVersion, indices: Sequence[int]) -> list[int]:
        """Those of *indices* that others bring, and have not brought yet."""
        asked: list[Sequence[bytes]] = []
        for index in indices:
            name = name_of(version, index)
            asked += [[b"GET", _lease_of(name)], [b"EXISTS", name]]
        return [
            index
            for index, (owner, there) in zip(indices, self._told(asked), strict=False)
            if isinstance(owner, bytearray) and owner != self._owner and not there
        ]

    def brought(self, version: VideoVersion, index: int) -> None:
        """This host has brought *index*, and goes on with the others."""
        self._give_back([name_of(version, index)])
        now = time.monotonic()
        with self._lock:
            if now < self._renewed_at + _RENEW_SECONDS:
                return
            self._renewed_at = now
            lasting = {
                name: (now + LEASE_SECONDS + _SLACK_SECONDS, taken)
                for name, (ends, taken) in self._ours.items()
                if now < min(ends, taken + MOST_SECONDS)
            }
            self._ours.update(lasting)
        life = _life()
        if lasting:
            self._server.told([[b"PEXPIRE", _lease_of(n), life] for n in lasting])

    def give_back(self, version: VideoVersion, indices: Iterable[int]) -> None:
        """This host does not bring *indices* any more."""
        self._give_back([name_of(version, index) for index in indices])

    def end(self) -> None:
        """This host brings nothing more."""
        with self._lock:
            names = list(self._ours)
        self._give_back(names)

    def _give_back(self, names: Iterable[bytes]) -> None:
        with self._lock:
            ours = [n for n in names if self._ours.pop(n, None) is not None]
        if ours:
            self._server.told([[b"DEL", *map(_lease_of, ours)]])

    def _not_ours(self, names: dict[int, bytes]) -> dict[int, bytes]:
        now = time.monotonic()
        with self._lock:
            self._ours = {n: ours for n, ours in self._ours.items() if ours[0] > now}
            return {i: name for i, name in names.items() if name not in self._ours}

    def _told(self, asked: Sequence[Sequence[bytes]]) -> list[tuple[Reply, Reply]]:
        """The replies to *asked*, in pairs; none if the server does not answer."""
        replies = self._server.told(asked) if asked else []
        return list(zip(replies[::2], replies[1::2], strict=True))


def _life() -> bytes:
    """How long a lease lasts, as the server reads it."""
    return b"%d" % int(1000 * LEASE_SECONDS)


def _lease_of(name: bytes) -> bytes:
    return name + b":lease"
