"""Every message of the command line, as a person meets it: what happened, what to do.

Each stands here as it is printed; read them aloud. The first line says what happened.
"""

import contextlib
import ctypes
import io
import math
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hingfs import invocation
from hingfs.cli import main as cli
from hingfs.cli import mount
from hingfs.errors import MountpointError, TokenError
from hingfs.given import Given
from hingfs.mount import fusermount, mount_table, mountpoint
from hingfs.settings import SETTINGS
from hingfs.token import Token
from tests.cli.conftest import TOKEN, Refusal, rows
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import (
    HINGFS,
    Mounted,
    each_binding,
    hingfs,
    mount_line,
    own_mount,
)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with one of each: what DIR can be."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "full" / "folder").mkdir(parents=True)
    (tmp_path / "file").touch(mode=0o600)
    (tmp_path / "two words").touch(mode=0o600)
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "open").touch(mode=0o644)
    return tmp_path


# What is typed, with D for that directory; what is said.
ARGUMENTS = rows("""
| `hingfs` needs a command: mount, umount, info, latest, wait, warm, keep, drop, cache, demo
explode | there is no such command; choose mount, umount, info, latest, wait, warm, keep, drop, cache, demo
mout D | there is no such command; did you mean mount?
mount | `hingfs mount` needs a directory: DIR
umount | `hingfs umount` needs a directory: DIR
mount D/empty --token oh-secret | tokens come from HINGFS_TOKEN or from --token-file FILE, never from an argument, since `ps` shows those to everybody
mount --tok oh-secret D/empty | tokens come from HINGFS_TOKEN or from --token-file FILE, never from an argument, since `ps` shows those to everybody
mount D/empty --api-key=oh-secret | tokens come from HINGFS_TOKEN or from --token-file FILE, never from an argument, since `ps` shows those to everybody
mount D/empty --bogus | `hingfs mount` has no option --bogus
mount D/empty --cach-size 1MiB | `hingfs mount` has no option --cach-size; did you mean --cache-size?
umount D/empty --lasy | `hingfs umount` has no option --lasy; did you mean --lazy?
demo D/empty --chek | `hingfs demo` has no option --chek; did you mean --check?
cache shrink | there is no such command; choose verify, trim, clear
mount D/empty more | `hingfs mount` takes one DIR, and got 2 arguments; put a name with blanks into quotes
mount D/empty --cache 1G | `hingfs mount` has no option --cache; did you mean --cache-size or --cache-dir?
mount D/empty --verbose | `hingfs mount` has no option --verbose; did you mean --log-level debug?
mount D/empty --foreground=yes | --foreground takes no value
mount D/empty --cache-size | --cache-size needs a value: --cache-size SIZE
""")
USAGES = {
    "mount": "hingfs mount [OPTION]... DIR",
    "umount": "hingfs umount [-h] [--lazy] DIR",
    "cache": "hingfs cache [--json] [--cache-dir DIR] [COMMAND ...]",
    "demo": "hingfs demo [-h] [--check] [DIR]",
    "": "hingfs [-h] [--version] COMMAND ...",
}


