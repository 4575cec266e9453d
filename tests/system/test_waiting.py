"""The README's way to wait for a clip ends whenever waiting is no use."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import (
    BINDINGS,
    REPOSITORY,
    Mounted,
    each_binding,
    environment,
    run,
)
from tests.support.odd_servers import OddFailure

README = (REPOSITORY / "README.md").read_text()
WAITED = re.search(
    r"<!-- waiting: begin -->\n```sh\n(.*?)```\n<!-- waiting: end -->",
    README,
    re.DOTALL,
)
SIZE_BYTES = 300_000
ENDS_WITHIN_SECONDS = 30.0

pytestmark = pytest.mark.fuse


def recipe(mounted: Mounted, video_id: str) -> str:
    """The README's lines for a clip of this mount, with less patience."""
    assert WAITED
    lines = WAITED[1].replace("/mnt/hing/ID.mp4", str(mounted.path(video_id)))
    assert "sleep 5" in lines
    return lines.replace("sleep 5", "sleep 0.1")


def waits(
    mounted: Mounted, video_id: str, directory: Path
) -> subprocess.CompletedProcess[str]:
    """The recipe run to its end in *directory*."""
    script = f"cd {directory}\n{recipe(mounted, video_id)}"
    return run(["sh", "-c", script], timeout=ENDS_WITHIN_SECONDS)


@each_binding
def test_waiting_ends_when_it_is_ready_and_when_it_is_no_use(
    binding: str, tmp_path: Path
) -> None:
    """Ready later, failed, misspelt, and a copy that cannot be overwritten."""
    with FakeEndpoint() as endpoint:
        later = endpoint.add("later", size_bytes=SIZE_BYTES, status="in_progress")
        endpoint.add("failed", status="failed")
        endpoint.add("ready", size_bytes=SIZE_BYTES)
        (tmp_path / "ready.mp4").mkdir()  # root overwrites a file whatever its mode
        with Mounted(endpoint, binding, "--negative-ttl", "50ms") as mounted:
            for video_id, said in (
                ("failed", "Input/output error"),
                ("misspelt", "No such file or directory"),
                ("ready", "cannot overwrite directory"),
            ):
                done = waits(mounted, video_id, tmp_path)
                assert done.returncode == 1
                assert said in done.stderr
                assert len(done.stderr.splitlines()) == 1

            waiting = subprocess.Popen(
                ["sh", "-c", recipe(mounted, "later")], cwd=tmp_path, env=environment()
            )
            endpoint.wait_until(
                lambda: len(endpoint.requests_of("status", video_id="later")) > 2
            )
            assert waiting.poll() is None
            endpoint.set_status("later", "completed")

            assert waiting.wait(ENDS_WITHIN_SECONDS) == 0
        copy = (tmp_path / "later.mp4").read_bytes()
        assert copy == later.read(0, SIZE_BYTES)


def test_the_chinese_page_waits_in_the_same_way() -> None:
    assert WAITED
    loop = next(line for line in WAITED[1].splitlines() if line.startswith("while"))

    assert README.partition("## 中文说明")[2].count(f"\n{loop}\n") == 1


@pytest.mark.parametrize(
    "word", ["GENERATE_FAILED", "internal_error", "FAILED_MODERATION", "审核失败"]
)
def test_waiting_ends_for_a_failure_under_an_odd_word(
    word: str, tmp_path: Path
) -> None:
    """Nobody listed the word, and the content is refused as well."""
    with FakeEndpoint(personality=OddFailure(word)) as endpoint:
        endpoint.add("odd", status="failed")
        with Mounted(endpoint, BINDINGS[0], "--negative-ttl", "50ms") as mounted:
            done = waits(mounted, "odd", tmp_path)

            assert (done.returncode, "Input/output error" in done.stderr) == (1, True)
