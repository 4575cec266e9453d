"""Servers with little to give, each with a program as people use it.

Few requests a minute; neither a length nor ranges; a first byte that comes late. Mounted for real: what is copied is
right, and how much was asked for is counted.
"""

import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.endpoint import FakeEndpoint, stall_before_headers
from tests.support.limited_servers import PAUSES, AtOnce, Metered, TokenBucket
from tests.support.mounting import (
    BINDINGS,
    Mounted,
    bindings_in_turn,
    each_binding,
    eventually,
    run,
    stat_says,
)
from tests.support.odd_servers import FIELD, EmptyHead, NoLength
from tests.support.personalities import PERSONALITIES, Personality

pytestmark = pytest.mark.fuse


def downloads(mounted: Mounted) -> list[str]:
    """The videos whose content was asked for, once for each request."""
    mounted.endpoint.wait_until_idle()
    asked = mounted.endpoint.requests_of("content", "GET")
    return sorted(record.video_id or "" for record in asked)


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

    @bindings_in_turn("form", ["200", "200 as video", "400"])
    def test_a_pause_in_place_of_content_is_waited_for(
        self, binding: str, form: str, tmp_path: Path
    ) -> None:
        """By the stat as by the read: a server without HEAD says it under 200."""
        bucket = TokenBucket(burst=2, per_second=4)
        server = Metered(
            bucket, form, bytes_alone=True, behind=PERSONALITIES["new_api_new"]
        )
        with self.metered(server, binding) as mounted:
            done = run(["cp", mounted.path("clip-1"), mounted.path("clip-2"), tmp_path])

            assert (done.returncode, done.stderr) == (0, "")
            for copy in tmp_path.iterdir():
                video = mounted.endpoint.videos[copy.stem]
                assert copy.read_bytes() == video.read(0, self.SIZE_BYTES)
            assert bucket.refused > 0

    @pytest.mark.parametrize("form", sorted({*PAUSES} - {"200", "200 as video", "400"}))
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
        bucket = TokenBucket(burst=6, per_second=6)
        server = Metered(bucket, "Retry-After", bytes_alone=True)
        options = ("--retry-after-limit", "500ms")
        with self.metered(server, BINDINGS[0], *options) as mounted:
            self.check_rsync(mounted, tmp_path)

            assert bucket.refused


class TestFewRequestsAtOnce:
    """It is used with as many as it takes, and no program notices."""

    SIZE_BYTES = 30_000_017
    CONNECTIONS = 10  # the default

    def check_clip(self, mounted: Mounted, name: str, times: int = 1) -> None:
        size_bytes = times * self.SIZE_BYTES
        video = mounted.endpoint.add(name, size_bytes=size_bytes)
        assert mounted.path(name).read_bytes() == video.read(0, size_bytes)

    @pytest.mark.parametrize(
        ("refusal", "binding"),
        [(429, BINDINGS[0]), (503, BINDINGS[1]), (0, BINDINGS[0])],
    )
    def test_one_too_many_waits_for_another(
        self, refusal: int, binding: str, tmp_path: Path
    ) -> None:
        server = AtOnce(3, refusal)
        with FakeEndpoint() as endpoint:
            endpoint.inject(server.fault(), math.inf)
            with Mounted(endpoint, binding, XDG_CACHE_HOME=str(tmp_path)) as mounted:
                self.check_clip(mounted, "first")
                assert 0 < server.refused <= 2 * self.CONNECTIONS
                assert server.peak == 3
                assert "asked for a pause" not in mounted.log
            server.refused = 0
            with Mounted(endpoint, binding, XDG_CACHE_HOME=str(tmp_path)) as mounted:
                self.check_clip(mounted, "second")
                assert server.refused <= 2, "an earlier mount learnt it"

                # Only where all that it takes are in use is one more tried: on a busy
                # machine, seldom in one film.
                server.most, server.seconds = 100, 0.1
                for film in ("one", "two", "three"):
                    self.check_clip(mounted, film, times=8)
                    if server.peak > 6:
                        break
                assert server.peak > 6, "it climbs again"


