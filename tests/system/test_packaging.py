"""The wheel: everything is in it, and what it installs works where no checkout is."""

import shutil
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.mounting import REPOSITORY, environment, require_fuse, run

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of what a wheel is made of, and a sub-package that is new."""
    copy = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    clean = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "hingfs", copy / "hingfs", ignore=clean)
    added = copy / "hingfs" / "added" / "below"
    added.mkdir(parents=True)
    for package in (added, added.parent):
        (package / "__init__.py").touch()
    (added / "clip.mp4").touch()
    (copy / "tests").mkdir()
    (copy / "tests" / "__init__.py").touch()
    return copy


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of *sources*, by the setuptools that is here."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ("--no-build-isolation", "--no-deps", "--no-index")
    # A copy of the copy: building leaves its own files behind.
    built = shutil.copytree(sources, folder / "sources")
    done = run([*PIP, "wheel", *offline, "--wheel-dir", folder, built])
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.mark.slow
def test_every_module_and_clip_is_in_the_wheel_and_nothing_else(
    sources: Path, wheel: Path
) -> None:
    expected = {
        str(path.relative_to(sources))
        for path in (sources / "hingfs").rglob("*")
        if path.is_file()
    }

    names = zipfile.ZipFile(wheel).namelist()

    assert {name for name in names if ".dist-info/" not in name} == expected


@pytest.mark.fuse
@pytest.mark.slow
def test_what_the_wheel_installs_mounts_its_demo(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own; the libraries are those that are here."""
    require_fuse()
    fresh = tmp_path / "fresh"
    venv.create(fresh, with_pip=False)
    python = fresh / "bin" / "python"
    # The checkout may be on the path of the tests, and would count as installed.
    offline = ("--ignore-installed", "--no-deps", "--no-index", "--no-compile")
    done = run([*PIP, "--python", python, "install", *offline, wheel])
    assert done.returncode == 0, done.stdout + done.stderr
    (packages,) = fresh.glob("lib/python*/site-packages")
    libraries = [entry for entry in sys.path if entry.endswith("-packages")]
    (packages / "libraries.pth").write_text("\n".join(libraries))
    alone = environment()
    del alone["PYTHONPATH"]
    found = run(
        [python, "-P", "-c", "import hingfs; print(hingfs.__file__)"], env=alone
    )
    assert Path(found.stdout.strip()).is_relative_to(packages)

    done = run([fresh / "bin" / "hingfs", "demo", "--check"], env=alone)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("…, as served\n") == 2
