"""A reader: a process that reads at random through a mount, and checks every byte.

It is told by lines on stdin what to do: "read", "check 15" (all clips of its share must
read right within 15 seconds), and ends with stdin. It tells by lines of JSON on
stdout: counts, wrong bytes, calls that lasted too long, and the end of a check.
"""

import argparse
import errno
import json
import mmap
import os
import select
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeVar

from tests.fuzzing.clips import (
    CLIPS,
    FRESH,
    Clip,
    Versions,
    first_difference,
    is_mixture,
    origin_of,
)

Result = TypeVar("Result")

READERS = 5
# The time-outs of the mount for a read, and for a name.
DEADLINE_SECONDS = 5.0
# Two cores are shared by the readers, the mount and the server, and by other work.
SLACK_SECONDS = 3.0
# The most bytes that the kernel asks either binding for at once.
REQUEST_BYTES = 128 * 1024
COUNTS = (1, 511, 4096, 65_536, 300_000, 1 << 20)
_PAGE = 4096


class Interrupted(Exception):
    """There is another thing to do."""


@dataclass(slots=True)
class Handle:
    """A file held open. *versions*: those that all its bytes so far agree with."""

    clip: Clip
    descriptor: int
    direct: bool
    size_bytes: int
    versions: set[int] | None = None