class TestNeitherLengthNorRanges:
    """Only what was asked for is downloaded, and once."""

    SIZE_BYTES = 700_001

    @contextmanager
    def looked_at(
        self, binding: str, *options: str, server: Personality = FIELD["no_length"]
    ) -> Iterator[Mounted]:
        """A mount of twenty clips, whose names are known to the program."""
        with FakeEndpoint(personality=server) as endpoint:
            for number in range(20):
                endpoint.add(f"clip-{number:02}", size_bytes=self.SIZE_BYTES)
            with Mounted(endpoint, binding, *options) as mounted:
                assert len(os.listdir(mounted.directory)) == 20
                yield mounted

    @each_binding
    def test_two_stats_cost_two_clips(self, binding: str) -> None:
        """They cost eighteen: sixteen were looked up ahead, whole."""
        with self.looked_at(binding) as mounted:
            for video_id in ("clip-00", "clip-01"):
                size = run(["stat", "-c", "%s", mounted.path(video_id)]).stdout
                assert size == f"{self.SIZE_BYTES}\n"

            assert downloads(mounted) == ["clip-00", "clip-01"]

    @pytest.mark.parametrize(
        ("server", "times"),
        [(NoLength("connection"), 2), (NoLength("gzip"), 1), (EmptyHead(), 1)],
        ids=["until it closes", "in gzip", "a HEAD of nothing"],
    )
    def test_however_a_whole_file_ends_its_looks_cost_one(
        self, server: Personality, times: int
    ) -> None:
        """A connection may be cut: where no container ends there, it is seen twice."""
        with self.looked_at(BINDINGS[0], server=server) as mounted:
            for _ in range(2):
                size = run(["stat", "-c", "%s", mounted.path("clip-00")]).stdout
                assert size == f"{self.SIZE_BYTES}\n"
            video = mounted.endpoint.videos["clip-00"]
            found = mounted.path("clip-00").read_bytes()

            assert found == video.read(0, self.SIZE_BYTES)
            assert downloads(mounted) == ["clip-00"] * times

    def test_ls_of_all_costs_each_once_and_their_copies_nothing(
        self, tmp_path: Path
    ) -> None:
        with self.looked_at(BINDINGS[0]) as mounted:
            for _ in range(2):
                assert run(["ls", "-l", mounted.directory]).returncode == 0
            done = run(["rsync", "-a", f"{mounted.directory}/", tmp_path])

            assert done.returncode == 0, done.stderr
            assert downloads(mounted) == sorted(mounted.endpoint.videos)
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
            assert downloads(mounted) == sorted(mounted.endpoint.videos)

            done = run(["rsync", "-a", f"{mounted.directory}/", tmp_path])

            assert done.returncode == 0, done.stderr
            twice = sorted([*mounted.endpoint.videos] * 2)
            assert len(downloads(mounted)) <= len(twice)

    def test_what_is_larger_than_the_spool_is_downloaded_once_to_find_out(self) -> None:
        """Each `stat` downloaded it again, up to the size of the spool."""
        with self.looked_at(BINDINGS[0], "--spool-size", "600K") as mounted:
            path = mounted.path("clip-00")
            assert [stat_says(path) for _ in range(3)] == ["Input/output error"] * 3

            assert downloads(mounted) == ["clip-00"]
            assert "see --spool-size" in mounted.log


