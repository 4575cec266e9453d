"""The log of a mount: where it is, who can read it, how large it grows, what it says."""

import logging
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs import log
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import (
    BINDINGS,
    Mounted,
    each_binding,
    environment,
    eventually,
    hingfs,
    mount_directory,
    mount_in_background,
    mount_line,
    require_fuse,
)
from tests.support.reading import errno_of

TOKEN = "oh-test-token"
NOBODY = 65534
DIRECTORY = Path("/mnt/hing")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """What `log.begin` changes in this process is undone."""
    root, ours = logging.getLogger(), logging.getLogger("hingfs")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    yield
    for handler in list(root.handlers):
        root.removeHandler(handler)
        if handler not in handlers:
            handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory of this user."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    return tmp_path / "state"


def begin(directory: Path = DIRECTORY, most_bytes: int = log.MOST_BYTES) -> log.Target:
    return log.begin("info", str, background=directory, most_bytes=most_bytes)


def say(text: str) -> None:
    logging.getLogger("hingfs.test").info("%s", text)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- its name -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("/mnt/hing", "mnt-hing"),
        ("/home/me/my-videos", "home-me-my%2Dvideos"),
        ("/home/me/视频", "home-me-视频"),
        ("/a b/100%", "a%20b-100%25"),
        ("/odd\n\x1b[31m", "odd%0A%1B%5B31m"),
        ("/latin-\udce4", "latin%2D%E4"),
    ],
)
def test_a_person_knows_the_directory_by_the_name(directory: str, name: str) -> None:
    assert log.name_for(Path(directory)) == name


PARTS = st.lists(st.text("ab-~%._ /ä\n", min_size=1, max_size=90), max_size=6)


@given(PARTS, PARTS)
def test_two_directories_never_share_a_log(one: list[str], other: list[str]) -> None:
    first, second = Path("/", *one), Path("/", *other)

    assert (log.name_for(first) == log.name_for(second)) == (
        first.parts[1:] == second.parts[1:]  # "//" is the root as well
    )
    assert len(os.fsencode(log.name_for(first))) <= 200
    assert "/" not in log.name_for(first)


# --- its place ----------------------------------------------------------------------------


def test_only_its_owner_can_read_it(state: Path) -> None:
    (state / "hingfs").mkdir(mode=0o755, parents=True)
    file = state / "hingfs" / "mnt-hing.log"
    file.touch(mode=0o644)

    assert begin() == log.Target(str(file))

    say("something")
    assert file.read_text().endswith("something\n")
    assert (mode_of(file), mode_of(file.parent)) == (0o600, 0o700)


