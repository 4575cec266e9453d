"""A fuzzed mount: phases of mutation and of health, and the violations they may show.

One campaign is one binding's: rounds of mounts before servers without TLS, with it and
behind a proxy. In each round phases of mutation are followed by health, or by answers
that are odd and allowed, in which every video must read right within seconds; and at
its end the mount is told to leave while it is being read.
"""

import contextlib
import json
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.fuzzing.clips import CLIPS, clip_of
from tests.fuzzing.kinds import is_slow
from tests.fuzzing.reader import DEADLINE_SECONDS, READERS, SLACK_SECONDS
from tests.fuzzing.secured import HANDSHAKES
from tests.fuzzing.server import HEALTHY, FuzzServer, Mode, Sent
from tests.fuzzing.table import Kind
from tests.support.certificates import certificate
from tests.support.mounting import REPOSITORY, Mounted, NotUpError, environment

MB = 1e6
MOST_RSS_MB = 200.0
# A mount that is told to leave is gone within five seconds, as README promises; here a
# little sooner.
LEAVES_WITHIN_SECONDS = 4.0
# One that takes more than this is ended by the kernel, not the machine by it.
MOST_ADDRESS_SPACE = 6 << 30
# Reports of one sort: what one fault poisoned is read again and again.
MOST_TOLD = 30
SHARE = 0.25
LEGAL_SHARE = 0.5
FEW_KINDS = 8
RECOVERY_SECONDS = 15.0
MUTATION_SECONDS = 5.0
# What a mount has learnt of a server, it keeps: after lies in HEAD it asks by GET. A new
# mount learns anew.
ROUND_SECONDS = 30.0
RENEWAL_SECONDS = 1.5
VARIETIES = ("plain", "tls", "proxy")
MOUNT_OPTIONS = (
    *("--read-timeout", f"{DEADLINE_SECONDS}s"),
    *("--metadata-timeout", f"{DEADLINE_SECONDS}s"),
    *("--stall-timeout", "500ms"),
    # A silent answer is waited for as long as the user allows it, healed server or not.
    *("--first-byte-timeout", f"{DEADLINE_SECONDS}s"),
    *("--retry-after-limit", "2s"),
    *("--metadata-ttl", "2s"),
    *("--listing-ttl", "2s"),
    *("--cache-size", "32MiB"),
    *("--spool-size", "100MB"),
    *("--log-level", "info"),
)
TRUST_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
LAUNCHER = ("prlimit", f"--as={MOST_ADDRESS_SPACE}", sys.executable, "-m", "hingfs")


