"""Names that people met, through real mounts and `rsync -a`, `cp`, `ls`, `stat`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hingfs.library.names import full_name_of, name_of
from tests.support.mounting import Mounted, each_binding, own_mount, run
from tests.support.reading import errno_of

pytestmark = pytest.mark.fuse

SIZE_BYTES = 300_000
LITELLM = "video_" + "bGl0ZWxsbTpjdXN0b21fbGxtX3Byb3ZpZGVyOm9wZW5haTttb2RlbF9pZDo" * 4
LONG_IDS = [
    *(f"{LITELLM}{number:030}==" for number in range(3)),  # 274 bytes, alike at first
    "動画" * 120,
    "models/veo-3/operations/" * 12,  # each "/" is three bytes of a name
    "z" * 1016,
]


@contextmanager
def long_named(binding: str) -> Iterator[Mounted]:
    """A mount of a server as LiteLLM is, whose ids no other file system holds."""
    with own_mount(binding) as (endpoint, mounted):
        for number, video_id in enumerate(LONG_IDS):
            endpoint.add(video_id, size_bytes=SIZE_BYTES + number)
        endpoint.add("short", size_bytes=SIZE_BYTES)
        yield mounted


class TestLongNames:
    """Ids beyond the 255 bytes that other file systems hold."""

    @each_binding
    def test_rsync_copies_the_mount_and_then_nothing(
        self, binding: str, tmp_path: Path
    ) -> None:
        with long_named(binding) as mounted:
            for copied in (len(LONG_IDS) + 1, 0):
                done = run(
                    ["rsync", "-a", "--stats", f"{mounted.directory}/", str(tmp_path)]
                )

                assert (done.returncode, done.stderr) == (0, "")
                assert f"regular files transferred: {copied}\n" in done.stdout
            for video_id, video in mounted.endpoint.videos.items():
                copy = tmp_path / name_of(video_id)
                assert copy.read_bytes() == video.read(0, video.size_bytes)

    @each_binding
    def test_both_names_open_the_same_file(self, binding: str, tmp_path: Path) -> None:
        with long_named(binding) as mounted:
            for video_id in LONG_IDS:
                short, full = (
                    mounted.directory / name(video_id)
                    for name in (name_of, full_name_of)
                )
                by_full = run(["stat", "-c", "%i %s %Y", full])
                by_short = run(["stat", "-c", "%i %s %Y", short])
                assert (by_full.returncode, by_full.stderr) == (0, "")
                assert by_full.stdout == by_short.stdout

                for name in (short, full):
                    done = run(["cp", name, tmp_path / "copy"])
                    assert (done.returncode, done.stderr) == (0, "")
                    video = mounted.endpoint.videos[video_id]
                    expected = video.read(0, video.size_bytes)
                    assert (tmp_path / "copy").read_bytes() == expected

    @each_binding
    def test_a_short_name_opens_in_a_new_mount_that_listed_nothing(
        self, binding: str, tmp_path: Path
    ) -> None:
        with long_named(binding) as mounted:
            done = run(["cp", mounted.directory / name_of(LONG_IDS[0]), tmp_path / "c"])

            assert (done.returncode, done.stderr) == (0, "")
            assert len(mounted.endpoint.requests_of("list")) <= 2  # with the check's
            missing = mounted.directory / name_of("w" * 300)
            assert errno_of(lambda: os.stat(missing)) == "ENOENT"

    @each_binding
    def test_no_version_is_mixed_by_two_names(self, binding: str) -> None:
        """They are two files to the kernel, each with pages of its own."""
        with own_mount(binding, "--metadata-ttl", "0s") as (endpoint, mounted):
            video = endpoint.add(LONG_IDS[0], size_bytes=SIZE_BYTES)
            paths = [
                mounted.directory / name(LONG_IDS[0])
                for name in (name_of, full_name_of)
            ]
            for _ in range(3):
                for path in (*paths, *reversed(paths)):
                    assert path.read_bytes() == video.read(0, SIZE_BYTES)
                video.replace(size_bytes=SIZE_BYTES)
                paths.reverse()