@pytest.mark.parametrize("relative", ["", "state"])
def test_without_a_state_directory_it_is_below_home(
    relative: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative one is none, says the XDG specification."""
    monkeypatch.setenv("XDG_STATE_HOME", relative)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert begin().name == f"{tmp_path}/.local/state/hingfs/mnt-hing.log"


def test_root_without_a_home_has_the_system_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from fstab; and a home of another user's, which `sudo` may leave, is none."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)

    for value in ("", str(home), "relative"):
        monkeypatch.setenv("HOME", value)
        target = log.begin(
            "info", str, background=DIRECTORY, of_root=tmp_path / "var" / "hingfs"
        )
        assert target.name == f"{tmp_path}/var/hingfs/mnt-hing.log"
    assert list(home.iterdir()) == []


def test_others_without_a_home_have_no_log_and_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)

    assert begin() == log.Target(
        "",
        "there is no log: HOME names no directory of yours; choose another with "
        "--log-file",
    )


def directory_of_another(state: Path) -> None:
    (state / "hingfs").mkdir(mode=0o777)
    os.chown(state / "hingfs", NOBODY, NOBODY)


def planted_link_to_a_directory(state: Path) -> None:
    (state / "mine").mkdir()
    (state / "hingfs").symlink_to("mine")
    os.lchown(state / "hingfs", NOBODY, NOBODY)


def file_of_another(state: Path) -> None:
    (state / "hingfs").mkdir()
    (state / "hingfs" / "mnt-hing.log").touch()
    os.chown(state / "hingfs" / "mnt-hing.log", NOBODY, NOBODY)


def planted_link_to_a_file(state: Path) -> None:
    (state / "hingfs").mkdir()
    (state / "precious").touch()
    (state / "hingfs" / "mnt-hing.log").symlink_to("../precious")


def second_name_of_a_file(state: Path) -> None:
    (state / "hingfs").mkdir()
    (state / "precious").touch()
    (state / "hingfs" / "mnt-hing.log").hardlink_to(state / "precious")


def fifo(state: Path) -> None:
    (state / "hingfs").mkdir()
    os.mkfifo(state / "hingfs" / "mnt-hing.log")


def no_directory(state: Path) -> None:
    (state / "hingfs").touch()


@pytest.mark.parametrize(
    "plant",
    [
        directory_of_another,
        planted_link_to_a_directory,
        file_of_another,
        planted_link_to_a_file,
        second_name_of_a_file,
        fifo,
        no_directory,
    ],
)
def test_what_somebody_else_put_there_is_not_written_to(
    plant: object, state: Path
) -> None:
    state.mkdir()
    assert callable(plant)
    plant(state)

    place = begin()
    say("private")

    assert place.name == ""
    assert place.warning.startswith(f"there is no log: {state}/hingfs")
    written = [path for path in state.rglob("*") if path.is_file()]
    assert all(path.stat().st_size == 0 for path in written)


# --- its size -----------------------------------------------------------------------------


def test_a_log_is_rotated_at_its_bound(state: Path) -> None:
    target = begin(most_bytes=1000)

    for number in range(100):
        say(f"line {number:02d}")

    files = sorted((state / "hingfs").iterdir())
    assert [str(file) for file in files] == [target.name, f"{target.name}.1"]
    assert all(file.stat().st_size <= 1000 for file in files)
    text = "".join(file.read_text() for file in reversed(files))
    said = [line.rpartition(" ")[2] for line in text.splitlines()]
    assert said == [f"{number:02d}" for number in range(100)][-len(said) :]
    assert len(said) > 10
    assert [mode_of(file) for file in files] == [0o600, 0o600]


def test_two_mounts_of_one_directory_lose_no_line_by_rotation(state: Path) -> None:
    """One was detached lazily and lives on; each line stands in one of the files."""
    begin(most_bytes=1000)
    (one,) = logging.getLogger().handlers
    begin(most_bytes=1000)
    logging.getLogger().addHandler(one)
    try:
        for number in range(8):  # twice 8 lines: one rotation
            say(f"line {number}")
    finally:
        logging.getLogger().removeHandler(one)
        one.close()

    text = "".join(file.read_text() for file in (state / "hingfs").iterdir())
    assert [text.count(f"line {number}\n") for number in range(8)] == [2] * 8


def test_a_log_that_somebody_removed_is_made_again(state: Path) -> None:
    place = begin()
    say("before")
    Path(place.name).unlink()
    Path(place.name).parent.rmdir()

    log.reopen()
    say("after")

    assert Path(place.name).read_text().endswith("after\n")


def test_a_mount_that_had_nothing_to_say_leaves_no_file(state: Path) -> None:
    begin(Path("/mnt/silent"))
    (silent,) = logging.getLogger().handlers
    begin(Path("/mnt/other"))
    say("something")
    (other,) = logging.getLogger().handlers
    silent.close()
    other.close()
    say("too late, and in no file that was opened since")

    (file,) = (state / "hingfs").iterdir()
    assert file.name == "mnt-other.log"
    assert len(file.read_text().splitlines()) == 1


def test_a_full_disk_ends_nothing(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begin()
    (handler,) = logging.getLogger().handlers
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(handler, "_file", full)

    say("nowhere")

    assert capsys.readouterr().err == ""


# --- its lines ----------------------------------------------------------------------------


def test_threads_that_libfuse_made_are_called_so(state: Path) -> None:
    """Python calls them Dummy-1 and on."""
    place = begin()
    thread = threading.Thread(target=say, args=("hello",), name="Dummy-7")
    thread.start()
    thread.join()

    assert " INFO fuse hingfs.test: hello\n" in Path(place.name).read_text()


def test_libraries_speak_from_warning_on(state: Path) -> None:
    place = log.begin("debug", str, background=DIRECTORY)

    for name in ("urllib3.connectionpool", "fuse", "hingfs.test"):
        logging.getLogger(name).debug("debug of %s", name)
        logging.getLogger(name).info("info of %s", name)
    logging.getLogger("fuse").warning("warning of fuse")

    text = Path(place.name).read_text()
    assert [line.split(": ")[1] for line in text.splitlines()] == [
        "debug of hingfs.test",
        "info of hingfs.test",
        "warning of fuse",
    ]


@pytest.mark.fuse
@each_binding
def test_debug_begins_with_our_lines_and_names_what_could_not_be_read(
    binding: str,
) -> None:
    with FakeEndpoint() as endpoint:
        video = endpoint.add("video_abc", size_bytes=3_000_000)
        with Mounted(endpoint, binding) as mounted:
            with mounted.path("video_abc").open("rb") as opened:
                endpoint.wait_until_idle()
                video.replace()
                assert errno_of(lambda: os.pread(opened.fileno(), 10, 2_000_000)) == (
                    "ESTALE"
                )
            lines = mounted.log.splitlines()
    assert "hingfs.mount.serving: hingfs " in lines[0]
    assert (
        f"mounts {endpoint.base_url} on {mounted.directory} with {binding}" in lines[0]
    )
    assert all(" hingfs." in line for line in lines), lines
    assert not [line for line in lines if "Dummy-" in line]
    failed = [line for line in lines if "ESTALE" in line]
    assert failed
    assert all(" read video_abc.mp4: " in line for line in failed)


# --- mounts in the background -----------------------------------------------------------------


@pytest.mark.fuse
def test_a_background_mount_says_where_it_logs_and_logs_there(tmp_path: Path) -> None:
    require_fuse()
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        endpoint.add("broken", status="failed")
        done = mount_in_background(
            endpoint,
            directory,
            "--fuse",
            BINDINGS[1],
            XDG_STATE_HOME=str(tmp_path),
        )

        file = tmp_path / "hingfs" / f"{log.name_for(directory)}.log"
        assert done.stdout.splitlines()[-1] == f"  log: {file}"
        assert file.read_text() == ""
        assert errno_of(lambda: os.stat(directory / "broken.mp4")) == "EIO"
        assert (
            " ERROR fuse hingfs.mount.operations: getattr broken.mp4: "
            in file.read_text()
        )
        assert hingfs("umount", directory).returncode == 0


@pytest.mark.fuse
def test_a_mount_without_a_log_mounts_with_one_warning(tmp_path: Path) -> None:
    require_fuse()
    (tmp_path / "state").touch()
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        video = endpoint.add("video", size_bytes=1000)
        done = mount_in_background(
            endpoint,
            directory,
            "--fuse",
            BINDINGS[0],
            XDG_STATE_HOME=str(tmp_path / "state"),
        )

        assert done.returncode == 0
        assert done.stderr.splitlines() == [
            (
                f"hingfs: warning: there is no log: {tmp_path}/state/hingfs: "
                "Not a directory; choose another with --log-file"
            )
        ]
        assert (directory / "video.mp4").read_bytes() == video.read(0, 1000)
        assert hingfs("umount", directory).returncode == 0


@pytest.mark.fuse
@each_binding
def test_under_systemd_it_logs_to_the_journal_with_priorities(binding: str) -> None:
    """A service of Type=forking: standard error is the journal's, and stays open."""
    require_fuse()
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        endpoint.add("broken", status="failed")
        reading, writing = os.pipe()
        try:
            journal = os.fstat(writing)
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "hingfs", "mount", str(directory)),
                    *("--base-url", endpoint.base_url, "--fuse", binding),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=writing,
                text=True,
                check=True,
                env=environment(
                    HINGFS_TOKEN=endpoint.token,
                    JOURNAL_STREAM=f"{journal.st_dev}:{journal.st_ino}",
                ),
            )
        finally:
            os.close(writing)

        with os.fdopen(reading) as lines:
            assert done.stdout.splitlines()[-1] == "  log: the journal"
            assert errno_of(lambda: os.stat(directory / "broken.mp4")) == "EIO"
            line = lines.readline()
            assert line.startswith(
                "<3>fuse hingfs.mount.operations: getattr broken.mp4: "
            )
            assert hingfs("umount", directory).returncode == 0
            eventually(lambda: mount_line(directory) is None, "the unmount")
