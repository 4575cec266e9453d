"""A reader is a process of its own; lines on stdin tell it which videos to read."""

import errno
import json
import mmap
import os
import random
import select
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.support.personalities import ramp

from .kept import PREFIX
from .limits import COUNTS, DEADLINE_SECONDS, REQUEST_BYTES, SLACK_SECONDS

Result = TypeVar("Result")


class Reader:
    """Reads at random and compares; writes its counts as a line of JSON."""

    def __init__(self, directory: str, seed: str) -> None:
        self._directory = Path(directory)
        self._chance = random.Random(seed)
        self._videos: list[tuple[str, int]] = []
        self._found: Counter[str] = Counter()
        self._longest = 0.0
        self._longest_request = 0.0
        # It begins at a page; the kernel would split a read into any other buffer in two.
        self._buffer = memoryview(mmap.mmap(-1, REQUEST_BYTES))
        self._told_at = 0.0
        self._complaints = 0

    def run(self) -> None:
        """Read until stdin ends. A line there is a list of (video id, size)."""
        wait = 0.0
        while self._listen(wait):
            video_id, size = self._chance.choice(self._videos)
            try:
                self._read_one(video_id, size)
                wait = 0.0
            except OSError as error:
                wait = 0.1  # a server that is away would make thousands of errors
                if video_id.startswith(PREFIX):
                    self._found["kept videos refused"] += 1
                    self._complain(f"{video_id}: {error}")
            if time.monotonic() - self._told_at > 0.5:
                self._tell()
        self._tell()

    def _listen(self, wait: float) -> bool:
        """Take the newest list of videos, if there is any; whether to go on."""
        while select.select([0], [], [], wait if self._videos else None)[0]:
            line = os.read(0, 1 << 20).decode()
            if not line:
                return False
            newest = json.loads(line.splitlines()[-1])
            self._videos = [(video_id, size) for video_id, size in newest]
        return True

    def _read_one(self, video_id: str, size: int) -> None:
        path = self._directory / f"{video_id}.mp4"
        # Past the kernel's pages, one call is one request.
        direct = self._chance.random() < 0.3
        flags = os.O_RDONLY | (os.O_DIRECT if direct else 0)
        opened = self._timed(lambda: os.open(path, flags), requests=2)
        try:
            self._check_size(opened, video_id, size)
            offset = self._chance.randrange(size)
            in_order = self._chance.random() < 0.3
            for _ in range(self._chance.randrange(1, 12)):
                count = self._chance.choice(COUNTS)
                if direct:
                    count = min(count, REQUEST_BYTES)
                    self._check_request(opened, video_id, size, offset, count)
                else:
                    self._check_read(opened, video_id, size, offset, count)
                offset = (
                    offset + count if in_order else self._chance.randrange(size)
                ) % size
            # The kernel drops its pages, so that the next reads ask the mount.
            os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(opened)

    def _check_size(self, opened: int, video_id: str, size: int) -> None:
        said = self._timed(lambda: os.fstat(opened).st_size)
        if said != size:
            # A fault spoilt a header of the first answer. Every range must name the same
            # size, so a read meets the truth and fails.
            self._found["wrong sizes"] += 1
            self._complain(f"{video_id}: {said} bytes, not {size}")

    def _check_read(
        self, opened: int, video_id: str, size: int, offset: int, count: int
    ) -> None:
        """Read as programs do: after a short read they ask for the rest, until an error.

        Where a page fails, the kernel gives the pages before it, and the error at the
        next call. A read before the end that brings no byte is wrong.
        """
        stop = min(offset + count, size)
        while offset < stop:
            start = offset
            wanted = stop - start
            data = self._timed(
                lambda: os.pread(opened, wanted, start),  # noqa: B023
                requests=wanted // REQUEST_BYTES + 2,
            )
            self._compare(video_id, start, stop, data)
            offset += len(data) or stop

    def _check_request(
        self, opened: int, video_id: str, size: int, offset: int, count: int
    ) -> None:
        """Read past the kernel's pages: by one deadline all bytes come, or an error."""
        stop = min(offset + count, size)
        target = self._buffer[: stop - offset]
        read = self._timed(lambda: os.preadv(opened, [target], offset))
        if read != len(target):
            self._found["wrong bytes"] += len(target) - read
            self._complain(f"{video_id}: {read} bytes of [{offset}, {stop})")
        self._compare(video_id, offset, stop, bytes(target[:read]))

    def _compare(self, video_id: str, start: int, stop: int, data: bytes) -> None:
        self._found["reads"] += 1
        self._found["bytes"] += len(data)
        if data and data == ramp(video_id, start, start + len(data)):
            return
        self._found["wrong bytes"] += len(data) or stop - start
        self._complain(f"{video_id}: {len(data)} wrong bytes of [{start}, {stop})")

    def _timed(self, call: Callable[[], Result], requests: int = 1) -> Result:
        """Return what *call* does; count a hang if it outlasts the deadlines of *requests*."""
        started = time.monotonic()
        try:
            return call()
        except OSError as error:
            self._found[errno.errorcode[error.errno or 0]] += 1
            raise
        finally:
            lasted = time.monotonic() - started
            self._longest = max(self._longest, lasted)
            if requests == 1:
                self._longest_request = max(self._longest_request, lasted)
            if lasted > requests * DEADLINE_SECONDS + SLACK_SECONDS:
                self._found["hangs"] += 1
                self._complain(f"a call of {lasted:.1f} s")

    def _complain(self, what: str) -> None:
        """Say on standard error what is wrong, for the first five times."""
        self._complaints += 1
        if self._complaints <= 5:
            print(f"soak: {time.strftime('%X')} {what}", file=sys.stderr, flush=True)

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        line = {
            **self._found,
            "longest": self._longest,
            "longest request": self._longest_request,
        }
        print(json.dumps(line), flush=True)