class TestFirstByteThatIsLate:
    """LiteLLM reads a file whole before it sends any of it: one request goes on.

    Here it takes two seconds, and a stat or open waits for one of them.
    """

    SIZE_BYTES = 3_000_017
    LATE_SECONDS = 2.0

    @contextmanager
    def late(
        self, personality: str, binding: str, *options: str, heads: bool = False
    ) -> Iterator[Mounted]:
        """A mount of three clips; *heads*: HEAD takes as long as GET does."""
        server = {**PERSONALITIES, **FIELD}[personality]
        times = ("--metadata-timeout", "1s", "--negative-ttl", "0s")
        with FakeEndpoint(personality=server) as endpoint:
            for number in range(3):
                endpoint.add(f"clip-{number}", size_bytes=self.SIZE_BYTES)
            endpoint.inject(
                stall_before_headers(self.LATE_SECONDS),
                math.inf,
                lambda r: r.kind == "content" and (heads or r.method == "GET"),
            )
            with Mounted(endpoint, binding, *times, *options) as mounted:
                yield mounted

    def copy(self, mounted: Mounted, video_id: str, to: Path) -> list[str]:
        """The errors of `until cp …` before it succeeds."""
        said = []
        until = time.monotonic() + 10
        while True:
            done = run(["cp", mounted.path(video_id), to])
            if done.returncode == 0:
                break
            said.append(done.stderr.rpartition(": ")[2].strip())
            assert time.monotonic() < until, said
        video = mounted.endpoint.videos[video_id]
        assert to.read_bytes() == video.read(0, self.SIZE_BYTES)
        return said

    @bindings_in_turn("server", ["litellm_new", "litellm_old", "no_length"])
    def test_one_download_opens_it(
        self, server: str, binding: str, tmp_path: Path
    ) -> None:
        """It never opened: each second another download was begun, and left."""
        with self.late(server, binding) as mounted:
            said = self.copy(mounted, "clip-0", tmp_path / "copy.mp4")

            assert set(said) == {"Resource temporarily unavailable"}
            assert downloads(mounted) == ["clip-0"]

    def test_programs_at_once_share_it(self, tmp_path: Path) -> None:
        with self.late("litellm_new", BINDINGS[0]) as mounted:
            with ThreadPoolExecutor(3) as threads:
                copies = [
                    threads.submit(
                        self.copy, mounted, "clip-0", tmp_path / f"copy-{number}.mp4"
                    )
                    for number in range(3)
                ]
                for copy in copies:
                    copy.result()

            assert downloads(mounted) == ["clip-0"]

    def test_other_names_are_not_held_up(self, tmp_path: Path) -> None:
        """Three clips are waited for at the same time, each by one request."""
        with self.late("litellm_new", BINDINGS[1]) as mounted:
            for video_id in mounted.endpoint.videos:
                said = stat_says(mounted.path(video_id))
                assert said == "Resource temporarily unavailable"
            for video_id in mounted.endpoint.videos:
                self.copy(mounted, video_id, tmp_path / video_id)

            assert downloads(mounted) == sorted(mounted.endpoint.videos)

    def test_a_read_that_is_late_is_the_same_download(self, tmp_path: Path) -> None:
        """HEAD tells the size at once; the first read runs out of time, the next not."""
        options = ("--read-timeout", "1s", "--stall-timeout", "1s")
        with self.late("aisix_proxy", BINDINGS[0], *options) as mounted:
            said = self.copy(mounted, "clip-0", tmp_path / "copy.mp4")

            assert set(said) == {"Connection timed out"}
            assert downloads(mounted) == ["clip-0"]

    def test_a_head_that_is_late_is_waited_for_as_well(self) -> None:
        """A proxy that makes GET of HEAD: one is given up, the next is not."""
        options = ("--stall-timeout", "300ms")
        with self.late("openai", BINDINGS[0], *options, heads=True) as mounted:
            path = mounted.path("clip-0")
            eventually(lambda: stat_says(path) == "", "its size", 5)

            assert len(mounted.endpoint.requests_of("content", "HEAD")) == 2
            assert downloads(mounted) == []

    def test_a_head_that_is_late_is_waited_for_where_a_list_told_the_status(
        self,
    ) -> None:
        """Nothing is asked beside it then; the list shows that the server answers."""
        options = ("--stall-timeout", "300ms")
        with self.late("openai", BINDINGS[0], *options, heads=True) as mounted:
            path = mounted.path("clip-0")
            assert path.name in os.listdir(mounted.directory)
            eventually(lambda: stat_says(path) == "", "its size", 5)

            assert not mounted.endpoint.requests_of("status")
            assert len(mounted.endpoint.requests_of("content", "HEAD")) <= 3
            assert downloads(mounted) == []
