"""The fuzzer of `scripts/fuzz`, for seconds; run it longer by hand.

Without a mount: what HTTP allows is read right, and each family of other answers gives
the right bytes or an error, and the right ones once the server is well. Through real
mounts, all kinds at once. And the fuzzer itself notices what it must.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import cast

import pytest

from hingfs.mount.filesystem import Refusal
from tests.conftest import Build, LogWatch
from tests.fuzzing import campaign
from tests.fuzzing.campaign import Outcome, Plan, Round
from tests.fuzzing.clips import CLIPS, NUMBER_OF, Clip, Versions, is_mixture
from tests.fuzzing.kinds import TABLE, chosen_kinds
from tests.fuzzing.reader import Reader
from tests.fuzzing.secured import HANDSHAKES
from tests.fuzzing.server import HEALTHY, FuzzServer, Mode
from tests.fuzzing.table import Answer, Kind, Script, part
from tests.support.mounting import Mounted, require_fuse
from tests.support.personalities import Request
from tests.support.views import Direct, opened

LEGAL = [kind for kind in TABLE.values() if kind.legal]
FAMILIES = (
    "heads/*",
    "interim/*",
    "framing/*",
    "documents/*,lists/*",
    "ranges/*",
    "redirects/*",
    "timing/*",
)
READ_BYTES = 256 * 1024
FAMILY_SECONDS = 3.0
RECOVERY_SECONDS = 10.0


def kinds(patterns: str = "*") -> list[Kind]:
    """The kinds that match one of *patterns*, between commas."""
    return list(chosen_kinds(patterns.split(",")))


def clip(video_id: str) -> Clip:
    return CLIPS[NUMBER_OF[video_id]]


MANNERS = tuple(
    map(clip, ("equal-0", "bare-0", "headless", "moved-1", "named", "whole", "unsized"))
)


@pytest.fixture
def server() -> Iterator[FuzzServer]:
    with FuzzServer("direct") as server:
        yield server


def check(view: Direct, clip: Clip) -> bool:
    """True if all bytes of *clip* are read, by a handle of its size; none is wrong."""
    with opened(view, clip.video_id) as handle:
        for offset in range(0, handle.size_bytes, READ_BYTES):
            data = handle.read(offset, READ_BYTES)
            assert data == clip.bytes_at(0, offset, offset + len(data)), clip.video_id
        return handle.size_bytes == clip.size_bytes


# --- without a mount -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEGAL, ids=lambda kind: kind.name)
def test_what_http_allows_is_read_right(
    server: FuzzServer, build: Build, quiet_log: LogWatch, kind: Kind
) -> None:
    """By every answer, and for every manner of serving."""
    quiet_log.allow("")
    server.set_mode(Mode(kind.name, [kind], 1.0))
    view = Direct(build(base_url=server.origin))

    assert [clip.video_id for clip in MANNERS if not check(view, clip)] == []

    assert not server.violations


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_spoilt_answers_give_right_bytes_or_an_error(
    server: FuzzServer, build: Build, quiet_log: LogWatch, family: str
) -> None:
    """Never others; and no connection is used again that must not be."""
    quiet_log.allow("")
    server.set_mode(Mode(family, kinds(family), 0.5))
    lists = "lists" in family
    cache = {
        "metadata_ttl_seconds": 0.5,
        "listing_ttl_seconds": 0.5,
        "cache_bytes": 4 << 20,
    }
    times = ("read_seconds", "metadata_seconds", "first_byte_seconds")
    options = dict.fromkeys(times, 1.0)
    view = Direct(build(cache, base_url=server.origin, **options))
    wrong: list[BaseException] = []
    ends_at = time.monotonic() + FAMILY_SECONDS

    def read(number: int) -> None:
        chance = Random(number)
        while time.monotonic() < ends_at and not wrong:
            try:
                view.names() if chance.random() < (0.6 if lists else 0.1) else check(
                    view, chance.choice(MANNERS)
                )
            except Refusal:
                pass
            except BaseException as error:  # noqa: BLE001 - told by the test
                wrong.append(error)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(FAMILY_SECONDS + 10)
        assert not thread.is_alive(), "a call does not return"
    server.set_mode(HEALTHY)
    for clip in MANNERS:
        until_right(view, clip)

    assert wrong == []
    assert [(what, sent.text()) for what, sent in server.violations] == []
    assert not any("unforeseen" in line for line in quiet_log.lines), quiet_log.lines
    assert server.injected.total() > 5  # an answer may ask all for a pause


def until_right(view: Direct, clip: Clip) -> None:
    """Read *clip* until it is right; fails if it is not in time."""
    until = time.monotonic() + RECOVERY_SECONDS
    pause = threading.Event()
    while True:
        try:
            if check(view, clip):
                return
        except Refusal:
            pass
        assert time.monotonic() < until, f"{clip.video_id} is not read after health"
        pause.wait(0.05)


# --- through mounts -------------------------------------------------------------------------


@pytest.mark.fuse
@pytest.mark.slow
@pytest.mark.parametrize(
    ("binding", "variety"),
    [
        ("mfusepy", "plain"),
        ("mfusepy", "proxy"),
        ("fusepy", "tls"),
    ],
)
def test_a_fuzzed_mount_reads_right(binding: str, variety: str) -> None:
    """Every kind; no wrong byte, hang, traceback; well within seconds of health."""
    require_fuse()
    plan = Plan(7, 11.0, kinds(), varieties=(variety,))

    outcome = campaign.run(plan, binding)

    print(*outcome.lines(), sep="\n")
    assert not outcome.failed, outcome.violations
    assert outcome.recoveries > 0
    assert outcome.injected.total() > 20


# --- the fuzzer notices -------------------------------------------------------------------------


def _flipped(answer: Answer, chance: Random) -> Script:
    """One byte that is not the video's, in an answer that says nothing of it."""
    body = bytearray(answer.body)
    body[-1] ^= 0xFF
    return [answer.with_body(bytes(body)).whole()]


