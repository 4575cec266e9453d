"""Whether a name that is looked up will be opened, and the first bytes of those that are.

The kernel looks a name up for `stat` and for `open` alike. A player, rsync or a data
loader opens what it looks up; `ls -l`, `find` and file managers list first, and open
nothing. Decides for which look-ups the first bytes are asked for beside them, so that no
more than a few are asked for in vain. Leaves to `api.first_bytes` how.

Threads: any thread may call any method.
"""

import threading
from collections import deque

from ..api.first_bytes import MOST_VIDEOS, FirstBytes
from ..blocks import ByteRange, blocks_of
from ..content import Content
from ..fetch.fetcher import BlockFetcher
from .readahead import HEAD_BYTES
from .reader import SMALLEST_TAIL_BYTES


class OpenHabit:
    """What look-ups, opens and listings tell of the next. Not thread-safe: its owner locks.

    *credit* is for how many look-ups more the bytes may be asked for in vain. A listing
    ends it; each open after a look-up restores some.
    """

    def __init__(self, credit: int = MOST_VIDEOS) -> None:
        self._most = self._credit = credit
        # Names that were looked up lately and not opened; False where no byte was asked
        # for, oldest first.
        self._unopened: deque[tuple[str, bool]] = deque(maxlen=4 * credit)

    def looked_up(self, video_id: str) -> bool:
        """*video_id* is looked up; returns whether an open is expected."""
        expected = self._credit > 0
        self._credit -= expected
        self._unopened.append((video_id, expected))
        return expected

    def opened(self, video_id: str) -> None:
        """*video_id* was opened."""
        for one in self._unopened:
            if one[0] == video_id:
                self._unopened.remove(one)
                self._credit = min(self._most, self._credit + 1 + one[1])
                return

    def listed(self) -> None:
        """The directory was read: its names are looked up next, for their attributes."""
        self._credit = 0
        self._unopened.clear()


class Openings:
    """Asks for the first bytes of videos that will be opened. Thread safety: all methods."""

    def __init__(self, first_bytes: FirstBytes, fetcher: BlockFetcher) -> None:
        self._first_bytes = first_bytes
        self._fetcher = fetcher
        self._lock = threading.Lock()
        self._habit = OpenHabit()  # guarded by _lock

    def looked_up(self, video_id: str, known: Content | None) -> bool:
        """A program looks up *video_id*, which must be asked for; whether to `begin` it.

        Not if it was *known* before, and its first bytes are here.
        """
        if self._fetcher.counts_requests or not self._first_bytes.are_served:
            return False
        with self._lock:
            expected = self._habit.looked_up(video_id)
        return expected and (known is None or not self._fetcher.has_ends(known))

    def begin(self, video_id: str) -> None:
        """Ask for the first and the last bytes of *video_id*; does not wait.

        Each of the two takes a connection, if any is free.
        """
        if self._fetcher.lend_connections(2):
            # A transfer of the last bytes begins with a block.
            tail = SMALLEST_TAIL_BYTES + self._fetcher.block_bytes
            give_back = self._fetcher.give_back_connection
            self._first_bytes.begin(video_id, HEAD_BYTES, tail, give_back)

    def found(self, content: Content) -> None:
        """The look-up of *content* has ended: fetch what was begun beside it.

        The transfers take the begun answers and free their connections. An open finds the
        bytes, however late it comes.
        """
        if content.ranges is False or content.changed:
            return
        size_bytes = content.size_bytes
        head = ByteRange(0, HEAD_BYTES).clip(size_bytes)
        tail = ByteRange(max(0, size_bytes - SMALLEST_TAIL_BYTES), size_bytes)
        for span in (head, tail):
            if self._first_bytes.has(content.video_id, last=span is tail):
                blocks = blocks_of(span, self._fetcher.block_bytes)
                self._fetcher.prefetch(content, blocks, begun=True)

    def opened(self, content: Content) -> None:
        """A program opens *content*, and its reader will fetch more of it.

        Before that, what was begun is fetched: of programs that wait for one look-up,
        another may come here before the one that began it.
        """
        with self._lock:
            self._habit.opened(content.video_id)
        self.found(content)

    def listed(self) -> None:
        """A program reads the directory."""
        with self._lock:
            self._habit.listed()
