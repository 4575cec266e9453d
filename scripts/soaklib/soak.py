"""The soak of one mount.

Threads: `soak-reader-N` takes the lines of one reader, until it ends.
"""

import contextlib
import json
import os
import queue
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support import endpoint as faults
from tests.support.mounting import Mounted
from tests.support.personalities import PERSONALITIES

from .disk import SoakedDisk
from .limits import IDLE_WITHIN_SECONDS, LONGEST_CALL_SECONDS, SPARE_DISK_THREADS
from .outcome import Level, Outcome
from .servers import (
    FAULT_SHARE,
    FAULTS,
    LARGEST_WITHOUT_RANGES,
    PHASES,
    SIZES,
    WITHOUT_RANGES,
)

READERS = 8
_RUNNER = Path(__file__).resolve().parents[1] / "soak"


class Soak:
    """The soak of one mount.

    With *kept* videos the server is away for half of the time, else for moments.
    """

    def __init__(
        self,
        mounted: Mounted,
        disk: SoakedDisk,
        seconds: float,
        seed: int,
        kept: Sequence[tuple[str, int]] = (),
    ) -> None:
        self._kept = kept
        self._mounted = mounted
        self._endpoint = mounted.endpoint
        self._disk = disk
        self._seconds = seconds
        self._seed = seed
        self._chance = random.Random(seed)
        self._outcome = Outcome(mounted.binding)
        self._outcome.spare_threads += disk.folders * SPARE_DISK_THREADS
        self._phases = 0
        self._told: dict[int, dict[str, float]] = {}
        self._heard_at: dict[int, float] = {}
        self._lines: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()

    def run(self) -> Outcome:
        """Warm the mount up, read through faults, and wait until it is idle again."""
        outcome = self._outcome
        ends_at = time.monotonic() + self._seconds
        self._warm_up()
        outcome.idle = self._level_at_rest()
        with self._readers() as readers:
            # On a busy machine the warm-up may take all the time: half of it is for reads.
            self._seconds = max(self._seconds / 2, ends_at - time.monotonic())
            self._read_through_faults(readers)
            self._endpoint.calm()
        self._collect()
        for told in self._told.values():
            outcome.longest = max(outcome.longest, told.pop("longest", 0.0))
            outcome.longest_request = max(
                outcome.longest_request, told.pop("longest request", 0.0)
            )
            outcome.found.update({name: int(count) for name, count in told.items()})
        self._count_faults()
        outcome.spoilt, outcome.disk_mb = self._disk.spoilt, self._disk.peak_mb
        outcome.after = self._level_at_rest(outcome.idle)
        return outcome

    def _warm_up(self) -> None:
        """Have the mount start every thread of its pools, and open its connections."""
        for kind in ("openai", "hingnet_sora_redirect", "aisix_proxy"):
            self._endpoint.personality = PERSONALITIES[kind]
            ids = [f"warm-{kind}-{number:02}" for number in range(24)]
            for video_id in ids:
                self._endpoint.add(video_id, size_bytes=600_000)
            # In the order of the listing, so that the mount looks up the next names.
            os.listdir(self._mounted.directory)
            for video_id in ids:
                self._mounted.path(video_id).stat()
            slow = faults.stall_before_headers(0.1)
            self._endpoint.chaos(0, 1.0, [slow, slow + faults.drip(1_000_000)])
            with ThreadPoolExecutor(len(ids)) as pool:
                list(pool.map(self._touch, ids))
            # The mount asks for the status of a video whose rest it cannot have.
            for video_id in ids:
                self._endpoint.remove(video_id)
            with ThreadPoolExecutor(len(ids)) as pool:
                list(pool.map(self._touch_again, ids))
            self._endpoint.calm()
        for video_id, _ in self._kept:
            self._touch(video_id, 0)

    def _touch(self, video_id: str, *offsets: int) -> None:
        with self._mounted.path(video_id).open("rb", buffering=0) as file:
            for offset in offsets or (0, 100_000):
                file.seek(offset)
                file.read(4096)

    def _touch_again(self, video_id: str) -> None:
        with contextlib.suppress(OSError):
            self._touch(video_id, 450_000)

    def _next_phase(self) -> list[tuple[str, int]]:
        """Put fresh videos on a server of the next kind; returns their ids and sizes."""
        kind = [*PHASES][self._phases % len(PHASES)]
        self._endpoint.personality = PHASES[kind]
        self._phases += 1
        sizes = [
            s for s in SIZES if kind not in WITHOUT_RANGES or s < LARGEST_WITHOUT_RANGES
        ]
        served = [(f"soak-{self._phases}-{size}", size) for size in sizes]
        for video_id, size in served:
            self._endpoint.add(video_id, size_bytes=size)
        return [*served, *self._kept]

    def _read_through_faults(self, readers: list[subprocess.Popen[str]]) -> None:
        started = time.monotonic()
        pause = threading.Event()
        # The mount meets every kind of server before its level of memory is taken, except
        # in a soak so short that the reads of one kind would have no time.
        phase_seconds = max(2.5, min(10.0, self._seconds / 2 / len(PHASES)))
        restart_seconds = min(10.0, self._seconds / 4)
        next_phase, next_restart = started, started + restart_seconds
        warm_at = started + min(60.0, self._seconds / 2)
        self._endpoint.chaos(self._seed, FAULT_SHARE, FAULTS)
        while (now := time.monotonic()) < started + self._seconds:
            if now >= next_phase:
                self._count_faults()
                videos = json.dumps(self._next_phase())
                for reader in readers:
                    assert reader.stdin is not None
                    reader.stdin.write(videos + "\n")
                    reader.stdin.flush()
                next_phase += phase_seconds
            if now >= next_restart:
                self._endpoint.stop()
                moment = self._chance.uniform(0.1, 1.5)
                pause.wait(restart_seconds / 2 if self._kept else moment)
                self._endpoint.start()
                self._outcome.restarts += 1
                self._disk.spoil()
                next_restart += restart_seconds
            self._watch(now < warm_at)
            self._show(now - started)
            pause.wait(0.2)

    def _watch(self, warming: bool) -> None:  # noqa: FBT001
        outcome = self._outcome
        rss_mb = Level.of(self._mounted.process.pid).rss_mb
        outcome.peak_rss_mb = max(outcome.peak_rss_mb, rss_mb)
        self._disk.look()
        if warming:
            outcome.warm_rss_mb = outcome.peak_rss_mb
        self._collect()
        silent = time.monotonic() - min(self._heard_at.values())
        if silent > LONGEST_CALL_SECONDS + 5:
            outcome.found["hangs"] += 1
            raise SystemExit(
                f"soak {outcome.binding}: a reader hangs for {silent:.0f} s"
            )

    def _collect(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                number, line = self._lines.get_nowait()
                self._told[number] = json.loads(line)
                self._heard_at[number] = time.monotonic()

    def _count_faults(self) -> None:
        log = self._endpoint.log
        self._endpoint.reset_log()
        self._outcome.injected += sum(record.fault != "" for record in log)

    def _show(self, elapsed: float) -> None:
        if not sys.stderr.isatty():
            return
        reads = sum(told.get("reads", 0) for told in self._told.values())
        wrong = sum(told.get("wrong bytes", 0) for told in self._told.values())
        print(
            f"\rsoak {self._outcome.binding}: {elapsed:4.0f} of {self._seconds:.0f} s, "
            f"{reads:.0f} reads, {wrong:.0f} wrong bytes ",
            end="",
            file=sys.stderr,
            flush=True,
        )

    def _level_at_rest(self, idle: Level | None = None) -> Level:
        """The level once no request is under way and, with *idle*, its counts are back."""
        pid = self._mounted.process.pid
        pause = threading.Event()
        deadline = time.monotonic() + IDLE_WITHIN_SECONDS
        same_since, level = time.monotonic(), Level.of(pid)
        while time.monotonic() < deadline:
            pause.wait(0.2)
            now = Level.of(pid)
            if (now.threads, now.sockets, now.files) != (
                (level.threads, level.sockets, level.files)
            ):
                same_since = time.monotonic()
            level = now
            at_rest = time.monotonic() - same_since > 1.0
            busy = [record for record in self._endpoint.log if not record.finished]
            if (
                at_rest
                and not busy
                and (idle is None or level.within(idle, self._outcome.spare_threads))
            ):
                break
        return level

    @contextlib.contextmanager
    def _readers(self) -> Iterator[list[subprocess.Popen[str]]]:
        command = [
            sys.executable,
            str(_RUNNER),
            "--reader",
            str(self._mounted.directory),
        ]
        with contextlib.ExitStack() as stack:
            readers = []
            for number in range(READERS):
                reader = stack.enter_context(
                    subprocess.Popen(
                        [*command, "--seed", str(self._seed * 1000 + number)],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
                stack.callback(reader.kill)
                self._heard_at[number] = time.monotonic()
                threading.Thread(
                    target=self._listen,
                    args=(number, reader),
                    name=f"soak-reader-{number}",
                    daemon=True,
                ).start()
                readers.append(reader)
            yield readers
            for reader in readers:
                assert reader.stdin is not None
                reader.stdin.close()
            for reader in readers:
                reader.wait(LONGEST_CALL_SECONDS + 30)

    def _listen(self, number: int, reader: subprocess.Popen[str]) -> None:
        assert reader.stdout is not None
        for line in reader.stdout:
            self._lines.put((number, line))
