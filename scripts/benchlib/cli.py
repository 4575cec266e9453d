"""Options, the order of the measurements, and clean ends."""

import argparse
import compileall
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from .chart import require_matplotlib, write_png
from .disk import DiskBench
from .long_run import SHOWN, WORK, stay, write_stay
from .media import MediaCache
from .mounts import PROJECT, Contender
from .origin import CAP_MIB_PER_SECOND, PACED, Origin, Way
from .plan import Plan, make_plan
from .report import text_table, write_json
from .result import Result
from .scenarios import Scenario, media_of
from .served import Shown
from .system import BenchError, ContenderError, find_program, find_rclone

LATENCIES_MS = (0, 5, 20, 60, 200)
# A contender that failed so often is left out of the rest.
MAX_FAILURES = 3


def main(argv: Sequence[str]) -> int:
    """Run the bench; 0 if all was measured, 1 if something failed, 2 if it cannot."""
    options = _parser().parse_args(argv)
    # A plain kill ends as Ctrl-C does: mounts and nginx are taken down.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _bench(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Measures hingfs beside rclone, aria2c, curl and a local file. A mount"
        " before the measured one has met the server, except in rows of a first mount.",
    )
    add = parser.add_argument
    add(
        "--quick", action="store_true", help="key rows on a 100 MB film, in two minutes"
    )
    add(
        "--long",
        type=_positive,
        nargs="?",
        const=60,
        metavar="MINUTES",
        help="instead of the rows: mixed work on one mount, the first of --only (60)",
    )
    add("--rows", default="*", help="names or globs with commas; see --list")
    add("--only", default="*", help="contenders or families; see --list")
    add("--repeat", type=_positive, default=3, help="repetitions (3); not for --quick")
    add("--latency-ms", type=int, default=60, choices=LATENCIES_MS, help="default 60")
    add("--json", type=Path, help="default: results.json in the work directory")
    add("--png", type=Path, help="default: results.png in the work directory")
    add(
        "--work-dir",
        type=Path,
        default=Path("~/.cache/hingfs-bench"),
        help="films are kept here between runs, 1.4 GB; default ~/.cache/hingfs-bench",
    )
    add("--list", action="store_true", help="name rows and contenders, and end")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        message = "must be at least 1"
        raise argparse.ArgumentTypeError(message)
    return value


@dataclass(slots=True)
class Outcome:
    """What was measured so far."""

    results: list[Result]
    failures: list[str] = field(default_factory=list)
    # contender key -> how often it failed
    failed: dict[str, int] = field(default_factory=dict)

    def fail(self, scenario: Scenario, contender: Contender, reason: str) -> None:
        """Remember that *contender* could not do *scenario*."""
        self.failed[contender.key] = self.failed.get(contender.key, 0) + 1
        self.failures.append(f"{scenario.key}, {contender.label}: {reason}")


def _bench(options: argparse.Namespace) -> int:
    plan = make_plan(
        options.rows, options.only, quick=options.quick, repeat=options.repeat
    )
    if options.list:
        print("rows:", *(row.key for row in plan.rows))
        print("contenders:", *(f"{one.key} ({one.family})" for one in plan.contenders))
        return 0
    _require_programs(plan)
    plan = _without_broken_hingfs(plan)
    if options.png:
        require_matplotlib()
    work_dir = options.work_dir.expanduser().resolve()
    work_dir.mkdir(parents=True, exist_ok=True)
    if options.long:
        return _stay(options, plan, work_dir)
    outcome = Outcome([Result(row) for row in plan.rows])
    stopped = False
    works = {work.key: Shown(work.shown, work.listed) for work in plan.scenarios}
    ways = list({work.way for work in plan.scenarios})
    with _origin(works, ways, plan.film, work_dir, options.latency_ms) as origin:
        try:
            _measure_all(plan, DiskBench(origin, plan.command_seconds), outcome)
        except KeyboardInterrupt:
            stopped = True  # what was measured is still shown
    _show(options, plan, outcome, work_dir)
    if stopped:
        raise KeyboardInterrupt
    return 1 if outcome.failures else 0


def _require_programs(plan: Plan) -> None:
    """Raises BenchError with what to install if something is missing."""
    families = {one.family for one in plan.contenders}
    for program in ("nginx", "ffmpeg", "ffprobe", "rsync"):
        find_program(program)
    for one in plan.contenders:
        if one.family == "tools" and one.key != "local":
            find_program(one.key.partition("-")[0])
    if "rclone" in families:
        find_rclone()
    if families - {"tools"}:
        find_program("fusermount3")
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            message = "no access to /dev/fuse: load the module fuse, or ask root for it"
            raise BenchError(message)