class Reader:
    """See the module docstring. Used by one thread."""

    def __init__(
        self,
        directory: Path,
        number: int,
        seed: str,
        versions: Versions,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        slack_seconds: float = SLACK_SECONDS,
    ) -> None:
        self._directory = directory
        self._number = number
        self._chance = Random(f"{seed}/reader/{number}")
        self._versions = versions
        self._deadline_seconds = deadline_seconds
        self._slack_seconds = slack_seconds
        self._found: Counter[str] = Counter()
        self._buffer = memoryview(mmap.mmap(-1, REQUEST_BYTES))
        self._orders = b""
        self._told_at = 0.0
        self._fresh = 0

    def run(self) -> None:
        """Do as told until stdin ends."""
        while order := self._order():
            if order.startswith("check"):
                self._check_all(float(order.split()[1]))
                continue
            while not self._asked():
                self._read_something()
        self._tell()

    def _order(self) -> str:
        """The next line of stdin; "" at its end. One that came with others waits."""
        while b"\n" not in self._orders:
            piece = os.read(0, 4096)
            if not piece:
                return ""
            self._orders += piece
        line, _, self._orders = self._orders.partition(b"\n")
        return line.decode()

    def _asked(self) -> bool:
        return bool(self._orders) or bool(select.select([0], [], [], 0)[0])

    # -- reading at random ----------------------------------------------------------------

    def _read_something(self) -> None:
        wait = 0.0
        try:
            self._act()
        except OSError:
            wait = 0.05  # or a server that is away makes thousands of errors
        except Interrupted:
            pass
        if time.monotonic() - self._told_at > 0.5:
            self._tell()
        if wait:
            select.select([0], [], [], wait)

    def _act(self) -> None:
        dice = self._chance.random()
        if dice < 0.04:
            self._timed("ls", lambda: os.listdir(self._directory), names=3)
        elif dice < 0.12:
            self._stat(self._chance.choice(CLIPS))
        elif dice < 0.28:
            self._fresh += 1
            clip = Clip(f"{FRESH}{self._number}-{self._fresh}")
            if self._chance.random() < 0.5:
                self._stat(clip)
            self._read_at_random(clip)
        elif dice < 0.35:
            self._read_whole(self._chance.choice(CLIPS))
        else:
            self._read_at_random(self._chance.choice(CLIPS))

    def _path(self, clip: Clip) -> Path:
        return self._directory / f"{clip.video_id}.mp4"

    def _stat(self, clip: Clip) -> None:
        said = self._timed("stat", self._path(clip).stat, names=1).st_size
        if said not in self._sizes(clip):
            self._found["wrong sizes"] += 1

    def _sizes(self, clip: Clip) -> set[int]:
        newest = self._versions.newest(clip)
        return {clip.size_at(version) for version in range(newest + 1)}

    def _open(self, clip: Clip, *, direct: bool) -> Handle:
        flags = os.O_RDONLY | (os.O_DIRECT if direct else 0)
        path = self._path(clip)
        descriptor = self._timed("open", lambda: os.open(path, flags), names=2)
        said = self._timed("fstat", lambda: os.fstat(descriptor).st_size)
        if said not in self._sizes(clip):
            # A first answer lied; whatever is read will say so.
            self._found["wrong sizes"] += 1
        return Handle(clip, descriptor, direct, said)

    def _close(self, handle: Handle) -> None:
        # Drop the kernel's pages, so that the next reads ask the mount.
        os.posix_fadvise(handle.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle.descriptor)

    def _read_at_random(self, clip: Clip) -> None:
        handle = self._open(clip, direct=self._chance.random() < 0.35)
        try:
            self._read_some(handle)
        finally:
            self._close(handle)

    def _read_some(self, handle: Handle) -> None:
        in_order = self._chance.random() < 0.3
        offset = self._offset(handle)
        for _ in range(self._chance.randrange(1, 10)):
            if self._asked():
                raise Interrupted
            count = self._chance.choice(COUNTS)
            self._read(handle, offset, count)
            offset = offset + count if in_order else self._offset(handle)
            if offset >= handle.size_bytes:
                offset = 0

    def _offset(self, handle: Handle) -> int:
        offset = self._chance.randrange(max(1, handle.size_bytes))
        return offset // _PAGE * _PAGE if handle.direct else offset

    def _read_whole(self, clip: Clip) -> None:
        handle = self._open(clip, direct=False)
        try:
            for offset in range(0, handle.size_bytes, COUNTS[-1]):
                if self._asked():
                    raise Interrupted
                self._read(handle, offset, COUNTS[-1])
        finally:
            self._close(handle)

    # -- one read --------------------------------------------------------------------------

    def _read(self, handle: Handle, offset: int, count: int) -> None:
        """Read [offset, offset + count), all that is there of it, and compare."""
        if handle.direct:
            count = min(-(-count // _PAGE) * _PAGE, REQUEST_BYTES)
        stop = min(offset + count, handle.size_bytes)
        while offset < stop:
            data = self._read_once(handle, offset, stop - offset)
            if not data and not self._is_end(handle, offset):
                data = self._read_once(handle, offset, stop - offset)
                if not data:
                    self._wrong(handle, offset, data, f"no bytes of [{offset}, {stop})")
            if not data:
                return
            self._compare(handle, offset, data)
            offset += len(data)

    def _is_end(self, handle: Handle, offset: int) -> bool:
        """Whether no bytes at *offset* are right: by a size that lied, or is another now.

        The kernel takes the size that any look at the name gave it for the end.
        """
        said = self._timed("fstat", lambda: os.fstat(handle.descriptor).st_size)
        self._found["ends before the end"] += 1
        lied = handle.size_bytes not in self._sizes(handle.clip)
        return said <= offset or lied or handle.clip.changes == "size"

    def _read_once(self, handle: Handle, offset: int, count: int) -> bytes:
        descriptor = handle.descriptor
        if not handle.direct:
            return self._timed(
                "read",
                lambda: os.pread(descriptor, count, offset),
                requests=count // REQUEST_BYTES + 2,
            )
        # Past the kernel's pages, one call is one request.
        target = self._buffer[:count]
        read = self._timed(
            "direct read", lambda: os.preadv(descriptor, [target], offset)
        )
        return bytes(target[:read])

    def _compare(self, handle: Handle, start: int, data: bytes) -> None:
        clip, newest = handle.clip, self._versions.newest(handle.clip)
        self._found["reads"] += 1
        self._found["bytes"] += len(data)
        possible = handle.versions or range(newest, -1, -1)
        stop = start + len(data)
        agreeing = {v for v in possible if clip.bytes_at(v, start, stop) == data}
        if agreeing:
            handle.versions = agreeing
        elif clip.mixes and is_mixture(clip, newest, start, data):
            self._found["mixed, as nothing tells"] += 1
        else:
            self._wrong(handle, start, data, self._words_for(handle, start, data))
        if clip.mixes:
            handle.versions = None

    def _words_for(self, handle: Handle, start: int, data: bytes) -> str:
        clip = handle.clip
        at = _first_wrong(clip, self._versions.newest(clip), start, data)
        where = origin_of(data[at:], start + at, self._versions)
        seen = f", and the handle is at {handle.versions}" if handle.versions else ""
        return f"{len(data) - at} bytes from {start + at}: {where}{seen}"

    def _wrong(self, handle: Handle, start: int, data: bytes, words: str) -> None:
        clip = handle.clip
        newest = self._versions.newest(clip)
        at = start + (_first_wrong(clip, newest, start, data) if data else 0)
        self._say(
            wrong={
                "video_id": clip.video_id,
                "offset": at,
                "bytes": max(1, start + len(data) - at),
                "words": ("past the kernel's pages, " if handle.direct else "") + words,
            }
        )

    def _timed(
        self,
        name: str,
        call: Callable[[], Result],
        *,
        requests: int = 1,
        names: int = 0,
    ) -> Result:
        """Return the result of *call*; report it if it outlasts its requests' deadlines.

        A call that looks up *names* may wait for those of others: in one directory
        the kernel asks for one at a time.
        """
        deadlines = names + READERS if names else requests
        started = time.monotonic()
        try:
            return call()
        except OSError as error:
            self._found[errno.errorcode[error.errno or 0]] += 1
            raise
        finally:
            lasted = time.monotonic() - started
            if lasted > deadlines * self._deadline_seconds + self._slack_seconds:
                self._say(late={"call": name, "lasted": lasted, "requests": deadlines})

    # -- the check after trouble -------------------------------------------------------------

    def _check_all(self, seconds: float) -> None:
        """Read the clips of this reader's share whole, each until it reads right."""
        began = time.monotonic()
        until = began + seconds
        failed = {}
        mine = [clip for n, clip in enumerate(CLIPS) if n % READERS == self._number]
        for clip in mine:
            error = self._recovered(clip, until)
            if error:
                failed[clip.video_id] = error
        if self._number == 0:
            error = self._listed(until)
            if error:
                failed["the listing"] = error
        self._tell()
        self._say(checked={"seconds": time.monotonic() - began, "failed": failed})

    def _recovered(self, clip: Clip, until: float) -> str:
        """Why *clip* does not read right by *until*; "" if it does."""
        while True:
            error = self._tried(clip)
            if not error or time.monotonic() >= until:
                return error
            select.select([], [], [], 0.2)

    def _tried(self, clip: Clip) -> str:
        wrong = self._found["wrong"]
        try:
            handle = self._open(clip, direct=False)
        except OSError as error:
            return f"open: {error.strerror}"
        try:
            if handle.size_bytes != clip.size_at(self._versions.newest(clip)):
                return f"a size of {handle.size_bytes}"
            for offset in range(0, handle.size_bytes, COUNTS[-1]):
                self._read(handle, offset, COUNTS[-1])
        except OSError as error:
            return f"read: {error.strerror}"
        finally:
            self._close(handle)
        newest = self._versions.newest(clip)
        if handle.versions is not None and newest not in handle.versions:
            return f"version {handle.versions}, not {newest}"
        return "wrong bytes" if self._found["wrong"] > wrong else ""

    def _listed(self, until: float) -> str:
        wanted = {f"{clip.video_id}.mp4" for clip in CLIPS}
        while True:
            error = ""
            try:
                missing = wanted - set(os.listdir(self._directory))
                error = f"without {len(missing)} names" if missing else ""
            except OSError as failure:
                error = str(failure.strerror)
            if not error or time.monotonic() >= until:
                return error
            select.select([], [], [], 0.2)

    # -- telling -------------------------------------------------------------------------------

    def _say(self, **what: object) -> None:
        if "wrong" in what:
            self._found["wrong"] += 1
        print(json.dumps({"reader": self._number, **what}), flush=True)

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        self._say(found=self._found)


def _first_wrong(clip: Clip, newest: int, start: int, data: bytes) -> int:
    """The index of the first byte that no held version has there."""
    best = 0
    for version in range(newest + 1):
        held = clip.bytes_at(version, start, start + len(data))
        best = max(best, first_difference(data, held))
    return min(best, len(data) - 1)


def main() -> None:
    """Run by the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("number", type=int)
    parser.add_argument("seed")
    parser.add_argument("versions", type=Path)
    arguments = parser.parse_args()
    Reader(
        arguments.directory,
        arguments.number,
        arguments.seed,
        Versions(arguments.versions),
    ).run()


if __name__ == "__main__":
    main()
