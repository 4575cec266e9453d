"""What the examples share: clips, an API of their own, and the line of figures."""

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import exampleslib
import pytest
from benchlib.origin import FAST, Origin

from tests.support.mounting import REPOSITORY


@pytest.mark.parametrize(
    ("example", "module"),
    [("daft", "daft"), ("dataloader", "torchcodec"), ("ray", "ray")],
)
def test_an_example_says_what_to_install(example: str, module: str) -> None:
    """Where a package is missing, as here one is made to be."""
    hidden = f"import sys; sys.modules[{module!r}] = None; sys.argv = ['example']\n"
    path = str(REPOSITORY / "scripts" / "examples" / example)
    code = f"{hidden}import runpy; runpy.run_path({path!r}, run_name='__main__')"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert done.stderr.endswith("is missing: pip install '.[engines]'\n")


def test_a_frame_that_differs_from_the_local_one_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def local(path: str, numbers: list[int]) -> list[str]:
        return [f"{Path(path).stem} {number}" for number in numbers]

    job = exampleslib.Job(["a", "b"], 2, tmp_path)
    right = {("a", 1): "a 1", ("a", 7): "a 7", ("b", 1): "b 1"}

    assert job.ended(right, 3, local) == 0
    assert capsys.readouterr().out.endswith(" s; 0 wrong frames\n")
    assert job.ended({**right, ("a", 7): "b 7"}, 3, local) == 1
    assert capsys.readouterr().out.endswith(" s; 1 wrong frames\n")


def test_an_api_that_was_killed_serves_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with exampleslib.own_api(2) as origin:
        before = [_content(origin, one) for one in ("clip_0000", "clip_0001")]
        origin.kill()
        with pytest.raises(urllib.error.URLError):
            _content(origin, "clip_0000")
        origin.start_again()
        after = [_content(origin, one) for one in ("clip_0000", "clip_0001")]

    assert before == after
    assert before[0] != before[1]


def _content(origin: Origin, video_id: str) -> bytes:
    url = origin.content_url(exampleslib.WORK, video_id, FAST)
    request = urllib.request.Request(
        url, headers={"Authorization": f"Bearer {origin.token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        content: bytes = answer.read()
    return content
