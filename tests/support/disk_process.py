"""A second process with disk caches: does what its parent writes to it, a line each.

A line is JSON: the directory, a version's id and tag, and the blocks to put. The reply is
the blocks that are read afterwards. `forever` makes a child that puts blocks until it is
killed; the reply is its process number, once its first block is written.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hingfs.cache.disk import DiskCache
from tests.support.disks import (
    LIMIT,
    WAITING,
    opened,
    put,
    put_behind,
    readable,
    version_of,
)


class DiskProcess:
    """The process, seen from its parent."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.disk_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            text=True,
            bufsize=1,
        )

    def put(
        self, directory: Path, video_id: str, etag: str, blocks: Sequence[int] = ()
    ) -> list[int]:
        """Put *blocks*; returns those that are read."""
        found: list[int] = self._asked(str(directory), video_id, etag, list(blocks))
        return found

    def forever(self, directory: Path, number: int) -> int:
        """The number of a process that writes videos until it is killed."""
        child: int = self._asked(str(directory), number)
        return child

    def end_caches(self) -> None:
        """End its caches; their directories may be deleted."""
        self._asked("")

    def close(self) -> None:
        self._process.communicate("", timeout=20)
        assert self._process.returncode == 0

    def _asked(self, *command: object):
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        return json.loads(self._process.stdout.readline())


def _put(
    cache: DiskCache, video_id: str, etag: str, blocks: Sequence[int]
) -> list[int]:
    video = opened(cache, version_of(video_id, etag=etag))
    readable(video)  # what is bad is forgotten, and can be put
    put(cache, video, *blocks)
    found = readable(video)
    video.release()
    return found


def _write_forever(directory: Path, number: int, ready: int) -> None:
    """Put video after video, with what waits as deep as it gets."""
    cache = DiskCache(directory, LIMIT, WAITING)
    for at in range(10_000):
        video = opened(cache, version_of(f"v{number}-{at}"))
        put(cache, video, 0)
        if at == 0:
            os.write(ready, b"!")
        for index in range(1, 5):
            put_behind(video, index)


def _forked(directory: Path, number: int) -> int:
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        _write_forever(directory, number, theirs)
        os._exit(1)
    os.close(theirs)
    os.read(ours, 1)
    os.close(ours)
    return child


def _close(caches: dict[str, DiskCache]) -> None:
    """End them, so that none makes a directory anew that a test has deleted."""
    while caches:
        _, cache = caches.popitem()
        cache.close()
        assert cache.join(10)


def main() -> None:
    """Serve until the parent closes the pipe."""
    caches: dict[str, DiskCache] = {}
    for line in sys.stdin:
        directory, *command = json.loads(line)
        reply: object = None
        if not command:
            _close(caches)
        elif len(command) == 1:
            reply = _forked(Path(directory), *command)
        else:
            if directory not in caches:
                _close(caches)
                caches[directory] = DiskCache(Path(directory), LIMIT, WAITING)
            reply = _put(caches[directory], *command)
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
