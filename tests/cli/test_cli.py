"""The command line: what it accepts, what it says, and the status it ends with."""

import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from hingfs import __version__
from hingfs.cli import main as cli
from hingfs.given import Given
from hingfs.mount import serving as mount
from hingfs.settings import SETTINGS, Config
from hingfs.token import Token
from tests.cli.conftest import TOKEN, Refusal
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import (
    Mounted,
    each_binding,
    hingfs,
    mount_line,
    run,
)
from tests.support.personalities import PERSONALITIES


@pytest.fixture
def server() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(token=TOKEN) as endpoint:
        yield endpoint


# --- refusals ---------------------------------------------------------------------------


@pytest.mark.fuse
def test_a_lookup_that_still_hangs_after_the_check_is_status_4(
    refusal: Refusal,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    server: FakeEndpoint,
) -> None:
    """The daemon would be forked in the middle of it, and might never look up a name."""
    real, hangs, over = socket.getaddrinfo, [True], threading.Event()

    def find(host: object, *args: object, **options: object) -> object:
        if host != "api.hing.test":
            return real(host, *args, **options)  # type: ignore[arg-type]
        if hangs:
            hangs.clear()
            over.wait()
        return real("127.0.0.1", *args)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", find)
    monkeypatch.setattr(mount, "_CHECK_ENDS_SECONDS", 0.0)
    base_url = server.base_url.replace("127.0.0.1", "api.hing.test")
    options = ("--insecure-http", "--connect-timeout", "50ms", "--base-url", base_url)
    try:
        said = refusal(4, "mount", tmp_path, *options)
    finally:
        over.set()

    assert "lookup" in said
    assert server.requests_of("list")  # the check itself went well


@pytest.mark.parametrize("token", ["two words", "control\x01", "ünicode"])
def test_a_token_that_cannot_be_sent_is_status_3(
    refusal: Refusal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str
) -> None:
    monkeypatch.setenv("HINGFS_TOKEN", token)

    assert token not in refusal(3, "mount", tmp_path)


@pytest.mark.slow
def test_a_name_that_does_not_resolve_is_status_4(
    refusal: Refusal, tmp_path: Path
) -> None:
    url = "https://hingfs.invalid"

    assert url in refusal(4, "mount", tmp_path, "--base-url", url)


def test_a_missing_fuse_device_is_status_5(
    refusal: Refusal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("hingfs.mount.mountpoint._FUSE_DEVICE", tmp_path / "no-fuse")

    said = refusal(5, "mount", tmp_path)

    assert "/dev/fuse" in said
    assert "modprobe fuse" in said


def test_plain_http_to_another_host_is_refused_before_anything_is_sent(
    refusal: Refusal, server: FakeEndpoint, tmp_path: Path
) -> None:
    # The same server by an address that is not loopback's own.
    url = server.base_url.replace("127.0.0.1", "0.0.0.0")

    said = refusal(2, "mount", tmp_path, "--base-url", url)

    assert "--insecure-http" in said
    assert server.log == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3", "[::1]"])
def test_plain_http_to_loopback_needs_no_option(tmp_path: Path, host: str) -> None:
    config = configured(["--base-url", f"http://{host}:8000"], {})

    assert config.endpoint.base_url == f"http://{host}:8000"


@pytest.mark.fuse
@each_binding
def test_plain_http_to_another_host_is_accepted_when_asked_for(binding: str) -> None:
    with FakeEndpoint() as endpoint:
        video = endpoint.add("video", size_bytes=1000)
        url = endpoint.base_url.replace("127.0.0.1", "0.0.0.0")
        with Mounted(url, binding, "--insecure-http") as mounted:
            assert mounted.path("video").read_bytes() == video.read(0, 1000)


# Beside those in test_messages, whose words stand there.
BAD_VALUES = {
    "--cache-size": ["-1", "12 parsecs", "1.5MiB"],
    "--block-size": ["300KiB", "1KiB", "16MiB"],
    "--disk-cache-size": ["much"],
    "--keep-size": ["much"],
    "--spool-size": ["GiB"],
    "--connections": ["65", "٣"],
    "--connect-timeout": ["soon", "0"],
    "--stall-timeout": ["-5s"],
    "--read-timeout": ["5 fortnights", "inf"],
    "--metadata-timeout": ["0s"],
    "--metadata-ttl": ["nan"],
    "--negative-ttl": ["1e3"],
    "--listing-ttl": ["10 s s"],
    "--base-url": ["ftp://example.com", "https://", "https://example.com/?key=secret"],
    "--file-mode": ["rw-r--r--", "0844", "-644", "٦٤٤"],
    "--dir-mode": ["0o", "1777", "00755"],
}


@pytest.mark.parametrize(
    "given", [f"{name}={value}" for name in BAD_VALUES for value in BAD_VALUES[name]]
)
def test_a_value_that_an_option_cannot_have_is_status_2(
    refusal: Refusal, tmp_path: Path, given: str
) -> None:
    assert "secret" not in refusal(2, "mount", tmp_path, given)


@pytest.mark.parametrize("name", ["none/log", "", "file/log"])
@pytest.mark.parametrize("start", [["--foreground"], []])
def test_a_log_file_that_cannot_be_made_is_told_before_anything_is_asked(
    *,
    server: FakeEndpoint,
    refusal: Refusal,
    tmp_path: Path,
    name: str,
    start: list[str],
) -> None:
    (tmp_path / "file").touch()

    options = ("--base-url", server.base_url, "--log-file", tmp_path / name)
    said = refusal(2, "mount", tmp_path, *start, *options)

    assert said.startswith(f"--log-file: {tmp_path / name} is no file that you can wr")
    assert server.log == []
    assert mount_line(tmp_path) is None


@pytest.mark.parametrize("name", ["new", "old", "link"])
def test_a_log_file_that_can_be_written_is_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "link").symlink_to("target")

    config = configured(["--log-file", str(tmp_path / name)], {})

    assert config.log.file == tmp_path / name
    assert not (tmp_path / "new").exists()


