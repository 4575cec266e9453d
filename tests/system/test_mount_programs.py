"""Unmodified programs on real clips through a mount: as from a local file."""

import functools
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import (
    BINDINGS,
    CLIPS,
    Mounted,
    as_nobody,
    each_binding,
    environment,
    mount_directory,
    own_mount,
    run,
)

pytestmark = pytest.mark.fuse


@pytest.fixture(scope="session")
def large_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some ten MB of H.264 and AAC with the index at the end, as most renderers write."""
    path = tmp_path_factory.mktemp("clip") / "large.mp4"
    done = run(
        [
            *("ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi"),
            *("-i", "testsrc2=s=1280x720:r=25,noise=alls=12:allf=t", "-f", "lavfi"),
            *("-i", "sine=frequency=440:sample_rate=48000", "-t", "8"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
            *("-b:v", "10M", "-g", "25", "-c:a", "aac", path),
        ]
    )
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def clips(large_clip: Path) -> dict[str, Path]:
    """Video id -> the local file."""
    return {
        "moov_first": CLIPS / "moov_first.mp4",
        "moov_last": CLIPS / "moov_last.mp4",
        "large": large_clip,
    }


@pytest.fixture(scope="module", params=BINDINGS)
def mounted(
    request: pytest.FixtureRequest, clips: dict[str, Path]
) -> Iterator[Mounted]:
    with FakeEndpoint() as endpoint:
        for video_id, path in clips.items():
            endpoint.add(video_id, data=path)
        with Mounted(endpoint, request.param) as mounted:
            yield mounted


def each_clip() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("clip", ["moov_first", "moov_last", "large"])


def framemd5(path: Path) -> list[str]:
    done = run(
        ["ffmpeg", "-nostdin", "-v", "error", "-i", path, *("-f", "framemd5", "-")]
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


# Decoding takes a second of CPU: a local file is decoded once for all mounts.
local_framemd5 = functools.cache(framemd5)


@each_clip()
def test_ffmpeg_decodes_every_frame_as_from_the_local_file(
    mounted: Mounted, clips: dict[str, Path], clip: str
) -> None:
    """The checksum of each decoded frame of picture and sound."""
    local = local_framemd5(clips[clip])

    assert framemd5(mounted.path(clip)) == local
    assert len(local) > 100


@each_clip()
def test_ffprobe_tells_the_same_as_of_the_local_file(
    mounted: Mounted, clips: dict[str, Path], clip: str
) -> None:
    def probed(path: Path) -> dict[str, object]:
        done = run(
            [
                *("ffprobe", "-v", "error", "-of", "json", "-show_format"),
                *("-show_streams", "-show_packets", path),
            ]
        )
        assert (done.returncode, done.stderr) == (0, "")
        told: dict[str, dict[str, object]] = json.loads(done.stdout)
        assert told["format"].pop("filename") == str(path)
        return dict(told)

    local = probed(clips[clip])

    assert probed(mounted.path(clip)) == local
    assert local["streams"]


def test_ffmpeg_seeks_to_the_same_frame(
    mounted: Mounted, clips: dict[str, Path]
) -> None:
    def frame(path: Path) -> str:
        done = run(
            [
                *("ffmpeg", "-nostdin", "-v", "error", "-ss", "5.3", "-i", path),
                *("-frames:v", "1", "-f", "framemd5", "-"),
            ]
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert frame(mounted.path("large")) == frame(clips["large"])


def test_ffmpeg_says_that_a_video_is_not_ready(mounted: Mounted) -> None:
    """It ends, rather than retrying for ever."""
    mounted.endpoint.add("rendering", status="in_progress")

    done = run(["ffprobe", "-v", "error", mounted.path("rendering")])

    assert done.returncode == 1
    assert "Resource temporarily unavailable" in done.stderr


# --- other users ------------------------------------------------------------------------


@pytest.fixture
def home() -> Iterator[Path]:
    """A home directory that the user nobody can write."""
    with mount_directory() as directory:
        directory.chmod(0o777)
        yield directory
        for entry in directory.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


@each_binding
def test_vlc_plays_a_clip_to_its_end(binding: str, home: Path) -> None:
    """As another user, since it refuses root; all the content was fetched for it."""
    clip = CLIPS / "moov_last.mp4"
    with own_mount(binding, "--allow-other") as (endpoint, mounted):
        endpoint.add("clip", data=clip)

        done = run(
            [
                *(*as_nobody(), "cvlc", "-vv", "--no-color", "--play-and-exit"),
                *("--intf", "dummy", "--vout", "dummy", "--aout", "dummy"),
                *("--rate", "4", mounted.path("clip")),
            ],
            env={**environment(), "HOME": str(home), "XDG_RUNTIME_DIR": str(home)},
        )

        assert done.returncode == 0, done.stderr[-2000:]
        assert "EOF reached" in done.stderr
        assert 'using video decoder module "avcodec"' in done.stderr
        assert "cannot open" not in done.stderr
        endpoint.wait_until_idle()
        assert endpoint.content_bytes("clip") >= clip.stat().st_size
        assert endpoint.bytes_served_twice("clip") == 0


@each_binding
def test_another_user_reads_with_allow_other_and_not_without(binding: str) -> None:
    with FakeEndpoint() as endpoint:
        video = endpoint.add("video", size_bytes=300_000)
        with Mounted(endpoint, binding) as private:
            done = run([*as_nobody(), "cat", private.path("video")])
            assert done.returncode == 1
            assert "Permission denied" in done.stderr
        with Mounted(endpoint, binding, "--allow-other") as shared:
            done = run([*as_nobody(), "cmp", shared.path("video"), "/dev/null"])
            assert "EOF on /dev/null" in done.stderr
            done = run([*as_nobody(), "sha256sum", shared.path("video")])
            assert done.returncode == 0
            assert done.stdout == run(["sha256sum", shared.path("video")]).stdout
            assert shared.path("video").read_bytes() == video.read(0, 300_000)


# --- copies ------------------------------------------------------------------------------


@each_binding
def test_a_second_rsync_transfers_nothing_also_after_a_remount(
    binding: str, clips: dict[str, Path], tmp_path: Path
) -> None:
    copies = tmp_path / "copies"
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        for video_id, path in clips.items():
            endpoint.add(video_id, data=path)
        endpoint.add("rendering", status="in_progress")
        for time in ("first mount", "second mount"):
            with Mounted(endpoint, binding, directory=directory) as mounted:
                if time == "first mount":
                    assert rsync(mounted, copies) == sorted(f"{c}.mp4" for c in clips)
                    endpoint.wait_until_idle()
                endpoint.reset_log()

                assert rsync(mounted, copies) == []

                assert endpoint.requests_of("content", "GET") == []
    for video_id, path in clips.items():
        copy = copies / f"{video_id}.mp4"
        assert copy.read_bytes() == path.read_bytes()
        assert stat.S_IMODE(copy.stat().st_mode) == 0o644


def rsync(mounted: Mounted, copies: Path) -> list[str]:
    """The names that `rsync -a` transferred."""
    done = run(["rsync", "-a", "--out-format=%i %n", f"{mounted.directory}/", copies])
    assert (done.returncode, done.stderr) == (0, "")
    # ">f" is a file received; the directory itself takes the time of the mount.
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    return sorted(name for change, name in lines if change.startswith(">f"))


# From the first argument to the second, both directories.
COPY: dict[str, list[str | Path]] = {
    "cp": ["sh", "-c", 'cp -r "$1/." "$2"', "cp"],
    "cp -p": ["sh", "-c", 'cp -rp "$1/." "$2"', "cp"],
    "rsync": ["sh", "-c", 'rsync -a "$1/" "$2"', "rsync"],
    "tar": ["sh", "-c", 'tar -C "$1" -c . | (mkdir -p "$2"; tar -C "$2" -xp)', "tar"],
    "copytree": [
        *(Path(sys.executable).resolve(), "-c"),
        "import shutil, sys; shutil.copytree(*sys.argv[1:], dirs_exist_ok=True)",
    ],
}


@each_binding
def test_copies_belong_to_whoever_made_them(binding: str, home: Path) -> None:
    """A user copies, changes a clip, copies over it, and removes it all; root can anyway."""
    with own_mount(binding, "--allow-other") as (endpoint, mounted):
        video = endpoint.add("clip", size_bytes=100_000)
        for name, command in COPY.items():
            copies = home / name

            def user(*words: str | Path, name: str = name) -> None:
                done = run([*as_nobody(), *words])
                assert (done.returncode, done.stderr) == (0, ""), name

            user(*command, mounted.directory, copies)
            user("truncate", "--size=5", copies / "clip.mp4")
            user(*command, mounted.directory, copies)

            assert (copies / "clip.mp4").read_bytes() == video.read(0, 100_000)
            user("rm", "-r", copies)


@each_binding
def test_rsync_copies_the_others_where_one_fails(binding: str, tmp_path: Path) -> None:
    """A video that is gone since it was listed costs itself only."""
    with own_mount(binding) as (endpoint, mounted):
        for name in ("a", "b", "c"):
            endpoint.add(name, size_bytes=100_000)
        os.listdir(mounted.directory)
        endpoint.remove("b")

        done = run(["rsync", "-a", f"{mounted.directory}/", tmp_path / "copies"])

        assert done.returncode in {23, 24}
        assert sorted(os.listdir(tmp_path / "copies")) == ["a.mp4", "c.mp4"]


@each_binding
@pytest.mark.parametrize("damage", [0, 1], ids=["sound", "damaged"])
def test_fio_verifies_the_checksum_of_every_block(
    binding: str, tmp_path: Path, damage: int
) -> None:
    """Four jobs read at random; a single wrong byte at the server is found."""
    data = tmp_path / "data"
    common = ["fio", "--name=verify", "--bs=64k", "--size=8m", "--verify=crc32c"]
    common.append("--verify_state_save=0")  # else it leaves a file where it runs
    written = run([*common, "--rw=write", "--do_verify=0", f"--filename={data}"])
    assert written.returncode == 0, written.stderr
    content = bytearray(data.read_bytes())
    content[5_000_000] ^= damage
    with own_mount(binding) as (endpoint, mounted):
        endpoint.add("data", data=bytes(content))

        done = run(
            [
                *(*common, "--rw=randread", "--readonly", "--numjobs=4"),
                *("--ioengine=psync", f"--filename={mounted.path('data')}"),
                f"--aux-path={tmp_path}",
            ],
        )

        assert (done.returncode != 0) == bool(damage), done.stdout + done.stderr
        assert ("verify" in done.stderr) == bool(damage)
        endpoint.wait_until_idle()
        assert endpoint.bytes_served_twice("data") == 0