@dataclass(slots=True)
class Outcome:
    """The findings of one binding's campaign."""

    binding: str
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    answers: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest_recovery: float = 0.0
    recoveries: int = 0
    peak_rss_mb: float = 0.0
    slowest_exit: float = 0.0

    def violated(self, what: str, words: str, kind: str = "") -> None:
        """Count a violation, and tell the first ones of its *kind* of mutation."""
        self.violations[what] += 1
        self.told[what, kind] += 1
        if self.told[what, kind] <= 2 and self.violations[what] <= MOST_TOLD:
            said = f"fuzz: {self.binding}, seed {self.seed}: {what}: {words}"
            print(said, file=sys.stderr, flush=True)

    def lines(self) -> list[str]:
        """The figures in one line, and the mutations in another."""
        errors = " ".join(
            f"{name}={count}"
            for name, count in sorted(self.counts.items())
            if name.isupper()
        )
        bad = "; ".join(f"{what} {count}" for what, count in self.violations.items())
        if not self.counts["reads"]:
            bad = bad or "nothing was read"
        kinds = " ".join(f"{name}={n}" for name, n in sorted(self.injected.items()))
        figures = {
            "reads": self.counts["reads"],
            "mb": round(self.counts["bytes"] / MB),
            "answers": self.answers,
            "mutated": self.injected.total(),
            "wrong-bytes": self.counts["wrong bytes"],
            "undetectable": self.counts["undetectable"],
            "hangs": self.violations["hang"],
            "late": self.violations["late"],
            "tracebacks": self.violations["traceback"],
            "used-again": self.violations["used again"],
            "recoveries": self.recoveries,
            "not-recovered": self.violations["not recovered"],
            "slowest-recovery": f"{self.slowest_recovery:.1f}s",
            "peak-rss": f"{self.peak_rss_mb:.0f}MB",
            "slowest-exit": f"{self.slowest_exit:.1f}s",
            "wrong-sizes": self.counts["wrong sizes"],
        }
        said = " ".join(f"{name}={value}" for name, value in figures.items())
        verdict = f"FAILED: {bad}" if bad else "ok"
        return [
            f"fuzz {self.binding}: seed={self.seed} {said} {errors}: {verdict}",
            f"fuzz-kinds {self.binding}: {kinds}",
        ]

    @property
    def failed(self) -> bool:
        return bool(+self.violations) or not self.counts["reads"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a campaign. *kinds* are those of answers, *handshakes* those of TLS."""

    seed: int
    seconds: float
    kinds: Sequence[Kind]
    handshakes: Sequence[str] = tuple(HANDSHAKES)
    varieties: Sequence[str] = VARIETIES
    share: float = SHARE
    # One reader and one connection, so that requests come in the same order.
    replay: bool = False
    mutation_seconds: float = MUTATION_SECONDS
    recovery_seconds: float = RECOVERY_SECONDS

    def again(self, binding: str, kind: str) -> str:
        """The command that runs just that."""
        command = f"scripts/fuzz --binding {binding} --seed {self.seed}"
        return f"{command} --minutes 0.5 --kinds '{kind}' --replay"


class Readers:
    """The reader processes of one mount, and their reports."""

    def __init__(
        self, mounted: Mounted, server: FuzzServer, seed: str, count: int
    ) -> None:
        self.lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.counts: dict[int, Counter[str]] = {}
        self.processes = [
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.fuzzing.reader"),
                    *(str(mounted.directory), str(number), seed),
                    str(server.versions.path),
                ],
                cwd=REPOSITORY,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(count)
        ]
        self._listeners = [
            threading.Thread(target=self._listen, args=(process,), daemon=True)
            for process in self.processes
        ]
        for listener in self._listeners:
            listener.start()

    def tell(self, order: str) -> None:
        """One line to each."""
        for process in self.processes:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(order + "\n")
                process.stdin.flush()

    def end(self) -> None:
        """Let each finish what it does, for a while."""
        for process in self.processes:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        for process in self.processes:
            try:
                process.wait(DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for listener in self._listeners:
            listener.join()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.lines.put(json.loads(line))


class Round:
    """One mount of a campaign, until it was told to leave."""

    def __init__(
        self,
        plan: Plan,
        number: int,
        variety: str,
        outcome: Outcome,
        server: FuzzServer,
    ) -> None:
        self._plan = plan
        self._name = f"{number}-{variety}"
        self._outcome = outcome
        self._server = server
        self._chance = Random(f"{plan.seed}/{self._name}")
        self._handshakes = plan.handshakes if variety != "plain" else ()
        self._readers: Readers
        self._mounted: Mounted
        self._log_seen = 0
        self._renewed_at = 0.0
        self._checked: set[int] = set()

    def run(self, mounted: Mounted, seconds: float) -> None:
        """Phases for *seconds*, then the end."""
        self._mounted = mounted
        count = 1 if self._plan.replay else READERS
        seed = f"{self._plan.seed}/{self._name}"
        self._readers = Readers(mounted, self._server, seed, count)
        try:
            ends_at = time.monotonic() + seconds
            phase = 0
            while (
                phase == 0 or time.monotonic() < ends_at - self._plan.mutation_seconds
            ):
                self._mutate(phase)
                self._recover(phase)
                phase += 1
            self._leave()
        finally:
            self._readers.end()
            self._hear()
            for counts in self._readers.counts.values():
                self._outcome.counts.update(counts)
            self._outcome.injected.update(self._server.injected)
            self._outcome.answers += self._server.answers

    # -- phases ---------------------------------------------------------------------------

    def mutating(self, phase: int) -> Mode:
        """All kinds, the slow ones less often; or a few, which says more of each."""
        kinds = list(self._plan.kinds)
        slow = [kind for kind in kinds if is_slow(kind)]
        quick = [kind for kind in kinds if kind not in slow]
        if phase % 2 == 0:
            kinds = [*quick, *self._chance.sample(slow, -(-len(slow) // 4))]
        elif len(kinds) > FEW_KINDS:
            some = quick if quick and phase % 4 == 1 else kinds
            kinds = self._chance.sample(some, min(FEW_KINDS, len(some)))
        name = f"{self._name}/{phase}"
        return Mode(name, kinds, self._plan.share, self._handshakes)

    def _mutate(self, phase: int) -> None:
        self._server.set_mode(self.mutating(phase))
        self._readers.tell("read")
        until = time.monotonic() + self._plan.mutation_seconds
        while time.monotonic() < until and self._watch():
            pass

    def _recover(self, phase: int) -> None:
        """The server is well, or odd in ways that are allowed: all must read right."""
        legal = [kind for kind in self._plan.kinds if kind.legal]
        mode = HEALTHY
        if phase % 3 == 1 and legal:
            mode = Mode(f"{self._name}/{phase}/legal", legal, LEGAL_SHARE)
        self._server.set_mode(mode)
        began = time.monotonic()
        self._checked.clear()
        self._readers.tell(f"check {self._plan.recovery_seconds}")
        longest = self._plan.recovery_seconds + DEADLINE_SECONDS + SLACK_SECONDS
        while len(self._checked) < len(self._readers.processes):
            if not self._watch(renew=False):
                return
            if time.monotonic() - began > longest:
                late = len(self._readers.processes) - len(self._checked)
                self._violated(
                    "hang", f"{late} readers wait {longest:.0f} s after health"
                )
                raise Stuck
        self._outcome.recoveries += 1
        took = time.monotonic() - began
        self._outcome.slowest_recovery = max(self._outcome.slowest_recovery, took)

    def _leave(self) -> None:
        """SIGTERM while answers are spoilt and readers wait for them."""
        self._server.set_mode(self.mutating(0))
        self._readers.tell("read")
        until = time.monotonic() + 1.0
        while time.monotonic() < until and self._watch():
            pass
        if self._mounted.process.poll() is not None:
            return
        began = time.monotonic()
        self._mounted.send(signal.SIGTERM)
        try:
            status: int | str = self._mounted.wait(30)
        except subprocess.TimeoutExpired:
            status = "none"
        took = time.monotonic() - began
        self._outcome.slowest_exit = max(self._outcome.slowest_exit, took)
        if status != 0 or took > LEAVES_WITHIN_SECONDS:
            self._violated("exit", f"status {status} after {took:.1f} s")
        self._look_at_log()

    # -- watching ----------------------------------------------------------------------------

    def _watch(self, *, renew: bool = True) -> bool:
        """Look at everything once; false where the mount has gone."""
        threading.Event().wait(0.1)
        self._hear()
        self._look_at_log()
        self._look_at_server()
        if renew and time.monotonic() > self._renewed_at + RENEWAL_SECONDS:
            self._renewed_at = time.monotonic()
            self._server.renew(self._chance.choice([c for c in CLIPS if c.changes]))
        if self._mounted.process.poll() is not None:
            self._violated(
                "exit", f"status {self._mounted.process.returncode}, unasked"
            )
            return False
        self._look_at_memory()
        return True

    def _look_at_memory(self) -> None:
        path = Path(f"/proc/{self._mounted.process.pid}/status")
        with contextlib.suppress(OSError, IndexError):
            peak_kb = int(path.read_text().partition("VmHWM:")[2].split()[0])
            before, now = self._outcome.peak_rss_mb, peak_kb * 1024 / MB
            self._outcome.peak_rss_mb = max(before, now)
            if before <= MOST_RSS_MB < now:
                self._violated("memory", f"{now:.0f} MB resident, {self._name}")

    def _look_at_log(self) -> None:
        log = self._mounted.log
        new, self._log_seen = log[self._log_seen :], len(log)
        for found in re.finditer("Traceback", new):
            at = found.start()
            self._violated("traceback", new[max(0, at - 300) : at + 3000])
        said = self._mounted.stderr
        if "Traceback" in said:
            self._violated("traceback", said[-3000:])

    def _look_at_server(self) -> None:
        while self._server.violations:
            what, sent = self._server.violations.popleft()
            self._violated(what, f"the connection, after\n{sent.text()}", sent.kind)

    def _hear(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._heard(self._readers.lines.get_nowait())

    def _heard(self, line: dict[str, Any]) -> None:
        if "found" in line:
            self._readers.counts[line["reader"]] = Counter(line["found"])
        if "wrong" in line:
            self._wrong(line["wrong"])
        if "late" in line:
            late = line["late"]
            words = (
                f"{late['call']} of {late['requests']} requests took "
                f"{late['lasted']:.1f} s in {self._name}"
            )
            self._violated("late", words)
        if "checked" in line:
            self._checked.add(line["reader"])
            for video_id, error in line["checked"]["failed"].items():
                words = f"{video_id} after {line['checked']['seconds']:.0f} s: {error}"
                self._violated("not recovered", f"{words}, in {self._name}")

    def _wrong(self, wrong: dict[str, Any]) -> None:
        """Bytes that no held version has: which answers may have brought them?"""
        suspects = self._server.suspects(wrong["video_id"], wrong["offset"])
        undetectable = any(kind.undetectable for kind in self._plan.kinds)
        if undetectable or any(sent.crossed for sent in suspects):
            self._outcome.counts["undetectable"] += wrong["bytes"]
            return
        self._outcome.counts["wrong bytes"] += wrong["bytes"]
        clip = clip_of(wrong["video_id"])
        manner = clip.manner if clip else ""
        read = f"{wrong['video_id']} ({manner}) at {wrong['offset']}, {self._name}"
        said = f"{read}: {wrong['words']}; answers that may have brought it:"
        words = [said, *(sent.text() for sent in suspects)]
        self._violated("wrong bytes", "\n".join(words), _guilty(suspects))

    def _violated(self, what: str, words: str, kind: str = "") -> None:
        again = self._plan.again(self._outcome.binding, kind or "*")
        self._outcome.violated(what, f"{words}\n    again: {again}", kind)


class Stuck(Exception):
    """A reader does not come back; nothing more can be learnt from this mount."""


def _guilty(suspects: Sequence[Sent]) -> str:
    """The most likely kind: what the first suspect was, or what went before it."""
    for sent in suspects:
        if sent.kind or sent.before:
            return sent.kind or sent.before[-1]
    return ""


# --- the whole ------------------------------------------------------------------------------


def run(plan: Plan, binding: str) -> Outcome:
    """The campaign of *binding*: as many rounds as there is time for."""
    outcome = Outcome(binding, plan.seed)
    ends_at = time.monotonic() + plan.seconds
    number = 0
    while number == 0 or time.monotonic() < ends_at - plan.mutation_seconds:
        variety = plan.varieties[number % len(plan.varieties)]
        left = ends_at - time.monotonic()
        rounds_left = max(1, len(plan.varieties) - number)
        _round(plan, number, variety, outcome, min(left / rounds_left, ROUND_SECONDS))
        number += 1
    return outcome


def _round(
    plan: Plan, number: int, variety: str, outcome: Outcome, seconds: float
) -> None:
    began = time.monotonic()
    seed = f"{plan.seed}/{number}"
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-")))
        tls = certificate(work, "127.0.0.1", "*.fuzz.test")
        server = stack.enter_context(
            FuzzServer(
                seed,
                tls=None if variety == "plain" else tls,
                proxied=variety == "proxy",
            )
        )
        playing = Round(plan, number, variety, outcome, server)
        variables = dict.fromkeys(TRUST_VARIABLES, tls[0]) | {"no_proxy": ""}
        if variety == "proxy":
            variables["https_proxy"] = server.proxy_url
        options = (*MOUNT_OPTIONS, *(("--connections", "1") if plan.replay else ()))
        mounted = Mounted(
            server.origin,
            outcome.binding,
            *options,
            launcher=LAUNCHER,
            unforeseen=True,
            **variables,  # type: ignore[arg-type] # the environment
        )
        server.set_mode(playing.mutating(0))
        mount = _up(mounted, server, outcome)
        with mount, contextlib.suppress(Stuck):
            playing.run(mounted, seconds - (time.monotonic() - began))


@contextlib.contextmanager
def _up(mounted: Mounted, server: FuzzServer, outcome: Outcome) -> Iterator[None]:
    """The mount, made while answers are spoilt; if that ends it, made in health."""
    try:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(mounted)
            except NotUpError as error:  # as it should, where its check failed
                if "Traceback" in error.said:
                    outcome.violated("traceback", error.said)
            except pytest.fail.Exception as error:
                outcome.violated("hang", f"the mount is not up, nor ends: {error}")
            if mounted.process.poll() is not None:
                server.set_mode(HEALTHY)
                stack.enter_context(mounted)
            yield
    except (AssertionError, subprocess.TimeoutExpired) as error:
        outcome.violated("exit", str(error)[:3000])