# --- the check before the mount -------------------------------------------------------------


@pytest.mark.fuse
@each_binding
def test_without_the_check_it_mounts_while_the_endpoint_is_away(binding: str) -> None:
    """For boot: the files come once the endpoint does."""
    with FakeEndpoint() as endpoint:
        video = endpoint.add("video", size_bytes=1000)
        endpoint.stop()
        with Mounted(endpoint, binding, "--no-check") as mounted:
            endpoint.start()
            assert mounted.path("video").read_bytes() == video.read(0, 1000)


@pytest.mark.fuse
@each_binding
def test_a_server_without_a_list_mounts_and_lists_what_was_opened(
    binding: str,
) -> None:
    with FakeEndpoint(personality=PERSONALITIES["new_api_new"]) as endpoint:
        video = endpoint.add("video", size_bytes=1000)
        assert not endpoint.personality.lists
        with Mounted(endpoint, binding) as mounted:
            assert os.listdir(mounted.directory) == []
            assert mounted.path("video").read_bytes() == video.read(0, 1000)
            assert os.listdir(mounted.directory) == ["video.mp4"]


def test_the_directory_is_looked_at_before_the_endpoint_is_asked(
    server: FakeEndpoint, refusal: Refusal, tmp_path: Path
) -> None:
    (tmp_path / "mine").touch()

    refusal(6, "mount", tmp_path, "--base-url", server.base_url)

    assert server.log == []


# --- help and version ---------------------------------------------------------------------


def test_version_is_printed() -> None:
    done = hingfs("--version")

    assert (done.returncode, done.stdout) == (0, f"hingfs {__version__}\n")


def test_the_installed_command_is_the_same() -> None:
    done = run([Path(sys.executable).with_name("hingfs"), "--version"])

    assert done.stdout == f"hingfs {__version__}\n"


def test_help_lists_each_option_with_its_default_and_needs_no_token() -> None:
    done = hingfs("mount", "--help")

    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    for one in SETTINGS:
        form = f"{one.flag} {one.unit.metavar}".rstrip()
        assert f"{form} {one.meaning}" in text
        if one.default and not one.is_switch:
            assert f"{one.meaning} (default: {one.default})" in text
    # `ps` shows arguments to everybody, so no option takes a token.
    found = re.findall(r"--\S*(?:token|key|password)\S*", done.stdout)
    assert set(found) == {"--token-file", "--shared-cache-password-file"}


def test_help_tells_the_commands_and_the_exit_statuses() -> None:
    text = hingfs("--help").stdout

    for word in (
        "mount",
        "umount",
        "info",
        "latest",
        "wait",
        "warm",
        "keep",
        "drop",
        "cache",
        "demo",
        "exit status:",
    ):
        assert word in text
    told = [int(number) for number in re.findall(r"(?m)(?:^|\s{2})(\d+)  \w", text)]
    assert sorted(told) == [*range(15), 124, 130, 130]


# --- options and variables ----------------------------------------------------------------


def configured(arguments: list[str], variables: dict[str, str]) -> Config:
    parsed = cli.build_parser().parse_args(["mount", "/mnt", *arguments])
    given = Given(vars(parsed), {"HINGFS_TOKEN": TOKEN, **variables})
    return given.config(Path("/mnt"))


