"""Reads files in the ways applications do; run as a program of its own.

    reader.py sequential FILE | reader.py readers COUNT BYTES FILE
    reader.py random SEED COUNT BYTES FILE | reader.py whole PROCESSES MOST FILE...

It is a process of its own, so that a mount that hangs stops only this one. It prints one
JSON object: the seconds from before `open` on, the bytes read, and their checksum. No
checksum is made while the clock runs: `sequential` keeps a piece of each read until
then, and `random` and `whole` keep all bytes. Only `readers` sums at once, for nobody
looks at its time.
"""

import json
import multiprocessing
import os
import random
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from typing import NamedTuple

READ_BYTES = 1 << 20  # as `dd bs=1M`; the kernel cuts it to what the mount allows
# Kept of each read by `sequential`, at a place that walks through the read. To keep the
# whole film cost time: a local file in the page cache took 0.13 to 0.16 s instead of
# 0.10 (2026-11-27).
SAMPLE_BYTES = 4096
SAMPLE_STEP = 37 * SAMPLE_BYTES

START_SECONDS = 60  # in which all processes start and fill their buffers; a guess

Done = dict[str, float]


def pieces_of(path: str, stop: int) -> Iterator[memoryview]:
    """*path* up to *stop* or its end, in pieces that are good until the next."""
    buffer = memoryview(bytearray(READ_BYTES))
    left = stop
    fd = os.open(path, os.O_RDONLY)
    try:
        while got := _fill(fd, buffer[: min(READ_BYTES, left)]):
            left -= got
            yield buffer[:got]
    finally:
        os.close(fd)


def _fill(fd: int, buffer: memoryview) -> int:
    """Read on until *buffer* is full or the file ends; returns the bytes read."""
    total = 0
    while total < len(buffer) and (got := os.readv(fd, [buffer[total:]])):
        total += got
    return total


def sequential(path: str) -> Done:
    """The whole file, once."""
    samples: list[bytes] = []
    total = 0
    start = time.perf_counter()
    for index, piece in enumerate(pieces_of(path, sys.maxsize)):
        total += len(piece)
        first = index * SAMPLE_STEP % len(piece)
        samples.append(bytes(piece[first : first + SAMPLE_BYTES]))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "bytes": total, "crc": zlib.crc32(b"".join(samples))}


def readers(count: str, size: str, path: str) -> Done:
    """*count* readers at once of the file's first *size* bytes."""
    crcs: list[int] = []
    totals: list[int] = []

    def read() -> None:
        crc = total = 0
        for piece in pieces_of(path, int(size)):
            crc = zlib.crc32(piece, crc)
            total += len(piece)
        crcs.append(crc)
        totals.append(total)

    threads = [threading.Thread(target=read) for _ in range(int(count))]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "bytes": sum(totals), "crc": _crc_of(crcs)}


def scattered(seed: str, count: str, size: str, path: str) -> Done:
    """*count* reads of *size* bytes, one after the other, at places set by *seed*."""
    places = random.Random(int(seed))
    start = time.perf_counter()
    fd = os.open(path, os.O_RDONLY)
    span = os.fstat(fd).st_size - int(size)
    pieces = [
        os.pread(fd, int(size), places.randrange(span)) for _ in range(int(count))
    ]
    seconds = time.perf_counter() - start
    os.close(fd)
    crc = zlib.crc32(b"".join(pieces))
    return {"seconds": seconds, "bytes": sum(map(len, pieces)), "crc": crc}


class Share(NamedTuple):
    """What one process read, and when; sizes and checksums by path."""

    start: float
    end: float
    sizes: dict[str, int]
    crcs: dict[str, int]


def whole(processes: str, most: str, *paths: str) -> Done:
    """All *paths*, each of at most *most* bytes, shared out to *processes* at once.

    Each process reads its files one after the other, each from end to end.
    """
    count = int(processes)
    forks = multiprocessing.get_context("fork")
    barrier = forks.Barrier(count)
    with ProcessPoolExecutor(count, forks, _wait_at, (barrier,)) as pool:
        given = [paths[index::count] for index in range(count)]
        shares = list(pool.map(_read_share, given, [int(most)] * count))
    crcs = {path: crc for share in shares for path, crc in share.crcs.items()}
    return {
        "seconds": max(one.end for one in shares) - min(one.start for one in shares),
        "bytes": sum(size for share in shares for size in share.sizes.values()),
        "crc": _crc_of(crcs[path] for path in paths),
    }


_barriers: list[Barrier] = []  # the one of this process, from the pool


def _wait_at(barrier: Barrier) -> None:
    _barriers.append(barrier)


def _read_share(paths: tuple[str, ...], most: int) -> Share:
    # The buffers are written to, so that the kernel makes no page while the clock runs.
    # Each holds one byte more than its file, so that a file that is too long shows.
    buffers = {path: memoryview(bytearray(b"-") * (most + 1)) for path in paths}
    _barriers[0].wait(START_SECONDS)
    start = time.perf_counter()
    sizes = {path: _read_into(buffers[path], path) for path in paths}
    end = time.perf_counter()
    crcs = {path: zlib.crc32(buffers[path][:size]) for path, size in sizes.items()}
    return Share(start, end, sizes, crcs)


def _read_into(buffer: memoryview, path: str) -> int:
    total = 0
    fd = os.open(path, os.O_RDONLY)
    try:
        while got := os.readv(fd, [buffer[total : total + READ_BYTES]]):
            total += got
    finally:
        os.close(fd)
    return total


def _crc_of(crcs: Iterable[int]) -> int:
    return zlib.crc32(json.dumps(list(crcs)).encode())


WAYS: dict[str, Callable[..., Done]] = {
    "sequential": sequential,
    "readers": readers,
    "random": scattered,
    "whole": whole,
}

if __name__ == "__main__":
    print(json.dumps(WAYS[sys.argv[1]](*sys.argv[2:])))