@pytest.mark.fuse
@pytest.mark.slow
def test_a_wrong_byte_through_a_mount_is_noticed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """With its seed, its kind, the raw answer, and how to run it again."""
    require_fuse()
    kind = Kind("test/flipped", _flipped, part)

    outcome = campaign.run(
        Plan(
            *(5, 1.0, [kind]),
            varieties=("plain",),
            share=0.9,
            mutation_seconds=1.5,
            recovery_seconds=1.0,
        ),
        "mfusepy",
    )

    assert outcome.failed
    assert outcome.counts["wrong bytes"] > 0
    assert "FAILED" in outcome.lines()[0]
    said = capfd.readouterr().err
    assert "seed 5: wrong bytes" in said
    assert "<- test/flipped" in said
    assert "HTTP/1.1 206 Partial Content" in said
    assert "scripts/fuzz --binding mfusepy --seed 5" in said


class Checker:
    """A reader of the files in a directory, which need no mount."""

    def __init__(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, **seconds: float
    ) -> None:
        self.versions = Versions.new()
        self.reader = Reader(directory, 0, "seed", self.versions, **seconds)
        self.directory = directory
        self.said: list[dict[str, object]] = []
        monkeypatch.setattr(self.reader, "_say", lambda **what: self.said.append(what))

    def read(self, clip: Clip, data: bytes) -> list[dict[str, object]]:
        """What a reader says of a file of *clip* that holds *data*."""
        self.said.clear()
        (self.directory / f"{clip.video_id}.mp4").write_bytes(data)
        self.reader._read_whole(clip)
        return [
            cast("dict[str, object]", what["wrong"])
            for what in self.said
            if "wrong" in what
        ]


@pytest.fixture
def checker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Checker]:
    checker = Checker(tmp_path, monkeypatch)
    monkeypatch.setattr(checker.reader, "_asked", lambda: False)
    yield checker
    checker.versions.remove()


