"""Faults that people met in the field, each with a program as people use it.

Each kind is a server as somebody reported it, mounted for real, and its right value:
what `cp`, `rsync -a`, `ffprobe` and `ls` must say of it. Tables of the same kinds are
in test_verdict, more servers in `tests.personalities`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .endpoint import FakeEndpoint
from .mounting import CLIPS, Mounted, each_binding, run
from .personalities import PERSONALITIES, Personality

pytestmark = pytest.mark.fuse

CLIP = CLIPS / "moov_last.mp4"


@contextmanager
def served(
    personality: str | Personality, binding: str, *options: str
) -> Iterator[Mounted]:
    """A mount of a server with one clip, `clip`, that refuses nothing for long."""
    if isinstance(personality, str):
        personality = PERSONALITIES[personality]
    options = ("--negative-ttl", "0s", "--listing-ttl", "0s", *options)
    with FakeEndpoint(personality=personality) as endpoint:
        endpoint.add("clip", data=CLIP)
        with Mounted(endpoint, binding, *options) as mounted:
            yield mounted


def probed(path: Path) -> dict[str, str]:
    """What ffprobe says of the format of *path*."""
    done = run(["ffprobe", "-v", "error", "-show_format", "-of", "json", str(path)])
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)["format"]
    return found


def copied(mounted: Mounted, to: Path) -> bytes:
    """What `rsync -a` of the whole mount makes of the clip; it must end with 0."""
    done = run(["rsync", "-a", f"{mounted.directory}/", str(to)])
    assert done.returncode == 0, done.stderr
    return (to / "clip.mp4").read_bytes()


class TestCodingsThatAreNone:
    """Content-Encoding: aws-chunked, none, utf-8 and the like change no byte."""

    @each_binding
    def test_ffprobe_takes_ranges_and_not_the_whole(self, binding: str) -> None:
        with served("no_coding", binding) as mounted:
            assert probed(mounted.path("clip"))["size"] == str(CLIP.stat().st_size)

            asked = mounted.endpoint.requests_of("content", "GET")
            assert {record.status for record in asked} == {206}
