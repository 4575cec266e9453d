"""`hingfs latest`: which clips it prints, how, and what it asks for them."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest

from hingfs import log
from hingfs.cli import main as cli
from hingfs.library.names import name_of
from hingfs.mount import mount_table
from hingfs.mount.mount_table import MountEntry
from tests.cli.conftest import TOKEN, Refusal
from tests.conftest import LogWatch
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import Mounted, bindings_in_turn
from tests.support.personalities import (
    CREATED_AT,
    PERSONALITIES,
    Personality,
    Request,
    Response,
    Site,
    Website,
)

# The last lists nothing without a provider.
LISTLESS = {name for name, one in PERSONALITIES.items() if not one.lists} | {"bifrost"}

Say = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class OldestFirst(Personality):
    """Knows no order but its own."""

    def listing(self, request: Request, site: Site) -> Response:
        asked = request.target.replace("order=desc", "order=asc")
        return super().listing(replace(request, target=asked), site)


@pytest.fixture(autouse=True)
def settings(
    endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API is the fake, and nothing is remembered of another test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HINGFS_BASE_URL", endpoint.base_url)
    monkeypatch.setattr(log, "begin", lambda *_, **__: None)


def latest(capsys: Say, *words: str) -> list[str]:
    """The lines of `hingfs latest`, which says nothing else."""
    os.environ["HINGFS_TOKEN"] = TOKEN  # which each call takes away
    assert cli.main(["latest", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.endswith("\n")
    return out.removesuffix("\n").split("\n")


def add_many(endpoint: FakeEndpoint, count: int) -> list[str]:
    """*count* clips, the oldest first."""
    for number in range(count):
        at = CREATED_AT + 60 * number
        endpoint.add(
            f"clip-{number:03}", size_bytes=10, created_at=at, completed_at=at + 90
        )
    return list(endpoint.videos)


@pytest.mark.parametrize("name", sorted(PERSONALITIES.keys() - LISTLESS))
def test_the_newest_clip_that_is_ready_costs_one_request(
    name: str, endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.personality = PERSONALITIES[name]
    os.environ["HINGFS_BASE_URL"] = endpoint.base_url
    ids = add_many(endpoint, 3)
    later = CREATED_AT + 1000
    endpoint.add("rendering", status="in_progress", created_at=later)
    endpoint.add("failed", status="failed", created_at=later + 1)

    assert latest(capsys) == ids[-1:]

    assert [request.kind for request in endpoint.log] == ["list"]


def test_only_as_many_pages_are_read_as_are_needed(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    """And a server that lists the oldest first is read to the end."""
    ids = add_many(endpoint, 230)

    for count, pages in ((1, 1), (100, 1), (101, 2), (500, 3)):
        endpoint.reset_log()
        assert latest(capsys, str(count)) == ids[::-1][:count]
        assert len(endpoint.log) == pages

    endpoint.personality = OldestFirst()
    endpoint.reset_log()
    assert latest(capsys, "2") == ids[:-3:-1]
    assert len(endpoint.log) == 3


def test_newer_is_what_was_completed_later(endpoint: FakeEndpoint, capsys: Say) -> None:
    """As `ls -t` shows them."""
    at = CREATED_AT
    endpoint.add("slow", created_at=at, completed_at=at + 500)
    endpoint.add("fast", created_at=at + 60, completed_at=at + 120)

    assert latest(capsys, "2") == ["slow", "fast"]


def test_in_a_list_without_times_the_order_of_the_server_counts(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    @dataclass(frozen=True)
    class Timeless(Personality):
        def describe(self, video: faults.Video) -> dict[str, object]:
            return {"id": video.video_id, "status": video.status}

    endpoint.personality = Timeless()
    ids = add_many(endpoint, 130)

    assert latest(capsys, "2") == ids[:-3:-1]
    assert len(endpoint.log) == 1


def test_none_is_an_error_that_says_so(
    endpoint: FakeEndpoint, refusal: Refusal
) -> None:
    endpoint.add("rendering", status="in_progress")

    said = refusal(11, "latest")

    assert said == f"no clip at {endpoint.base_url} is ready yet"


def test_an_api_without_a_list_is_an_error_that_says_so(
    endpoint: FakeEndpoint, refusal: Refusal
) -> None:
    for name in LISTLESS:
        endpoint.personality = PERSONALITIES[name]
        os.environ |= {"HINGFS_BASE_URL": endpoint.base_url, "HINGFS_TOKEN": TOKEN}
        endpoint.add("video")

        assert refusal(1, "latest").startswith(
            f"{endpoint.base_url} gives no list of its videos"
        ), name


def test_what_else_may_be_wrong_has_its_status(
    endpoint: FakeEndpoint, refusal: Refusal, quiet_log: LogWatch
) -> None:
    quiet_log("check the base URL")
    quiet_log("Incorrect API key")
    endpoint.personality = Website()
    assert "is no video API" in refusal(9, "latest")

    endpoint.personality = Personality()
    os.environ["HINGFS_TOKEN"] = "oh-another"
    assert "Incorrect API key" in refusal(3, "latest")

    endpoint.stop()
    os.environ["HINGFS_TOKEN"] = TOKEN
    refusal(4, "latest")


@pytest.mark.parametrize("words", [("0",), ("all",), ("-p", "/nowhere")])
def test_wrong_usage_asks_nobody(
    words: tuple[str, ...], endpoint: FakeEndpoint, refusal: Refusal
) -> None:
    refusal(2, "latest", *words)

    assert endpoint.log == []


def test_paths_need_a_mount_of_this_api(
    endpoint: FakeEndpoint, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mounted_of(*base_urls: str, user_id: int | None = None) -> None:
        user = os.geteuid() if user_id is None else user_id
        entries = [
            MountEntry("/mnt/x", "fuse.hingfs", "0:1", user, mount_table.source_of(url))
            for url in base_urls
        ]
        monkeypatch.setattr(mount_table, "entries", lambda: iter(entries))
        os.environ["HINGFS_TOKEN"] = TOKEN

    nowhere = (
        f"{endpoint.base_url} is not mounted, so that its clips have no paths; run: "
        "hingfs mount DIR"
    )
    mounted_of()
    assert refusal(2, "latest", "-p") == nowhere
    mounted_of(endpoint.base_url, user_id=4711)  # that user decides what is there
    assert refusal(2, "latest", "-p") == nowhere
    mounted_of("https://other.example")
    assert refusal(2, "latest", "-p") == (
        f"{nowhere}; give --base-url for what is: https://other.example"
    )
    mounted_of(endpoint.base_url, "https://other.example")  # which covers it
    assert refusal(2, "latest", "-p").startswith(nowhere)
    assert endpoint.log == []


@bindings_in_turn([], [()])
def test_a_path_can_be_read(binding: str, endpoint: FakeEndpoint) -> None:
    """Whatever the id, `xargs -0` reads it, and so does the shell with quotes."""
    odd = "a b/c'\"$x"
    long = "x" * 300
    for number, one in enumerate((odd, long)):
        at = CREATED_AT + 60 * number
        endpoint.add(one, size_bytes=10, created_at=at, completed_at=at)
    hingfs = f"{sys.executable} -m hingfs"
    with Mounted(endpoint, binding) as mount:
        environ = {
            **os.environ,
            "HINGFS_TOKEN": TOKEN,
            "HINGFS_BASE_URL": "https://unused.example",
        }

        def shell(command: str) -> str:
            done = subprocess.run(
                ["sh", "-c", command.replace("DIR", str(mount.directory))],
                env=environ,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            return done.stdout

        paths = shell(f"{hingfs} latest 2 -p DIR --base-url {endpoint.base_url}")
        assert paths.splitlines() == [
            str(mount.directory / name_of(one)) for one in (long, odd)
        ]
        environ["HINGFS_BASE_URL"] = endpoint.base_url
        assert shell(f"{hingfs} latest 2 -p -0 | xargs -0 cat | wc -c").strip() == "20"
        assert shell(f'stat -c %s "$({hingfs} latest --paths)"').strip() == "10"
        del environ["HINGFS_BASE_URL"]
        assert (
            shell(f"{hingfs} latest -p DIR") == f"{mount.directory / name_of(long)}\n"
        )
        assert shell(f"cd DIR && {hingfs} latest -p .") == f"./{name_of(long)}\n"


def test_ids_are_printed_as_other_commands_take_them_and_plain_on_a_terminal(
    endpoint: FakeEndpoint, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ["a/b", "视频 🎬", "%2F", quote("é"), "left\u202eright"]
    for number, one in enumerate(ids):
        at = CREATED_AT + 60 * number
        endpoint.add(one, created_at=at, completed_at=at)

    assert latest(capsys, "9") == ids[::-1]

    monkeypatch.setattr(os, "isatty", lambda _: True)
    assert latest(capsys) == ["left right"]
