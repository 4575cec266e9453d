"""One id whose routes hang, through real mounts: `ls`, `stat` and `cp` of the others."""

import math
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from hingfs.mount.binding import load
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import Mounted, each_binding, environment, eventually, run
from tests.support.personalities import Request

pytestmark = pytest.mark.fuse

SIZE_BYTES = 300_000
# As `hingfs` where names wait for each other, with a fifth of the patience.
IMPATIENT = (
    sys.executable,
    "-c",
    """\
import sys
from hingfs.mount import binding, serving as mount
from hingfs.cli import main as cli
binding.Binding.looks_up_in_parallel = False
mount.SILENCE_SECONDS = 1.0
sys.exit(cli.main())
""",
)


HINGFS = (sys.executable, "-m", "hingfs")


@contextmanager
def hanging(
    binding: str, ids: list[str], launcher: Sequence[str] = IMPATIENT
) -> Iterator[tuple[Mounted, threading.Event]]:
    """A mount of a server whose routes hang for *ids* until the event."""
    go_on = threading.Event()

    def hangs(request: Request) -> bool:
        return request.video_id in ids

    with FakeEndpoint() as endpoint:
        for video_id in [*ids, "known", *(f"new-{n}" for n in range(5))]:
            endpoint.add(video_id, size_bytes=SIZE_BYTES)
        endpoint.inject(faults.stall_before_headers(go_on), math.inf, hangs)
        with Mounted(endpoint, binding, launcher=launcher) as mounted:
            assert run(["stat", mounted.path("known")]).returncode == 0
            try:
                yield mounted, go_on
            finally:
                go_on.set()


def begun(command: list[object]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        list(map(str, command)),
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def asked_for(mounted: Mounted, video_id: str) -> bool:
    return bool(mounted.endpoint.requests_of("content", video_id=video_id))


class TestOneSlowId:
    """An id that hangs holds up others for seconds where the kernel makes them wait."""

    @each_binding
    def test_ls_and_stat_of_others_go_on(self, binding: str) -> None:
        with hanging(binding, ["hangs"]) as (mounted, _go_on):
            slow = begun(["stat", mounted.path("hangs")])
            eventually(lambda: asked_for(mounted, "hangs"), "it is asked for")

            names = [mounted.path(name) for name in ("known", "new-0", "new-1")]
            for command, path in (
                ("stat", names[0]),
                ("ls", mounted.directory),
                ("stat", names[1]),
                ("stat", names[2]),
            ):
                done = run([command, path], timeout=10)  # a look-up may take 30 s
                assert (done.returncode, done.stderr) == (0, "")

            _, said = slow.communicate(timeout=10)
            assert "Resource temporarily unavailable" in said

    def test_others_notice_nothing_where_names_are_looked_up_side_by_side(
        self,
    ) -> None:
        """With libfuse 3.17 and later; the one that hangs is waited for."""
        if not load("auto").looks_up_in_parallel:
            pytest.skip("this libfuse looks up one name at a time")
        with hanging("mfusepy", ["hangs"], HINGFS) as (mounted, go_on):
            slow = begun(["stat", mounted.path("hangs")])
            eventually(lambda: asked_for(mounted, "hangs"), "it is asked for")

            assert run(["ls", mounted.directory], timeout=4).returncode == 0
            for name in ("known", "new-0", "new-1"):
                assert run(["stat", mounted.path(name)], timeout=4).returncode == 0

            assert slow.poll() is None
            go_on.set()
            assert slow.communicate(timeout=10)[1] == ""

    @each_binding
    def test_the_answer_is_used_when_it_comes(
        self, binding: str, tmp_path: Path
    ) -> None:
        with hanging(binding, ["hangs"]) as (mounted, go_on):
            for _ in range(3):
                done = run(["stat", mounted.path("hangs")], timeout=10)
                assert "Resource temporarily unavailable" in done.stderr
            assert len(mounted.endpoint.requests_of("content", "HEAD", "hangs")) == 1
            go_on.set()

            eventually(
                lambda: run(["cp", mounted.path("hangs"), tmp_path]).returncode == 0,
                "a copy",
            )
            expected = mounted.endpoint.videos["hangs"].read(0, SIZE_BYTES)
            assert (tmp_path / "hangs.mp4").read_bytes() == expected
            assert len(mounted.endpoint.requests_of("content", "HEAD", "hangs")) == 1

    @each_binding
    def test_a_listing_with_many_that_hang_shows_the_others(self, binding: str) -> None:
        """More than there were threads for all names."""
        many = [f"hangs-{n:02}" for n in range(3)]
        with hanging(binding, many) as (mounted, _go_on):
            done = run(["ls", "-l", mounted.directory], timeout=30)

            assert done.returncode == 1
            for video_id in many:
                assert f"'{mounted.path(video_id)}': Resource temp" in done.stderr
            assert done.stdout.count(str(SIZE_BYTES)) == 6

    @each_binding
    def test_a_burst_of_names_that_hang_keeps_no_thread_from_another(
        self, binding: str
    ) -> None:
        many = [f"hangs-{n:02}" for n in range(20)]
        with hanging(binding, many) as (mounted, _go_on):
            # Asked for ahead of a program that goes through the listing in order.
            run(["ls", mounted.directory])
            slow = [begun(["stat", mounted.path(name)]) for name in many[:3]]
            eventually(
                lambda: asked_for(mounted, many[-1]) or asked_for(mounted, many[2]),
                "a burst",
            )

            done = run(["stat", mounted.path("new-3")], timeout=10)

            assert (done.returncode, done.stderr) == (0, "")
            for process in slow:
                process.communicate(timeout=20)
