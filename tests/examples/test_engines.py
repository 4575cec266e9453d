"""The examples on the real engines, and through crashes; run with the extra `engines`.

Each compares frames with those of local files, and counts the bytes of the API.
"""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import exampleslib
import pytest
from benchlib.media import MediaCache
from benchlib.origin import FAST, Origin
from benchlib.served import Shown
from benchlib.system import process_tree

from tests.support.mounting import REPOSITORY, environment, eventually

EXAMPLES = REPOSITORY / "scripts" / "examples"
_SECONDS = 240.0
_RAY_TASK = b"ray::FlatMap"
_VALKEY = (shutil.which("valkey-server") or shutil.which("redis-server") or "").encode()

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def needs(*modules: str) -> pytest.MarkDecorator:
    """Skip a test where the extra `engines` is not installed."""
    missing = [one for one in modules if importlib.util.find_spec(one) is None]
    reason = f"needs '.[engines]': {', '.join(missing)} missing"
    return pytest.mark.skipif(bool(missing), reason=reason)


class Started:
    """An example, as a person starts it, on the clips of *origin*."""

    def __init__(self, origin: Origin, example: str, *options: str) -> None:
        originals = ("--originals", str(origin.originals(exampleslib.WORK)))
        self.process = subprocess.Popen(
            [
                *(sys.executable, EXAMPLES / example),
                *(*origin.works[exampleslib.WORK].videos, *originals, *options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**exampleslib.variables(origin)),
        )

    def workers(self, name: bytes = b"") -> list[int]:
        """Its processes whose command begins with *name*."""
        found = []
        for one in process_tree(self.process.pid)[1:]:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{one}/cmdline").read_bytes().startswith(name):
                    found.append(one)
        return found

    def ends_right(self, frames: int) -> str:
        """Wait for its end with *frames* frames, none wrong; what it wrote to stderr."""
        said, complained = self.process.communicate(timeout=_SECONDS)
        assert self.process.returncode == 0, complained
        told = re.search(r"(\d+) frames, [\d.]+ s; 0 wrong frames\n$", said)
        assert told is not None, said + complained
        assert int(told[1]) == frames
        return complained


def content_requests(origin: Origin) -> int:
    return len(origin.traffic_since(0).content)


def share(origin: Origin) -> float:
    """The bytes of videos that it sent, as a share of those that it has."""
    origin.settle(closed=False)
    size = sum(one.stat().st_size for one in origin.videos.values())
    return origin.traffic_since(0).content_bytes / size


@contextlib.contextmanager
def down(origin: Origin) -> Iterator[None]:
    """Kill *origin*; at the end three have tried to reach it, and it is started again."""
    origin.kill()
    port = urllib.parse.urlsplit(origin.api_url(exampleslib.WORK, FAST)).port
    with socket.create_server(("127.0.0.1", port or 0)) as listener:
        listener.settimeout(60)
        for _ in range(3):
            line, _address = listener.accept()
            line.close()
        yield
    origin.start_again()


@needs("torch", "torchcodec")
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_data_loader_reads_each_byte_once_in_two_epochs(start: str) -> None:
    with exampleslib.own_api(24) as origin:
        Started(origin, "dataloader", "--start", start).ends_right(2 * 24 * 10)

        assert share(origin) <= 1.02


@needs("torch", "torchcodec")
def test_a_data_loader_goes_on_when_a_worker_is_killed() -> None:
    with exampleslib.own_api(40) as origin:
        started = Started(origin, "dataloader", "--workers", "2")
        eventually(lambda: content_requests(origin) > 20, "a job under way", 60)
        os.kill(started.workers()[0], signal.SIGKILL)

        complained = started.ends_right(2 * 40 * 10)

        assert "clips go on in new workers" in complained


@needs("torch", "torchcodec")
def test_a_data_loader_goes_on_when_the_api_was_killed() -> None:
    with exampleslib.own_api(40) as origin:
        started = Started(origin, "dataloader", "--workers", "2")
        eventually(lambda: content_requests(origin) > 20, "a job under way", 60)
        with down(origin):
            pass

        started.ends_right(2 * 40 * 10)


@needs("ray", "pyarrow", "torchcodec")
def test_ray_reads_each_byte_once() -> None:
    with exampleslib.own_api(24) as origin:
        Started(origin, "ray").ends_right(24 * 10)

        assert share(origin) <= 1.02


@needs("ray", "pyarrow", "torchcodec")
def test_two_hosts_with_a_valkey_read_each_byte_once() -> None:
    with exampleslib.own_api(24) as origin:
        Started(origin, "ray", "--hosts", "2").ends_right(2 * 24 * 10)

        assert share(origin) <= 1.05


@needs("ray", "pyarrow", "torchcodec")
def test_two_hosts_go_on_when_their_valkey_is_killed() -> None:
    with exampleslib.own_api(40) as origin:
        started = Started(origin, "ray", "--hosts", "2")
        eventually(lambda: content_requests(origin) > 20, "a job under way", 60)
        os.kill(started.workers(_VALKEY)[0], signal.SIGKILL)

        started.ends_right(2 * 40 * 10)


@needs("ray", "pyarrow", "torchcodec")
def test_ray_does_the_task_of_a_killed_worker_again() -> None:
    with exampleslib.own_api(40) as origin:
        started = Started(origin, "ray")
        eventually(lambda: content_requests(origin) > 20, "a job under way", 60)
        os.kill(started.workers(_RAY_TASK)[0], signal.SIGKILL)

        started.ends_right(40 * 10)


@needs("ray", "pyarrow", "torchcodec")
def test_ray_goes_on_when_the_api_was_killed() -> None:
    with exampleslib.own_api(40) as origin:
        started = Started(origin, "ray")
        eventually(lambda: content_requests(origin) > 20, "a job under way", 60)
        with down(origin):
            pass

        started.ends_right(40 * 10)


_TEN_FRAMES = """
import hashlib, random, sys
import fsspec
from torchcodec.decoders import VideoDecoder

def frames(source):
    decoder = VideoDecoder(source, seek_mode="approximate")
    numbers = random.Random(1).sample(range(decoder.metadata.num_frames), 10)
    return decoder.get_frames_at(sorted(numbers)).data.numpy().tobytes()

assert frames(fsspec.filesystem("hing").open("hing://film")) == frames(sys.argv[1])
"""


@needs("torchcodec")
def test_ten_random_frames_of_a_film_take_a_twentieth_of_its_bytes() -> None:
    work_directory = Path("~/.cache/hingfs-bench").expanduser()
    film = MediaCache(work_directory / "media").path("film")
    shown = {exampleslib.WORK: Shown(("film",))}
    with (
        tempfile.TemporaryDirectory(prefix="run-", dir=work_directory) as folder,
        Origin(Path(folder), {"film": film}, shown, [FAST], latency_ms=0) as origin,
    ):
        subprocess.run(
            [sys.executable, "-c", _TEN_FRAMES, film],
            timeout=_SECONDS,
            check=True,
            env=environment(**exampleslib.variables(origin)),
        )

        assert share(origin) <= 0.05


_PICKLED = """
import runpy, sys
sys.argv = ["example"]
example = runpy.run_path({path!r})
import fsspec
from ray import cloudpickle
clips = [{{"clip": "a", "numbers": [1], "host": 0}}]
table = example["frames"](clips, [fsspec.filesystem("hing")])
sys.stdout.buffer.write(cloudpickle.dumps(table))
import ray
ray.shutdown()
"""


@needs("ray", "pyarrow", "torchcodec")
def test_a_data_set_of_ray_has_no_token_in_it() -> None:
    token = "oh-0123456789-in-no-pickle"
    base_url = "http://127.0.0.1:9/not-asked"
    done = subprocess.run(
        [sys.executable, "-c", _PICKLED.format(path=str(EXAMPLES / "ray"))],
        capture_output=True,
        timeout=_SECONDS,
        check=True,
        env=environment(HINGFS_TOKEN=token, HINGFS_BASE_URL=base_url),
    )

    assert base_url.encode() in done.stdout
    assert token.encode() not in done.stdout + done.stderr


@needs("daft", "av")
@pytest.mark.fuse
def test_daft_reads_each_byte_once_on_a_mount() -> None:
    with exampleslib.own_api(24) as origin:
        Started(origin, "daft").ends_right(24 * 10)

        assert share(origin) <= 1.02
