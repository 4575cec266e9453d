"""Blocks in a Valkey or Redis that hosts share, so that a fleet fetches a video once.

Decides what goes there: whole values of versions that a strong validator tells, from
memory, behind the readers. What finds no room in the queue, or no server, is dropped; what
is not there, or cannot be believed, is a miss. Leaves to `values` what is believed, to
`valkey` how long anything may take, and to the server what it evicts.

Threads: one that writes, `hingfs-shared`, which starts with the first value. Any thread
may call any method.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from ..blocks import Block, blocks_of, views_of
from ..errors import TransportError
from ..shared_url import SharedAddress
from ..version import VideoVersion
from ..workers import Joinable, Worker, all_joined
from .base import BlockCache
from .leases import Leases
from .valkey import Refused, Server
from .values import (
    MOST_BYTES,
    VALUE_BYTES,
    may_be_shared,
    name_of,
    packed,
    span_of,
    unpacked,
)

log = logging.getLogger(__name__)

# A value lives no longer, where the server evicts nothing: links end earlier. A guess.
_LIFE_SECONDS = 86_400
# After a refusal to write (no room, or this user may only read). A guess.
_UNWRITTEN_SECONDS = 60.0
# So many values are known to be there, and are not sent again: 8 GiB of them. A guess.
_MOST_KNOWN = 8192
# A piece, and its bytes; without any, others may bring it.
_Waiting = tuple[VideoVersion, int, list[memoryview]]


class SharedCache:
    """The values on the server at *address*. Thread safety: all methods.

    *password* names its file. At most *waiting_bytes* wait to be written. No method
    raises, or waits longer than `valkey` says.
    """

    def __init__(
        self, address: SharedAddress, password: Path | None, waiting_bytes: int
    ) -> None:
        self.server = Server(address, password)
        self.leases = Leases(self.server)
        self._most_waiting = max(1, waiting_bytes // VALUE_BYTES)
        # Guards all below; nothing is asked, and no thread is started, under it.
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._known: dict[bytes, None] = {}  # names of values; the oldest come first
        self._unwritten_until = 0.0  # monotonic
        self._worker: Worker | None = None
        self._closed = False
        self.dropped = 0  # values that found no room

    def get(self, version: VideoVersion, index: int) -> memoryview | None:
        """The bytes of piece *index* of *version*, if they are there and right."""
        if not may_be_shared(version):
            return None
        name = name_of(version, index)
        data = None
        for value in self.server.told([[b"GET", name]], most_bytes=MOST_BYTES):
            if not isinstance(value, bytearray):  # there is none
                continue
            data = unpacked(value, version, index)
            if data is None:
                log.debug("a shared value is not what it should be: %s", name)
        self._note(name, there=data is not None)
        return data

    def present(self, version: VideoVersion, indices: Sequence[int]) -> list[int]:
        """Those of *indices* under which something lies now."""
        if not indices or not may_be_shared(version):
            return []
        asked = [[b"EXISTS", name_of(version, index)] for index in indices]
        replies = self.server.told(asked)
        return [index for index, reply in zip(indices, replies, strict=False) if reply]

    def offer(
        self,
        version: VideoVersion,
        first: int,
        blocks: Sequence[Block],
        memory: BlockCache,
        block_bytes: int,
    ) -> None:
        """*blocks* have landed, *first* on: have what *memory* now has whole written."""
        if not may_be_shared(version):
            return
        stop = first + len(blocks)
        start, end = first * block_bytes, min(stop * block_bytes, version.size_bytes)
        for index in range(start // VALUE_BYTES, -(-end // VALUE_BYTES)):
            span = span_of(version, index)
            found = [
                blocks[i - first]
                if first <= i < stop
                else memory.peek((version.key, i))
                for i in blocks_of(span, block_bytes)
            ]
            whole = [memoryview(block) for block in found if block is not None]
            if len(whole) == len(found):
                skipped = span.start % block_bytes
                data = views_of(whole, skipped, skipped + len(span))
                self._put(version, index, data)

    def close(self) -> None:
        """Take nothing more; what waits is still written, see `join`."""
        with self._changed:
            self._closed = True
            worker = self._worker
            self._changed.notify_all()
        if worker is None:
            self.leases.end()
            self.server.close()

    def join(self, seconds: float) -> bool:
        """Whether all is written, and every thread has ended, within *seconds*."""
        with self._changed:
            worker = self._worker
        owners: list[Joinable] = [self.server]
        if worker is not None:
            owners.insert(0, worker)
        return all_joined(owners, seconds)

    # ----------------------------------------------------------------------------------

    def _note(self, name: bytes, *, there: bool) -> None:
        with self._changed:
            self._known.pop(name, None)
            if there:
                self._known[name] = None
                while len(self._known) > _MOST_KNOWN:
                    del self._known[next(iter(self._known))]

    def _put(self, version: VideoVersion, index: int, data: list[memoryview]) -> None:
        name = name_of(version, index)
        with self._changed:
            if self._closed or name in self._known:
                return
            if time.monotonic() < self._unwritten_until:
                return
            if len(self._waiting) >= self._most_waiting:
                self.dropped += 1
                data = []
            self._known[name] = None  # or each block that lands would send it again
            self._waiting.append((version, index, data))
            self._changed.notify_all()
            started = self._worker is not None
            if not started:
                self._worker = Worker("hingfs-shared", self._run)
            worker = self._worker
        if not started and worker is not None:
            try:
                worker.start()
            except TransportError:  # which is logged: the next value tries again
                with self._changed:
                    self._worker = None
                    self._waiting.clear()

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            try:
                self._write(*waiting)
            except Exception:
                log.exception("what was fetched is not shared")
            del waiting  # so that an idle thread keeps no object alive
        self.leases.end()
        self.server.close()

    def _next(self) -> _Waiting | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return self._waiting.popleft() if self._waiting else None

    def _write(self, version: VideoVersion, index: int, data: list[memoryview]) -> None:
        name, life = name_of(version, index), b"%d" % _LIFE_SECONDS
        written = False
        try:
            if data:
                value = packed(version, index, data)
                command = [b"SET", name, value, b"EX", life]
                written = self.server.ask([command]) is not None
        except Refused as refusal:
            log.info("the shared cache takes no values: %s", refusal)
            with self._changed:
                self._unwritten_until = time.monotonic() + _UNWRITTEN_SECONDS
        if not written:
            self._note(name, there=False)
        self.leases.brought(version, index)
