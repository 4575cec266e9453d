"""Servers with little to give, each with a program as people use it.

Few requests a minute; neither a length nor ranges. Mounted for real: what is copied is
right, and how much was asked for is counted.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .endpoint import FakeEndpoint
from .limited_servers import PAUSES, Metered, TokenBucket
from .mounting import BINDINGS, Mounted, each_binding, run, stat_says
from .odd_servers import FIELD
from .personalities import PERSONALITIES

pytestmark = pytest.mark.fuse


class TestFewRequestsAMinute:
    """Slow, not broken: the pause is waited for, and a clip costs few requests."""

    CLIPS = 10
    SIZE_BYTES = 3_000_017

    @contextmanager
    def metered(
        self, server: Metered, binding: str, *options: str
    ) -> Iterator[Mounted]:
        """A mount of *server* with ten clips; its list is asked for once."""
        with FakeEndpoint(personality=server) as endpoint:
            for number in range(self.CLIPS):
                endpoint.add(f"clip-{number}", size_bytes=self.SIZE_BYTES)
            with Mounted(endpoint, binding, "--no-check", *options) as mounted:
                yield mounted

    def check_rsync(self, mounted: Mounted, to: Path) -> None:
        done = run(["rsync", "-a", f"{mounted.directory}/", str(to)])
        assert done.returncode == 0, done.stderr
        self.check_copies(mounted, to)

    def check_copies(self, mounted: Mounted, to: Path) -> None:
        for video in mounted.endpoint.videos.values():
            found = (to / f"{video.video_id}.mp4").read_bytes()
            assert found == video.read(0, self.SIZE_BYTES)

    @pytest.mark.parametrize("form", PAUSES)
    def test_rsync_copies_every_clip_in_few_requests(
        self, form: str, tmp_path: Path
    ) -> None:
        """Two for a clip once the limit is known: HEAD and one range; none for ls."""
        bucket = TokenBucket(burst=8, per_second=12)
        binding = BINDINGS[len(form) % 2]
        with self.metered(Metered(bucket, form), binding) as mounted:
            self.check_rsync(mounted, tmp_path)

            asked = len(mounted.endpoint.log) - bucket.refused
            assert asked <= 2 * self.CLIPS + 4

    def test_names_that_are_given_cost_one_request_more(self, tmp_path: Path) -> None:
        """No list and no HEAD: the status, the size by GET, and one range."""
        bucket = TokenBucket(burst=8, per_second=12)
        server = Metered(bucket, "sentence", behind=PERSONALITIES["new_api_new"])
        with self.metered(server, BINDINGS[0]) as mounted:
            names = [mounted.path(video_id) for video_id in mounted.endpoint.videos]
            done = run(["rsync", "-a", *names, str(tmp_path)])
            assert done.returncode == 0, done.stderr
            self.check_copies(mounted, tmp_path)

            asked = len(mounted.endpoint.log) - bucket.refused
            assert asked <= 3 * self.CLIPS + 6

    def test_a_read_waits_for_longer_than_a_name(self, tmp_path: Path) -> None:
        """Reads are bounded by their own time-out: rsync ended with 23."""
        bucket = TokenBucket(burst=14, per_second=4)
        server = Metered(bucket, "Retry-After", content_alone=True)
        options = ("--retry-after-limit", "500ms")
        with self.metered(server, BINDINGS[0], *options) as mounted:
            self.check_rsync(mounted, tmp_path)

            assert bucket.refused


class TestNeitherLengthNorRanges:
    """Only what was asked for is downloaded, and once."""

    SIZE_BYTES = 700_001

    @contextmanager
    def looked_at(self, binding: str, *options: str) -> Iterator[Mounted]:
        """A mount of twenty clips, whose names are known to the program."""
        with FakeEndpoint(personality=FIELD["no_length"]) as endpoint:
            for number in range(20):
                endpoint.add(f"clip-{number:02}", size_bytes=self.SIZE_BYTES)
            with Mounted(endpoint, binding, *options) as mounted:
                assert len(os.listdir(mounted.directory)) == 20
                yield mounted

    def downloads(self, mounted: Mounted) -> list[str]:
        """Whose content was asked for, once for each request, a probe aside."""
        mounted.endpoint.wait_until_idle()
        return sorted(
            record.video_id or ""
            for record in mounted.endpoint.requests_of("content", "GET")
            if record.range is None
        )

    @each_binding
    def test_two_stats_cost_two_clips(self, binding: str) -> None:
        """They cost eighteen: sixteen were looked up ahead, whole."""
        with self.looked_at(binding) as mounted:
            for video_id in ("clip-00", "clip-01"):
                size = run(["stat", "-c", "%s", mounted.path(video_id)]).stdout
                assert size == f"{self.SIZE_BYTES}\n"

            assert self.downloads(mounted) == ["clip-00", "clip-01"]

    def test_ls_of_all_costs_each_once_and_their_copies_nothing(
        self, tmp_path: Path
    ) -> None:
        with self.looked_at(BINDINGS[0]) as mounted:
            for _ in range(2):
                assert run(["ls", "-l", mounted.directory]).returncode == 0
            done = run(["rsync", "-a", f"{mounted.directory}/", tmp_path])

            assert done.returncode == 0, done.stderr
            assert self.downloads(mounted) == sorted(mounted.endpoint.videos)
            for video in mounted.endpoint.videos.values():
                found = (tmp_path / f"{video.video_id}.mp4").read_bytes()
                assert found == video.read(0, self.SIZE_BYTES)

    def test_with_a_small_spool_sizes_stay_and_bytes_come_once_more(
        self, tmp_path: Path
    ) -> None:
        """Room for two of them: what is read after `ls -l` is downloaded again."""
        with self.looked_at(BINDINGS[1], "--spool-size", "1500K") as mounted:
            for _ in range(2):
                assert run(["ls", "-l", mounted.directory]).returncode == 0
            assert self.downloads(mounted) == sorted(mounted.endpoint.videos)

            done = run(["rsync", "-a", f"{mounted.directory}/", tmp_path])

            assert done.returncode == 0, done.stderr
            twice = sorted([*mounted.endpoint.videos] * 2)
            assert len(self.downloads(mounted)) <= len(twice)

    def test_what_is_larger_than_the_spool_is_downloaded_once_to_find_out(self) -> None:
        """Each `stat` downloaded it again, up to the size of the spool."""
        with self.looked_at(BINDINGS[0], "--spool-size", "600K") as mounted:
            path = mounted.path("clip-00")
            assert [stat_says(path) for _ in range(3)] == ["Input/output error"] * 3

            assert self.downloads(mounted) == ["clip-00"]
            assert "see --spool-size" in mounted.log
