"""Reads files in the ways applications do; run as a program of its own.

    reader.py sequential FILE | reader.py readers COUNT BYTES FILE
    reader.py random SEED COUNT BYTES FILE

A process of its own, so that a mount that hangs hangs only this. Prints one JSON
object: seconds from before `open`, bytes read, and for `random` a checksum of them.
"""

import json
import os
import random
import sys
import threading
import time
import zlib
from collections.abc import Callable

READ_BYTES = 1 << 20  # as `dd bs=1M`; the kernel cuts it to what the mount allows


def read_through(path: str, stop: int) -> int:
    """Read *path* from its start up to *stop* or its end; returns the bytes read."""
    buffer = bytearray(READ_BYTES)
    total = 0
    fd = os.open(path, os.O_RDONLY)
    try:
        while total < stop:
            wanted = min(READ_BYTES, stop - total)
            got = os.readv(fd, [memoryview(buffer)[:wanted]])
            if got == 0:
                break
            total += got
    finally:
        os.close(fd)
    return total


def sequential(path: str) -> dict[str, float]:
    """The whole file, once."""
    start = time.perf_counter()
    total = read_through(path, sys.maxsize)
    return {"seconds": time.perf_counter() - start, "bytes": total}


def readers(count: str, size: str, path: str) -> dict[str, float]:
    """*count* readers at once of the file's first *size* bytes."""
    totals: list[int] = []
    threads = [
        threading.Thread(target=lambda: totals.append(read_through(path, int(size))))
        for _ in range(int(count))
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"seconds": time.perf_counter() - start, "bytes": sum(totals)}


def scattered(seed: str, count: str, size: str, path: str) -> dict[str, float]:
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


WAYS: dict[str, Callable[..., dict[str, float]]] = {
    "sequential": sequential,
    "readers": readers,
    "random": scattered,
}

if __name__ == "__main__":
    print(json.dumps(WAYS[sys.argv[1]](*sys.argv[2:])))
