"""scripts/demo and what the scripts share, as a person meets them.

`Checkout` is one of its own: the scripts as they are, an environment that runs the hingfs
under test, and programs in place of apt's, so that nothing is installed here.
"""

import contextlib
import os
import pty
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import (
    REPOSITORY,
    detach,
    environment,
    eventually,
    mount_line,
    run,
)

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Checkout:
    """A checkout at *root* whose set-up is done."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(REPOSITORY / "scripts" / "lib", root / "scripts" / "lib")
        shutil.copy(REPOSITORY / "scripts" / "demo", root / "scripts" / "demo")
        shutil.copy(REPOSITORY / "pyproject.toml", root)
        self.hingfs = root / ".venv" / "bin" / "hingfs"
        self.hingfs.parent.mkdir(parents=True)
        (self.hingfs.parent / "python").symlink_to(sys.executable)
        program(
            self.hingfs,
            f"#!{sys.executable}\nimport sys\nfrom hingfs.cli.main import main\nsys.exit(main())\n",
        )
        now = run(["sh", "-c", f"cksum <{root}/pyproject.toml"]).stdout.strip()
        (root / ".venv" / "hingfs-installed").write_text(f"{now} {root}\n")

    def demo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """scripts/demo in a pipe."""
        return run([self.root / "scripts" / "demo", *arguments])

    def shell(self, script: str, path: str) -> subprocess.CompletedProcess[str]:
        """*script* after scripts/lib/setup.sh."""
        return run(
            ["sh", "-c", f"set -eu; cd {self.root}; . scripts/lib/setup.sh; {script}"],
            env=environment(PATH=path),
        )


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


class Terminal:
    """*command* on a terminal of its own, its PATH without hingfs."""

    def __init__(self, command: Path, **variables: str) -> None:
        self.said = ""
        self._fd, theirs = pty.openpty()
        self.process = subprocess.Popen(
            # The runner of the tests may ignore SIGHUP, as nohup has it.
            ["setsid", "--ctty", "env", "--default-signal=HUP", command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(PATH=PATH, **variables),
        )
        os.close(theirs)

    def read_until(self, words: str) -> str:
        """Read up to the line with *words*; that line."""
        while not (found := re.search(f"{words}.*\r\n", self.said)):
            self.said += os.read(self._fd, 65536).decode()
        return found[0].strip()

    def close(self) -> None:
        """Close it, as its window is closed."""
        os.close(self._fd)


@contextlib.contextmanager
def on_terminal(checkout: Checkout, **variables: str) -> Iterator[Terminal]:
    terminal = Terminal(checkout.root / "scripts" / "demo", **variables)
    try:
        yield terminal
    finally:
        terminal.process.kill()
        terminal.process.wait()


# --- scripts/demo -------------------------------------------------------------------------


def test_help_is_help_and_no_directory(checkout: Checkout) -> None:
    shutil.rmtree(checkout.root / ".venv")  # help installs nothing

    for option in ("--help", "-h"):
        done = checkout.demo(option)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("usage: scripts/demo [DIR]")
    for wrong in (["--check"], ["one", "two"]):
        done = checkout.demo(*wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert "usage: scripts/demo [DIR]" in done.stderr
    assert not (checkout.root / ".venv").exists()


@pytest.mark.fuse
def test_the_command_that_it_tells_works(checkout: Checkout) -> None:
    """In another shell of this person, where hingfs is not on the PATH."""
    with on_terminal(checkout) as terminal:
        told = terminal.read_until("in another shell: ").partition(": ")[2]
        directory = Path(told.split()[-1])
        assert mount_line(directory) is not None

        done = run(["sh", "-c", told], env=environment(PATH=PATH))

        assert (done.returncode, done.stderr) == (0, "")
        assert terminal.process.wait(30) == 0
        terminal.close()
        assert not directory.exists()


@pytest.mark.fuse
@pytest.mark.parametrize("api", ["its own", "the service"])
def test_the_demo_ends_with_its_terminal(checkout: Checkout, api: str) -> None:
    """No mount is left, and no directory."""
    with FakeEndpoint() as endpoint:
        endpoint.add("v", size_bytes=1000)
        service = {
            "HINGFS_TOKEN": endpoint.token,
            "HINGFS_BASE_URL": endpoint.base_url,
            "XDG_STATE_HOME": str(checkout.root),
        }
        variables = service if api == "the service" else {}
        with on_terminal(checkout, **variables) as terminal:
            last = terminal.read_until("Enter unmounts" if variables else "umount ")
            directory = Path(re.findall(r"/tmp/[\w./-]*", terminal.said)[-1])
            directory = directory.parent if "<video_id>" in last else directory
            eventually(lambda: mount_line(directory) is not None, str(directory))

            terminal.close()

            try:
                eventually(lambda: mount_line(directory) is None, "no mount")
                eventually(lambda: not directory.exists(), "no directory")
            finally:
                detach(directory)


# --- what is installed -------------------------------------------------------------------

DPKG = 'for n in $(seq 160); do echo "Selecting previously unselected package $n"; done'


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH where nothing is installed yet; `apt-get` notes what it is to install."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("cat", "env", "grep", "head", "id", "mktemp", "rm", "seq", "sh", "tr"):
        (programs / name).symlink_to(shutil.which(name) or name)
    program(programs / "find", "#!/bin/sh\necho lists of an archive\n")
    program(programs / "ldconfig", "#!/bin/sh\n")
    program(programs / "sudo", '#!/bin/sh\nexec "$@"\n')
    program(programs / "dpkg-query", "#!/bin/sh\nexit 1\n")
    program(programs / "apt-cache", "#!/bin/sh\necho '  Candidate: 1.0'\n")
    program(
        programs / "apt-get",
        f'#!/bin/sh\n{DPKG}\necho "$@" >>{tmp_path}/asked\nexit ${{FAILS:-0}}\n',
    )
    return programs


def test_what_is_installed_is_told_in_a_line_a_step(
    checkout: Checkout, bare: Path
) -> None:
    done = checkout.shell("install_packages one two", str(bare))

    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "hingfs: fetching the package lists (apt-get update)",
        "hingfs: installing system packages: one two",
    ]


def test_an_installation_that_fails_is_shown(checkout: Checkout, bare: Path) -> None:
    done = checkout.shell("FAILS=100 install_packages one", str(bare))

    assert done.returncode == 1
    assert "unselected package 160" in done.stderr
    assert done.stderr.endswith("hingfs: apt-get could not install: one\n")


@pytest.mark.parametrize(
    ("has", "asked"),
    [((), ["fuse3"]), (("fusermount3",), ["fuse3"]), (("fusermount3", "lib"), [])],
    ids=["nothing", "a program alone", "all"],
)
def test_no_more_is_installed_than_libfuse_3_lacks(
    checkout: Checkout, bare: Path, has: tuple[str, ...], asked: list[str]
) -> None:
    """No package need bring libfuse 3. libfuse 2 is for the tests."""
    if "fusermount3" in has:
        program(bare / "fusermount3", "#!/bin/sh\n")
    library = "libfuse3.so.3 => /opt/libfuse3.so.3" if "lib" in has else "none"
    program(bare / "ldconfig", f"#!/bin/sh\necho '{library}'\n")

    assert checkout.shell("install_fuse", str(bare)).returncode == 0

    noted = bare.parent / "asked"
    lines = noted.read_text().splitlines() if noted.exists() else []
    assert [line.split()[-1] for line in lines if "install" in line] == asked