def _without_broken_hingfs(plan: Plan) -> Plan:
    """*plan*, less hingfs where it does not even start; says so."""
    others = tuple(one for one in plan.contenders if one.family != "hingfs")
    if len(others) == len(plan.contenders):
        return plan
    reason = _hingfs_trouble()
    if not reason:
        return plan
    if not others:
        message = f"hingfs does not start: {reason}"
        raise BenchError(message)
    print(f"bench: without hingfs, which does not start: {reason}", file=sys.stderr)
    return replace(plan, contenders=others)


def _hingfs_trouble() -> str:
    """Why `hingfs mount` does not run here; empty if it does.

    Compiles hingfs, as pip does when it installs it. With PYTHONDONTWRITEBYTECODE each
    mount of a checkout would compile it again, for 0.24 s of CPU (2026-11-27).
    """
    compileall.compile_dir(PROJECT / "hingfs", quiet=1)
    done = subprocess.run(
        [sys.executable, "-c", "import hingfs.cli.mount"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stderr.strip().splitlines()[-1:] or ["no word"]
    return "" if done.returncode == 0 else said[0]


def _stay(options: argparse.Namespace, plan: Plan, work_dir: Path) -> int:
    """The long run; 1 if anything was wrong in it."""
    mounts = [one for one in plan.contenders if one.is_mount]
    if not mounts:
        message = "--long is for mounts: hingfs or rclone"
        raise BenchError(message)
    works = {WORK: Shown(SHOWN)}
    with _origin(works, [PACED], plan.film, work_dir, options.latency_ms) as origin:
        done = stay(origin, mounts[0], options.long, plan.command_seconds)
    print(done.summary())
    for trouble in (*done.errors, *(f"wrong bytes: {one}" for one in done.wrong)):
        print(trouble)
    path = options.json or work_dir / "long.json"
    write_stay(path, done)
    print(f"written: {path}")
    return 1 if done.errors or done.wrong else 0


@contextmanager
def _origin(
    works: Mapping[str, Shown],
    ways: Sequence[Way],
    film: str,
    work_dir: Path,
    latency_ms: int,
) -> Iterator[Origin]:
    """A running origin that shows *works*, in a folder that goes with it."""
    cache = MediaCache(work_dir / "media")
    _progress("making the films")
    shown = sorted({video for work in works.values() for video in work.videos})
    videos = {one: cache.path(media_of(one, film)) for one in shown}
    with (
        tempfile.TemporaryDirectory(
            prefix="run-", dir=work_dir, ignore_cleanup_errors=True
        ) as folder,
        Origin(Path(folder), videos, works, ways, latency_ms) as origin,
    ):
        yield origin


def _measure_all(plan: Plan, bench: DiskBench, outcome: Outcome) -> None:
    """Round by round, so that a busy minute of the machine hits all alike."""
    # scenario key -> seconds that its last round took
    took: dict[str, float] = {}
    for round_index in range(plan.rounds):
        fits = [
            work
            for work in plan.scenarios
            if time.monotonic() + took.get(work.key, 0) < plan.deadline
        ]
        if not fits:
            break
        for scenario in fits:
            start = time.monotonic()
            if round_index and start + took[scenario.key] > plan.deadline:
                continue
            for contender in plan.order(round_index, scenario):
                if outcome.failed.get(contender.key, 0) < MAX_FAILURES:
                    _progress(
                        f"round {round_index + 1}: {scenario.key}, {contender.label}"
                    )
                    _measure(bench, scenario, contender, outcome)
            took[scenario.key] = time.monotonic() - start
    _progress("")


def _measure(
    bench: DiskBench, scenario: Scenario, contender: Contender, outcome: Outcome
) -> None:
    try:
        metrics = bench.measure(scenario, contender)
    except ContenderError as error:
        outcome.fail(scenario, contender, str(error))
        return
    for result in outcome.results:
        if result.row.scenario == scenario.key:
            result.add(contender.key, metrics)


def _show(
    options: argparse.Namespace, plan: Plan, outcome: Outcome, work_dir: Path
) -> None:
    settings = {
        "quick": options.quick,
        "latency_ms": options.latency_ms,
        "cap_mib_per_second": CAP_MIB_PER_SECOND,
        "film": plan.film,
    }
    measured = [result for result in outcome.results if result.values]
    if measured:
        print(text_table(measured, plan.contenders))
    for failure, times in Counter(outcome.failures).items():
        print(f"failed{f' {times} times' if times > 1 else ''}: {failure}")
    json_path = options.json or work_dir / "results.json"
    write_json(json_path, measured, outcome.failures, settings)
    print(f"written: {json_path}")
    if not measured:
        return
    png_path = options.png or work_dir / "results.png"
    subtitle = (
        f"{options.latency_ms} ms per request, {CAP_MIB_PER_SECOND} MiB/s per connection"
        f" (loopback rows: neither), {plan.film}, {os.cpu_count()} cores"
    )
    try:
        require_matplotlib()
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return
    write_png(png_path, measured, subtitle)
    print(f"written: {png_path}")


def _progress(text: str) -> None:
    """One line on a terminal that the next one replaces; nothing in a pipe."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