VALUES = {
    "--shared-cache": "redis://cache.example/1",
    "--shared-cache-password-file": "/run/password",
    "--base-url": "https://api.example.com/v1/",
    "--connections": "7",
    "--cache-size": "64MiB",
    "--block-size": "512KiB",
    "--disk-cache-size": "2GiB",
    "--keep": "opened",
    "--keep-size": "3GiB",
    "--keep-dir": "/var/tmp",
    "--spool-size": "1GiB",
    "--cache-dir": "/var/tmp",
    "--connect-timeout": "1500ms",
    "--stall-timeout": "11s",
    "--read-timeout": "2m",
    "--metadata-timeout": "31",
    "--first-byte-timeout": "1h",
    "--retry-after-limit": "0s",
    "--poll-interval": "6s",
    "--wait-limit": "2h",
    "--metadata-ttl": "1h",
    "--negative-ttl": "3s",
    "--listing-ttl": "12s",
    "--uid": "1234",
    "--gid": "4321",
    "--file-mode": "0440",
    "--dir-mode": "550",
    "--fuse": "fusepy",
    "--log-level": "debug",
    "--log-file": "/dev/null",
}
SWITCHES = [
    "--allow-other",
    "--insecure-http",
    "--insecure-storage",
    "--private-storage",
    "--foreground",
    "--no-check",
    "--offline",
    "--strict",
]


@pytest.mark.parametrize("flag", [*VALUES, *SWITCHES])
def test_a_variable_does_what_its_option_does(flag: str) -> None:
    variable = "HINGFS_" + flag.removeprefix("--").replace("-", "_").upper()
    value = VALUES.get(flag)

    by_option = configured([flag] if value is None else [flag, value], {})
    by_variable = configured([], {variable: value or "1"})

    assert by_option == by_variable
    assert by_option != configured([], {})


@pytest.mark.parametrize("flag", VALUES)
def test_an_option_beats_its_variable(flag: str) -> None:
    variable = "HINGFS_" + flag.removeprefix("--").replace("-", "_").upper()

    # The variable's value would be refused.
    assert configured([flag, VALUES[flag]], {variable: "?"}) == configured(
        [flag, VALUES[flag]], {}
    )


def test_every_option_of_the_configuration_is_among_these() -> None:
    known = {one.flag for one in SETTINGS}

    assert known - set(VALUES) - set(SWITCHES) == {"--token-file"}


def test_a_bound_on_the_disk_may_be_above_what_the_disk_holds() -> None:
    assert configured(["--spool-size", "999TiB"], {}).cache.spool_bytes == 999 << 40


def test_sizes_and_times_arrive_in_bytes_and_seconds() -> None:
    pairs = [part for pair in VALUES.items() for part in pair]

    config = configured(pairs, {})

    assert config.endpoint.base_url == "https://api.example.com"
    assert config.cache.cache_bytes == 64 * 1024 * 1024
    assert config.cache.block_bytes == 512 * 1024
    assert config.endpoint.connect_seconds == 1.5
    assert config.endpoint.read_seconds == 120
    assert config.cache.metadata_ttl_seconds == 3600
    assert (config.mount.uid, config.mount.gid) == (1234, 4321)
    assert (config.mount.file_mode, config.mount.dir_mode) == (0o440, 0o550)


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_token_file_beats_the_variable_with_a_token(how: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text("oh-from-the-file\n")

    config = (
        configured(["--token-file", str(file)], {})
        if how == "option"
        else configured([], {"HINGFS_TOKEN_FILE": str(file)})
    )

    assert config.endpoint.token.read() == "oh-from-the-file"


def test_a_configuration_shown_does_not_show_the_token() -> None:
    config = configured([], {})

    assert config.endpoint.token == Token(TOKEN)
    assert TOKEN not in repr(config)
    assert {field.name for field in fields(config)} == {
        *("mount", "endpoint", "cache", "log", "start")
    }


@pytest.mark.fuse
@each_binding
def test_variables_alone_are_enough_to_mount(binding: str) -> None:
    with FakeEndpoint() as endpoint:
        video = endpoint.add("video", size_bytes=1000)
        with Mounted(
            "http://ignored.invalid",
            binding,
            HINGFS_BASE_URL=endpoint.base_url,
            HINGFS_FUSE=binding,
            HINGFS_FOREGROUND="yes",
            launcher=(sys.executable, "-c", ONLY_DIRECTORY),
        ) as mounted:
            assert mounted.path("video").read_bytes() == video.read(0, 1000)


# Runs `hingfs mount DIR` with nothing but the log options of those it is given.
ONLY_DIRECTORY = """
import sys
from hingfs.cli.main import main
at = sys.argv.index("--log-file")
sys.exit(main([*sys.argv[1:3], *sys.argv[at:at + 4]]))
"""


def imported(statement: str) -> set[str]:
    """The modules that a new interpreter has after *statement*."""
    script = f"import sys\n{statement}\nprint('\\n', *sys.modules)"
    return set(run([sys.executable, "-c", script]).stdout.split())


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import hingfs.cli.main as cli; cli.build_parser().format_help()", "requests"),
        ("from hingfs.cli import mount", "hingfs.demo"),
    ],
)
def test_a_command_imports_what_it_needs(statement: str, unwanted: str) -> None:
    modules = imported(statement)
    assert "hingfs.settings" in modules
    assert not modules & {unwanted, "mfusepy", "fuse"}
