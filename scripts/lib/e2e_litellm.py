"""What hingfs makes of a real LiteLLM proxy: a line for each expectation.

Usage: python scripts/lib/e2e_litellm.py PROXY_VENV VERSION, with the checkout on
PYTHONPATH. The proxy's upstream is the fake endpoint of the tests.
"""

import base64
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support.endpoint import FakeEndpoint, Video
from tests.support.mounting import BINDINGS, Mounted, eventually
from tests.support.reading import errno_of

MASTER_KEY = "sk-e2e-master-key"
WRONG_KEY = "sk-e2e-wrong-key"
UPSTREAM_KEY = "oh-e2e-upstream-key"
SIZE_BYTES = 3_000_017
START_SECONDS = 180.0
MODEL = "sora-2"


def config_of(upstream: str) -> str:
    """The proxy's settings: one model, served by *upstream*."""
    return f"""\
model_list:
  - model_name: {MODEL}
    litellm_params:
      model: openai/{MODEL}
      api_base: {upstream}/v1
      api_key: {UPSTREAM_KEY}
general_settings:
  master_key: {MASTER_KEY}
litellm_settings:
  telemetry: false
"""


class Report:
    """Counts and prints expectations."""

    def __init__(self) -> None:
        self.failed = 0
        self.passed = 0

    def expect(self, what: str, check: Callable[[], object]) -> None:
        """Print whether *check* holds; an exception is a no."""
        try:
            found = check()
        except Exception as error:  # noqa: BLE001 - a report of whatever happened
            found = f"{type(error).__name__}: {error}"[:200]
        good = found is True
        self.passed += good
        self.failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {what}{'' if good else f': {found}'}")

    def is_equal(self, what: str, wanted: object, get: Callable[[], object]) -> None:
        """Expect that *get* gives *wanted*."""

        def check() -> object:
            found = get()
            return True if found == wanted else f"{found!r} instead of {wanted!r}"

        self.expect(what, check)


def encoded(video_id: str) -> str:
    """The id that the proxy makes of its upstream's: provider and model are in it."""
    inner = f"litellm:custom_llm_provider:openai;model_id:{MODEL};video_id:{video_id}"
    return "video_" + base64.b64encode(inner.encode()).decode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def proxy_running(venv: Path, upstream: str) -> Iterator[str]:
    """The base URL of a proxy in front of *upstream*, up and answering."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="hingfs-litellm-") as work:
        config = Path(work, "config.yaml")
        config.write_text(config_of(upstream))
        log = Path(work, "log")
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HINGFS_")}
        environment = {
            **kept,
            "PATH": f"{venv / 'bin'}:{kept['PATH']}",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "HOME": work,
        }
        command = [
            *(str(venv / "bin" / "litellm"), "--config", str(config)),
            *("--host", "127.0.0.1", "--port", str(port)),
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            base_url = f"http://127.0.0.1:{port}"
            await_proxy(process, f"{base_url}/health/liveliness", log)
            yield base_url
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def await_proxy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            sys.exit(f"the proxy ended:\n{log.read_text()[-4000:]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return True
        return False

    eventually(answers, "the proxy answers", START_SECONDS)


def reads(opened_path: Path, video: Video, spans: list[tuple[int, int]]) -> bool:
    """Whether each (offset, count) gives the bytes of *video*."""
    descriptor = os.open(opened_path, os.O_RDONLY)
    try:
        return all(
            os.pread(descriptor, count, offset) == video.read(offset, offset + count)
            for offset, count in spans
        )
    finally:
        os.close(descriptor)


def check_binding(report: Report, endpoint: FakeEndpoint, base: str, fuse: str) -> None:
    """All expectations through one binding."""

    def add(name: str, status: str = "completed") -> Video:
        return endpoint.add(
            f"video_{fuse}_{name}", status=status, size_bytes=SIZE_BYTES
        )

    ready, scattered, late = add("ready"), add("scattered"), add("late", "in_progress")
    add("queued", "queued")
    add("failed", "failed")
    draw = random.Random(fuse)
    offsets = [draw.randrange(SIZE_BYTES) for _ in range(50)]

    with Mounted(base, fuse, "--negative-ttl", "0s", token=MASTER_KEY) as mounted:

        def path(name: str) -> Path:
            return mounted.path(encoded(f"video_{fuse}_{name}"))

        def errno_at(name: str) -> Callable[[], str]:
            return lambda: errno_of(lambda: path(name).read_bytes())

        report.is_equal(
            f"{fuse}: ready: size (a name of {len(path('ready').name)} bytes)",
            SIZE_BYTES,
            lambda: path("ready").stat().st_size,
        )
        report.expect(
            f"{fuse}: ready: every byte",
            lambda: path("ready").read_bytes() == ready.read(0, SIZE_BYTES),
        )
        report.expect(
            f"{fuse}: ready: the tail first, then 50 random reads",
            lambda: reads(
                path("scattered"),
                scattered,
                [(SIZE_BYTES - 65_536, 65_536), *((at, 70_000) for at in offsets)],
            ),
        )
        report.is_equal(
            f"{fuse}: that cost the upstream the probe and one transfer",
            2,
            lambda: len(endpoint.requests_of("content", "GET", scattered.video_id)),
        )
        report.is_equal(f"{fuse}: queued", "EAGAIN", errno_at("queued"))
        report.is_equal(f"{fuse}: in progress", "EAGAIN", errno_at("late"))
        endpoint.set_status(late.video_id, "completed")
        report.expect(
            f"{fuse}: readable once ready, without a remount",
            lambda: path("late").read_bytes() == late.read(0, SIZE_BYTES),
        )
        report.is_equal(f"{fuse}: failed", "EIO", errno_at("failed"))
        # LiteLLM asks its upstream again and again, for four to six seconds; after five
        # the name may be EAGAIN, and the answer is used when it comes.
        # Another look would ask, and wait, anew.
        missing, said = errno_at("missing"), ["EAGAIN"]

        def is_told() -> bool:
            said.append(missing())
            return said[-1] != "EAGAIN"

        eventually(is_told, "a video that is missing")
        report.is_equal(f"{fuse}: missing", "ENOENT", said.pop)
        report.expect(
            f"{fuse}: a listing without a list: what was opened",
            lambda: path("ready").name in os.listdir(mounted.directory),
        )
    options = ("--negative-ttl", "0s", "--no-check")
    with Mounted(base, fuse, *options, token=WRONG_KEY) as refused:
        wrong = refused.path(encoded(f"video_{fuse}_ready"))
        report.is_equal(
            f"{fuse}: wrong token", "EACCES", lambda: errno_of(wrong.read_bytes)
        )


def main(venv: str, version: str) -> int:
    report = Report()
    began = time.monotonic()
    with (
        FakeEndpoint(UPSTREAM_KEY) as endpoint,
        proxy_running(Path(venv), endpoint.base_url) as base_url,
    ):
        print(f"litellm {version} answers after {time.monotonic() - began:.0f} s")
        for binding in BINDINGS:
            check_binding(report, endpoint, base_url, binding)
    print(
        f"litellm {version}: {report.passed} expectations met, {report.failed} failed, "
        f"{time.monotonic() - began:.0f} s"
    )
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
