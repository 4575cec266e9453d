"""Programs that read hing:// in several processes; each prints JSON of what it saw.

`python -m tests.support.hing_process PROGRAM BASE_URL`; the token is in the environment.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import sys
import threading
from multiprocessing.queues import SimpleQueue
from typing import Any

from hingfs.fsspec import HingFile, HingFileSystem

CHILDREN = 3
FORKS = 12
JOIN_SECONDS = 60


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def child(
    fs: HingFileSystem, file: HingFile, number: int, told: "SimpleQueue[Any]"
) -> None:
    """Read on in a file that the parent opened, and a video of its own."""
    told.put(
        (
            number,
            file.tell(),
            sha256(file.read(1000)),
            sha256(fs.cat_file(f"c{number}")),
        )
    )


def children(method: str, base_url: str) -> object:
    """Children read what they were given, while the parent reads the same file."""
    context: Any = multiprocessing.get_context(method)
    fs = HingFileSystem(base_url=base_url)
    file = fs.open("parent")
    file.seek(500)
    file.read(500)
    told = context.SimpleQueue()
    started = [
        context.Process(target=child, args=(fs, file, number, told))
        for number in range(CHILDREN)
    ]
    for one in started:
        one.start()
    whole = sha256(fs.cat_file("parent"))
    answers = sorted(told.get() for _ in started)
    for one in started:
        one.join(JOIN_SECONDS)
    return {
        "children": answers,
        "statuses": [one.exitcode for one in started],
        "position": file.tell(),
        "next": sha256(file.read(1000)),
        "whole": whole,
    }


def busy(base_url: str) -> object:
    """Forks while threads read, so that locks of all kinds are held at each."""
    fs = HingFileSystem(base_url=base_url)
    ended = threading.Event()
    wrong: list[int] = []
    size = fs.size("parent")

    def read() -> None:
        with HingFileSystem(base_url=base_url).open("parent") as file:
            while not ended.is_set():
                file.seek(0)
                if len(file.read()) != size:
                    wrong.append(1)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for one in readers:
        one.start()
    statuses = []
    for number in range(FORKS):
        process = os.fork()
        if not process:
            found = fs.cat_file(f"c{number % CHILDREN}")
            # By turns as multiprocessing ends a child, and as a program ends itself.
            status = 0 if len(found) == size else 1
            os._exit(status) if number % 2 else sys.exit(status)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    ended.set()
    for one in readers:
        one.join(JOIN_SECONDS)
    return {
        "statuses": statuses,
        "wrong": wrong,
        "whole": sha256(fs.cat_file("parent")),
    }


def ending(base_url: str) -> object:
    """Ends while a thread waits for a server that never answers, and files are open."""
    fs = HingFileSystem(base_url=base_url)
    file = fs.open("parent")

    def hang() -> None:
        with contextlib.suppress(OSError):
            fs.cat_file("c0")

    threading.Thread(target=hang, daemon=True).start()
    return {"open": file.read(4).hex()}


if __name__ == "__main__":
    program, base_url = sys.argv[1:]
    if program in {"fork", "spawn", "forkserver"}:
        result = children(program, base_url)
    else:
        result = {"busy": busy, "ending": ending}[program](base_url)
    print(json.dumps(result), flush=True)
