"""Runs `hingfs keep` again and again, each time in a child that its caller may kill.

The children are forked from a process that has loaded all that the command needs, since
to load it takes longer than to keep a video. A line is JSON: the words of the command; the
reply is the child's process number. Such a number waits for that child; the reply is its
exit status, negative for a signal.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from hingfs.cli import keep as _loaded  # noqa: F401 - so that each child has it
from hingfs.cli import main
from tests.support.mounting import environment


class KeepProcess:
    """The process, seen from its parent; *variables* are those of its environment."""

    def __init__(self, **variables: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.keep_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env=environment(**variables),
            text=True,
            bufsize=1,
        )

    def start(self, *words: str) -> int:
        """Begin `hingfs keep` with *words*; returns its process number."""
        return self._asked(words)

    def wait(self, child: int) -> int:
        """The exit status of *child*, negative for a signal."""
        return self._asked(child)

    def close(self) -> None:
        self._process.communicate("", timeout=20)
        assert self._process.returncode == 0

    def _asked(self, what: object) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        return int(json.loads(self._process.stdout.readline()))


def _forked(words: list[str]) -> int:
    child = os.fork()
    if child == 0:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nowhere, number)
        os._exit(main.main(["keep", *words]))
    return child


def serve() -> None:
    """Serve until the parent closes the pipe."""
    for line in sys.stdin:
        what = json.loads(line)
        if isinstance(what, list):
            reply = _forked(what)
        else:
            reply = os.waitstatus_to_exitcode(os.waitpid(what, 0)[1])
        sys.stdout.write(f"{reply}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