@pytest.mark.parametrize(("typed", "said"), ARGUMENTS)
def test_what_cannot_be_understood_shows_the_usage_of_its_command(
    typed: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = typed.replace("D", str(here)).split()

    with pytest.raises(SystemExit) as caught:
        cli.main(words)

    command = words[0] if words and words[0] in USAGES else ""
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert err == (
        f"hingfs: {said}\n"
        f"  usage: {USAGES[command]}\n"
        f"  help:  {f'hingfs {command}'.strip()} --help\n"
    )
    assert "oh-secret" not in err


MOUNTS = rows("""
none | D/none does not exist; make it: mkdir -p D/none
a b | D/a b does not exist; make it: mkdir -p 'D/a b'
dangling | D/none does not exist; make it: mkdir -p D/none
loop | D/loop cannot be mounted on: Too many levels of symbolic links
file | D/file is a file, and a mount needs a directory; choose an empty one
file/x | D/file/x is below a file, and a mount needs a directory; choose an empty one
full | D/full is not empty, and a mount would hide what is in it; choose an empty directory
""")


@pytest.mark.fuse
@pytest.mark.parametrize(("directory", "said"), MOUNTS)
def test_a_directory_that_cannot_be_mounted_on_is_told_with_what_it_is(
    directory: str, said: str, here: Path, refusal: Refusal
) -> None:
    assert refusal(6, "mount", here / directory) == said.replace("D/", f"{here}/")


def test_an_empty_name_is_not_the_current_directory(refusal: Refusal) -> None:
    for command in ("mount", "umount"):
        said = "DIR is empty; name the directory of the mount"
        assert refusal(2, command, "") == said


def test_a_directory_that_may_not_be_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a plain user; the tests are root, which may."""

    def refuse(_path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)

    with pytest.raises(MountpointError) as caught:
        mountpoint.prepare(tmp_path)

    assert str(caught.value) == (
        f"you may not look into {tmp_path}; choose a directory of your own"
    )


@contextlib.contextmanager
def dead_mount(directory: Path, kind: str) -> Iterator[None]:
    """A FUSE mount of *kind* at *directory* whose process is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    mounted = libc.mount(b"other", os.fsencode(directory), kind.encode(), 0, options)
    os.close(device)
    assert mounted == 0, os.strerror(ctypes.get_errno())
    yield
    subprocess.run(["umount", directory], check=True)


@pytest.mark.fuse
def test_a_dead_mount_of_another_program_is_named(here: Path, refusal: Refusal) -> None:
    with dead_mount(here / "empty", "fuse.sshfs"):
        assert refusal(6, "mount", here / "empty") == (
            f"{here}/empty is a dead mount of fuse.sshfs; take it away first: "
            f"fusermount3 -u {here}/empty"
        )
        assert refusal(8, "umount", here / "empty") == (
            f"{here}/empty is a mount of fuse.sshfs, not of hingfs; end it as it "
            f"was made, or by: umount {here}/empty"
        )


def test_a_helper_that_hangs_is_named_and_another_way(
    here: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = here / "fusermount3"
    helper.write_text("#!/bin/sh\nexec sleep 60\n")
    helper.chmod(0o755)
    entry = mount_table.MountEntry(str(here / "empty"), "fuse.hingfs", "0:99")
    monkeypatch.setattr(mount_table, "entries", lambda: iter([entry]))
    monkeypatch.setattr(mountpoint, "_HELPER_SECONDS", 0.1)
    monkeypatch.setattr(fusermount, "program", lambda: str(helper))

    assert refusal(6, "umount", here / "empty") == (
        f"cannot unmount {here}/empty: {helper} hangs; try: "
        f"{invocation.command()} umount --lazy {here}/empty"
    )


REFUSALS = [
    (
        faults.status(503, body=b'{"error": {"message": "overloaded", "code": "x"}}'),
        4,
        (
            "U answers, but not as it should: the server answered HTTP 503: overloaded. "
            "Try again later, or mount with --no-check"
        ),
    ),
    (
        faults.status(
            401, body=b'{"error": {"message": "Incorrect API key", "code": 1}}'
        ),
        3,
        (
            "U: the API refused the token (HTTP 401): Incorrect API key; the token is "
            "from HINGFS_TOKEN"
        ),
    ),
    (
        faults.status(402, body=b'{"message": "Insufficient balance"}'),
        3,
        (
            "U: the API asks for payment (HTTP 402): Insufficient balance; the token is "
            "from HINGFS_TOKEN"
        ),
    ),
]


@pytest.mark.fuse
@pytest.mark.parametrize(("fault", "status", "said"), REFUSALS)
def test_what_an_endpoint_says_instead_of_a_list_is_quoted(
    *,
    fault: faults.Fault,
    status: int,
    said: str,
    here: Path,
    endpoint: FakeEndpoint,
    refusal: Refusal,
) -> None:
    endpoint.inject(fault, math.inf)

    options = ("--base-url", endpoint.base_url, "--metadata-timeout", "3s")
    told = refusal(status, "mount", here / "empty", *options)

    assert told == said.replace("U", endpoint.base_url, 1)
    assert mount_line(here / "empty") is None


def _answering_plainly(server: socket.socket) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:  # closed
            return
        with client:
            client.recv(1)
            client.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


@pytest.mark.fuse
def test_https_at_a_port_of_http_is_told_as_that(here: Path, refusal: Refusal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        thread = threading.Thread(target=_answering_plainly, args=(server,))
        thread.start()

        said = refusal(4, "mount", here / "empty", "--base-url", url)

        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert said == (
        f"cannot reach {url}: TLS: this port does not speak it, perhaps http. "
        "Check --base-url"
    )


@pytest.mark.fuse
@each_binding
def test_a_dead_mount_stays_until_its_successor_comes(
    binding: str, here: Path, endpoint: FakeEndpoint, refusal: Refusal
) -> None:
    """Programs would take the empty directory below it for one without videos."""
    directory, killed = here / "empty", -signal.SIGKILL
    with Mounted(endpoint, binding, directory=directory, exit_status=killed) as mounted:
        mounted.send(signal.SIGKILL)
        assert mounted.wait() == killed
    endpoint.stop()

    said = refusal(4, "mount", directory, "--base-url", endpoint.base_url)
    assert "cannot reach" in said
    with pytest.raises(OSError, match="not connected"):
        os.listdir(directory)
    assert cli.main(["umount", str(directory)]) == 0


class Told(io.StringIO):
    """Standard error, which tells when a line has come."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed = threading.Event()

    def flush(self) -> None:
        self.flushed.set()


def test_a_terminal_is_told_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    for on_terminal, said in ((True, "hingfs: waiting; Ctrl-C ends it\n"), (False, "")):
        stderr = Told()
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setattr(os, "isatty", lambda _: on_terminal)  # noqa: B023
        threads = threading.active_count()
        with mount._saying_when_slow("waiting", after_seconds=0.01):
            assert stderr.flushed.wait(10 if on_terminal else 0.1) is on_terminal
        assert stderr.getvalue() == said
        assert threading.active_count() == threads


UNMOUNTS = rows("""
empty | D/empty is a directory and nothing is mounted on it
file | D/file is a file and nothing is mounted on it
none | D/none does not exist
""")


@pytest.mark.parametrize(("directory", "said"), UNMOUNTS)
def test_umount_says_what_is_there_instead_and_which_mounts_there_are(
    *,
    directory: str,
    said: str,
    here: Path,
    refusal: Refusal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = mount_table.MountEntry("/mnt/hing", "fuse.hingfs", "0:99")
    for entries, there in (([], "none"), ([entry], "/mnt/hing")):
        monkeypatch.setattr(mount_table, "entries", lambda: iter(entries))  # noqa: B023

        expected = f"{said.replace('D/', f'{here}/')}; mounts of hingfs here: {there}"
        assert refusal(8, "umount", here / directory) == expected


def test_umount_leaves_another_kind_of_mount(refusal: Refusal) -> None:
    assert refusal(8, "umount", "/proc") == (
        "/proc is a mount of proc, not of hingfs; end it as it was made, or by: "
        "umount /proc"
    )
    assert Path("/proc/self").exists()


@pytest.mark.fuse
@each_binding
def test_inside_another_mount_its_name_is_said(binding: str) -> None:
    """There, `mkdir -p` would not help."""
    with own_mount(binding) as (_endpoint, mounted):
        inside = mounted.directory / "folder"

        refused = hingfs("mount", inside, HINGFS_TOKEN=TOKEN)
        umount = hingfs("umount", inside)

        assert (refused.returncode, umount.returncode) == (6, 8)
        assert refused.stderr == (
            f"hingfs: {inside} is inside the hingfs mount on {mounted.directory}; choose "
            "a directory outside of it\n"
        )
        assert umount.stderr == (
            f"hingfs: {inside} is inside the hingfs mount on {mounted.directory}; to end "
            f"that: {HINGFS} umount {mounted.directory}\n"
        )


MEMORY = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f}GiB"
VALUES = rows(f"""
--cache-size much | 'much' is not a size; write it as 128MiB, 64K or 1048576
--cache-size 1KiB | 1KiB is too small; it holds at least 8 blocks of 128KiB
--cache-size 999TiB | 999TiB is more than the memory of this machine, which is {MEMORY}
--dir-mode 0 | nobody can enter a directory of mode 0000; try 0755
--dir-mode 0644 | nobody can enter a directory of mode 0644; try 0755
--uid 4294967295 | 4294967295 is not one of 0 to 4294967294
--gid 4294967296 | 4294967296 is not one of 0 to 4294967294
--block-size 300 | 300 is no power of two from 4KiB to 8MiB
--read-timeout soon | 'soon' is not a time; write it as 30s, 500ms or 2m
--read-timeout 0 | it takes a time longer than 0, such as 30s
--metadata-timeout 999999d | a time of more than 7d is no time-out; write it as 30s
--connections many | 'many' is not a whole number
--connections 0 | 0 is not one of 1 to 64
--uid nobodyx | 'nobodyx' is no user here
--gid nobodyx | 'nobodyx' is no group here
--log-level chatty | 'chatty' is no level; choose debug, info, warning or error
--fuse fuse4 | 'fuse4' is no FUSE library; choose mfusepy, fusepy or auto
--cache-dir /none | /none is no directory that you can write; make it, or choose another
--log-file /none/log | /none/log is no file that you can write; make its directory, or choose another
--base-url example.com | 'example.com' is no base URL, which looks like https://api.example.com
--base-url me:secret@example.com | what is given is no base URL, which looks like https://api.example.com
--base-url https://example.com:port | 'https://example.com:port' is no URL; is its port one of 1 to 65535?
--base-url https://me:secret@example.com | it holds no user name, password, query or fragment; the token goes into HINGFS_TOKEN or a token file
--base-url http://example.com | http://example.com would send the token unencrypted; use https, or add --insecure-http if you trust the whole way to that server
""")


# Of which an option has no value.
SWITCHES = rows("""
--foreground ja | 'ja' says neither; write yes or no
--no-check 2 | '2' says neither; write yes or no
""")


@pytest.mark.parametrize(
    ("by", "typed", "said"),
    [
        *(("option", *row) for row in VALUES),
        *(("variable", *row) for row in [*VALUES, *SWITCHES]),
    ],
)
def test_a_wrong_value_is_told_with_its_option_or_variable(
    *,
    by: str,
    typed: str,
    said: str,
    here: Path,
    refusal: Refusal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, value = typed.split()
    words = [name, value] if by == "option" else []
    if by == "variable":
        (name,) = (one.variable for one in SETTINGS if one.flag == name)
        monkeypatch.setenv(name, value)

    assert refusal(2, "mount", here / "empty", *words) == f"{name}: {said}"


# --- a variable that is none ----------------------------------------------------------------


MISSPELT = rows("""
HINGFS_CACHE_SIZ | ; did you mean HINGFS_CACHE_SIZE?
HINGFS_TOKN | ; did you mean HINGFS_TOKEN?
HINGFS_BASEURL | ; did you mean HINGFS_BASE_URL?
hingfs_base_url | ; did you mean HINGFS_BASE_URL?
HINGFS_INSECURE_HTPP | ; did you mean HINGFS_INSECURE_HTTP?
HINGFS_QUX |
""")


@pytest.mark.parametrize(("name", "meant"), MISSPELT)
def test_a_misspelt_variable_is_a_warning_and_with_strict_an_error(
    *,
    name: str,
    meant: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(name, "oh-secret")
    sentence = f"the variable {name} is no setting{meant}"

    assert cli.main(["mount", str(here / "none")]) == 6
    warning, error = capsys.readouterr().err.splitlines()
    assert warning == f"hingfs: warning: {sentence}"
    assert "does not exist" in error

    assert cli.main(["mount", str(here / "none"), "--strict"]) == 2
    assert capsys.readouterr().err == f"hingfs: {sentence}\n"


def test_no_variable_of_an_option_is_taken_for_misspelt() -> None:
    known = {one.variable: "x" for one in SETTINGS}
    known |= {"HINGFS_TOKEN": "x", "PATH": "/bin"}

    assert Given({}, known).misspelt() == []


# --- tokens ---------------------------------------------------------------------------------


UNDERSTOOD = [
    "oh-token",
    " oh-token\r\n",
    "\ufeffoh-token\n",
    "Bearer oh-token",
    "bearer   oh-token\n",
    "'oh-token'",
    '"Bearer oh-token"\n',
    "Authorization: Bearer oh-token",
    "HINGFS_TOKEN=oh-token\n",
    'export HINGFS_TOKEN="oh-token"\n',
]


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_what_people_copy_beside_a_token_is_left_out(text: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(text, newline="")

    assert Token(file=file).read() == "oh-token"
    assert Token(text.removeprefix("\ufeff")).read() == "oh-token"


@pytest.mark.parametrize(
    "token", ["bearer-of-bad-news", "Bearer", "HINGFS", "a=b==", "'"]
)
def test_a_token_that_looks_so_is_left_as_it_is(token: str) -> None:
    if token == "Bearer":
        with pytest.raises(TokenError, match="HINGFS_TOKEN holds no token"):
            Token(token).read()
    else:
        assert Token(token).read() == token


NO_TOKENS = [
    ("", "holds no token; put the API token there, as oh-…"),
    ("Bearer ", "holds no token; put the API token there, as oh-…"),
    (
        "one two",
        "holds more than one token: 2 words; it should hold the API token alone, as oh-…",
    ),
    (
        "one\ntwo\nthree",
        "holds more than one token: 3 lines; it should hold the API token alone, as oh-…",
    ),
    (
        "oh-…",
        (
            "does not hold a token: it has a character that no header can hold; it should "
            "hold the API token alone, as oh-…"
        ),
    ),
]


@pytest.mark.parametrize(("text", "said"), NO_TOKENS)
def test_a_file_without_one_token_is_told_without_its_text(
    text: str, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(text)

    with pytest.raises(TokenError) as caught:
        Token(file=file).read()

    assert str(caught.value) == f"token file {file} {said}"


FILES = rows("""
none | token file D/none: No such file or directory; it holds the API token alone, and --token-file or HINGFS_TOKEN_FILE names it
full | token file D/full: Is a directory; it holds the API token alone, and --token-file or HINGFS_TOKEN_FILE names it
open | token file D/open can be used by other users; run: chmod 600 D/open
file | token file D/file holds no token; put the API token there, as oh-…
""")


@pytest.mark.parametrize(("file", "said"), FILES)
def test_a_token_file_that_cannot_be_used_is_told_with_what_it_is(
    file: str, said: str, here: Path, refusal: Refusal
) -> None:
    told = refusal(3, "mount", here / "empty", "--token-file", here / file)

    assert told == said.replace("D/", f"{here}/")


def test_without_a_token_both_ways_to_give_one_are_told(
    here: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for blank in ("", "  "):
        monkeypatch.setenv("HINGFS_TOKEN", blank)
        assert "HINGFS_TOKEN" in refusal(3, "mount", here / "empty")
    monkeypatch.delenv("HINGFS_TOKEN", raising=False)

    assert refusal(3, "mount", here / "empty") == (
        "no token is given; put it into HINGFS_TOKEN (export HINGFS_TOKEN=oh-…), "
        "or into a file of mode 0600 that --token-file or HINGFS_TOKEN_FILE names"
    )


@pytest.mark.fuse
def test_a_server_that_is_not_there_is_told_with_its_url(
    here: Path, refusal: Refusal
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    # Nobody listens there any more.

    assert refusal(4, "mount", here / "empty", "--base-url", url) == (
        f"cannot reach {url}: Connection refused. Check --base-url and the "
        "network, or skip this check with --no-check"
    )