class TestReader:
    def test_right_bytes_are_right(self, checker: Checker) -> None:
        whole = clip("equal-0").bytes_at(0, 0, 1 << 30)

        assert checker.read(clip("equal-0"), whole) == []

    def test_one_wrong_byte_is_found_where_it_is(self, checker: Checker) -> None:
        data = bytearray(clip("equal-0").bytes_at(0, 0, 1 << 30))
        data[1_234_567] ^= 1

        (wrong,) = checker.read(clip("equal-0"), bytes(data))

        assert (wrong["video_id"], wrong["offset"]) == ("equal-0", 1_234_567)

    def test_another_videos_bytes_are_named(self, checker: Checker) -> None:
        wrong, *_ = checker.read(
            clip("equal-0"), clip("equal-1").bytes_at(0, 0, 1 << 30)
        )

        assert "bytes of equal-1 version 0, same offset" in str(wrong["words"])

    def test_two_versions_in_one_handle_are_wrong(self, checker: Checker) -> None:
        renewed = clip("renewed-1")
        checker.versions.raise_to(renewed, 1)
        half = 1 << 20

        first, second = (renewed.bytes_at(version, 0, 1 << 30) for version in (0, 1))

        assert checker.read(renewed, second) == []
        assert checker.read(renewed, first) == []  # it may not have been asked yet
        assert len(checker.read(renewed, first[:half] + second[half:])) > 0

    def test_versions_that_nothing_tells_apart_may_be_mixed(
        self, checker: Checker
    ) -> None:
        renewed = clip("renewed-bare")
        checker.versions.raise_to(renewed, 1)
        first, second = (renewed.bytes_at(version, 0, 1 << 30) for version in (0, 1))

        assert checker.read(renewed, first[:99_999] + second[99_999:]) == []
        assert len(checker.read(renewed, first[:-50] + bytes(50))) > 0

    def test_an_end_before_the_end_is_wrong(
        self, checker: Checker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = clip("equal-0").bytes_at(0, 0, 1 << 30)
        monkeypatch.setattr(os, "pread", lambda *_: b"")

        wrong, *_ = checker.read(clip("equal-0"), whole)

        assert "no bytes of" in str(wrong["words"])

    def test_a_late_call_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        checker = Checker(
            tmp_path, monkeypatch, deadline_seconds=0.01, slack_seconds=0.01
        )

        checker.reader._timed("read", lambda: threading.Event().wait(0.1))

        assert [what["late"] for what in checker.said if "late" in what]


def test_a_reader_that_hangs_is_noticed(
    server: FuzzServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe that nobody writes to is a file whose open does not return."""
    for name in ("DEADLINE", "SLACK"):
        monkeypatch.setattr(campaign, f"{name}_SECONDS", 0.3)
    for found in CLIPS:
        os.mkfifo(tmp_path / f"{found.video_id}.mp4")
    outcome = Outcome("none", 1)
    plan = Plan(1, 1.0, (), (), mutation_seconds=0.3, recovery_seconds=0.3)
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
    ) as process:
        stub = SimpleNamespace(directory=tmp_path, process=process, log="", stderr="")
        playing = Round(plan, 0, "plain", outcome, server)

        with pytest.raises(campaign.Stuck):
            playing.run(cast("Mounted", stub), 1.0)

        process.kill()
    assert outcome.violations["hang"] == 1
    assert outcome.failed


# --- the table ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "mixed"),
    [
        ([(0, 40), (1, 40)], True),
        # What was left of a transfer that was cut, up to where a block ends.
        ([(0, 51), (1, 13), (0, 64)], True),
        ([(0, 40), (1, 13), (0, 64)], False),
        ([(0, 40), (2, 24), (0, 64)], False),  # a version that was never served
    ],
)
def test_a_mixture_is_made_of_versions_that_were_served(runs, mixed):
    clip, start = Clip("renewed-bare", "bare", changes="bytes"), 128 * 1024 - 64
    data, at = b"", start
    for version, count in runs:
        data += clip.bytes_at(version, at, at + count)
        at += count

    assert is_mixture(clip, 1, start, data) is mixed


def test_a_seed_makes_the_same_answers(server: FuzzServer) -> None:
    """True of each kind that suits an answer; so a failing seed can be run again."""
    answers = [server.other(request) for request in requests_of_all_sorts()]

    for kind in TABLE.values():
        for answer in answers:
            if kind.suits(answer):
                first, second = (kind.make(answer, Random(3)) for _ in range(2))
                assert list(first) == list(second), kind.name
    for name, make in HANDSHAKES.items():
        assert make(Random(3)) == make(Random(3)), name


def requests_of_all_sorts() -> list[Request]:
    path = "/v1/videos/equal-0/content"
    return [
        Request("GET", path, {"range": "bytes=0-9999"}),
        Request("GET", path, {"range": "bytes=131072-262143"}),
        Request("HEAD", path, {}),
    ]
