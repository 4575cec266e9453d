"""`hingfs wait`: what ends it, what it says and asks for, and its exit status."""

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from hingfs import log
from hingfs.cli import main as cli
from hingfs.http import breaker
from hingfs.library.versions import Versions
from tests.cli.conftest import TOKEN, Refusal
from tests.conftest import LogWatch
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import HINGFS, environment
from tests.support.personalities import Personality, Response, Video

SIZE_BYTES = 300_000
# Longer than any test takes: what waits for so long is not asked for again.
LONG = "100"
ENDS_WITHIN_SECONDS = 10.0

Say = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def settings(
    endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API is the fake, asked often, and nothing is kept of another test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HINGFS_BASE_URL", endpoint.base_url)
    monkeypatch.setenv("HINGFS_POLL_INTERVAL", "50ms")
    monkeypatch.setattr(log, "begin", lambda *_, **__: None)


def wait(capsys: Say, *words: str, status: int = 0) -> tuple[list[str], list[str]]:
    """What `hingfs wait` says on standard output and standard error."""
    os.environ["HINGFS_TOKEN"] = TOKEN  # which each call takes away
    assert cli.main(["wait", *words]) == status
    out, err = capsys.readouterr()
    assert TOKEN not in out + err
    return out.splitlines(), [
        line.removeprefix("hingfs: ") for line in err.splitlines()
    ]


def instead(answer: Response) -> faults.Fault:
    """*answer* in the place of any."""
    return faults.Fault("instead", lambda _answer, _line: answer)


def asked(endpoint: FakeEndpoint, video_id: str = "v") -> int:
    """How often the status of *video_id* was asked for."""
    return len(endpoint.requests_of("status", video_id=video_id))


def has_been_asked(endpoint: FakeEndpoint, times: int) -> bool:
    return asked(endpoint) >= times


@contextlib.contextmanager
def meanwhile(endpoint: FakeEndpoint, *steps: Callable[[], None]) -> Iterator[None]:
    """Do each of *steps* once "v" has been asked after twice since the one before."""

    def run() -> None:
        for step in steps:
            enough = asked(endpoint) + 2
            endpoint.wait_until(partial(has_been_asked, endpoint, enough))
            step()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(ENDS_WITHIN_SECONDS)
    assert not thread.is_alive()


def becomes(
    endpoint: FakeEndpoint, status: str, progress: int = 0
) -> Callable[[], None]:
    return partial(endpoint.set_status, "v", status, progress)


# -- what ends it ----------------------------------------------------------------------


def test_a_clip_that_is_ready_is_named_at_once(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("v", size_bytes=SIZE_BYTES)

    assert wait(capsys, "v") == (["v"], ["v: ready"])

    assert [(one.method, one.kind) for one in endpoint.log] == [
        ("GET", "status"),
        ("HEAD", "content"),
    ]


def test_each_change_is_a_line_and_the_id_follows_when_it_is_ready(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    """Back in the queue it is waited for as before; a small step is no change."""
    endpoint.add("v", size_bytes=SIZE_BYTES, status="queued")

    with meanwhile(
        endpoint,
        becomes(endpoint, "in_progress", 42),
        becomes(endpoint, "in_progress", 44),
        becomes(endpoint, "in_progress", 61),
        becomes(endpoint, "queued"),
        becomes(endpoint, "completed"),
    ):
        out, err = wait(capsys, "v")

    assert out == ["v"]
    assert err == [
        "v: queued",
        "v: in_progress 42 %",
        "v: in_progress 61 %",
        "v: queued",
        "v: ready",
    ]


def fails(endpoint: FakeEndpoint) -> None:
    endpoint.set_status("v", "failed")


def is_forgotten(endpoint: FakeEndpoint) -> None:
    endpoint.remove("v")


def expires(endpoint: FakeEndpoint) -> None:
    endpoint.set_status("v", "expired")


def refuses_the_token(endpoint: FakeEndpoint) -> None:
    endpoint.token = "another"


@pytest.mark.parametrize(
    ("end", "status", "said"),
    [
        (fails, 10, "v: rendering failed (status failed)"),
        (is_forgotten, 11, "v: no such video, or expired: error: "),
        (expires, 11, "v: no such video, or expired; "),
        (refuses_the_token, 3, "v: the API refused the token"),
    ],
)
def test_whatever_is_final_ends_it(  # noqa: PLR0917 - rows and fixtures
    end: Callable[[FakeEndpoint], None],
    status: int,
    said: str,
    endpoint: FakeEndpoint,
    capsys: Say,
    expected_log: LogWatch,
) -> None:
    if status == 3:
        expected_log("refused the token")
    endpoint.add("v", status="queued")

    with meanwhile(endpoint, lambda: end(endpoint)):
        out, err = wait(capsys, "v", status=status)

    assert (out, err[0], len(err)) == ([], "v: queued", 2)
    assert err[1].startswith(said)


def test_a_clip_that_is_completed_and_never_served_is_an_error(
    endpoint: FakeEndpoint, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time, a minute, is over here at once."""
    defaults = Versions.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "unserved_seconds", 0.0)
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.inject(faults.status(404), math.inf, lambda one: one.kind == "content")

    out, err = wait(capsys, "v", status=1)

    assert (out, len(err)) == ([], 1)
    assert err[0].startswith("v: for more than a minute: ")


def test_the_gravest_end_of_several_gives_the_status(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.add("failed", status="failed")
    endpoint.add("queued", status="queued")
    once = ("--timeout", "0")

    for names, status in (
        (("v", "queued"), 124),
        (("v", "queued", "nope"), 11),
        (("v", "queued", "nope", "failed"), 10),
    ):
        assert wait(capsys, *once, *names, status=status)[0] == ["v"]


@pytest.mark.parametrize(
    ("word", "progress", "status", "said"),
    [
        ("completed", 0, 0, ["v: ready"]),
        ("queued", 0, 124, ["v: queued", "v: timed out: queued"]),
        (
            *("in_progress", 42, 124),
            ["v: in_progress 42 %", "v: timed out: in_progress 42 %"],
        ),
    ],
)
def test_a_time_of_0_looks_once(  # noqa: PLR0917 - rows and fixtures
    word: str,
    progress: int,
    status: int,
    said: list[str],
    endpoint: FakeEndpoint,
    capsys: Say,
) -> None:
    endpoint.add("v", size_bytes=SIZE_BYTES, status=word)
    endpoint.set_status("v", word, progress)

    assert wait(capsys, "v", "--timeout", "0", status=status)[1] == said

    assert asked(endpoint) == 1


def test_a_wait_for_what_never_ends_is_over_in_time(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    """Also where a look is under way that has no answer."""
    for name in ("v", "silent"):
        endpoint.add(name, status="queued")
    silence = faults.stall_before_headers(threading.Event())
    endpoint.inject(silence, math.inf, lambda one: one.video_id == "silent")
    began = time.monotonic()

    out, err = wait(capsys, "v", "silent", "--timeout", "500ms", status=124)

    assert 0.5 <= time.monotonic() - began < ENDS_WITHIN_SECONDS
    assert out == []
    assert err[-2:] == ["v: timed out: queued", "silent: timed out: asking"]
    asked_then = asked(endpoint)
    assert asked_then > 2
    endpoint.wait_until_idle()
    assert asked(endpoint) == asked_then, "nobody waits any more"


def test_any_is_enough_and_the_first_failure_may_be(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.add("queued", status="queued")
    endpoint.add("failed", status="failed")

    assert wait(capsys, "--any", "queued", "v")[0] == ["v"]
    assert wait(capsys, "--any", "failed", "v")[0] == ["v"]
    assert wait(capsys, "--any", "failed", "nope", status=10)[0] == []
    assert wait(capsys, "--fail-fast", "queued", "failed", status=10)[0] == []
    assert wait(capsys, "--fail-fast", "v")[0] == ["v"]


# -- how the server is asked -----------------------------------------------------------


@pytest.mark.parametrize("code", [429, 503])
def test_a_pause_that_the_server_names_is_said_and_kept(
    code: int, endpoint: FakeEndpoint, capsys: Say, expected_log: LogWatch
) -> None:
    """Not one request is sent before its end."""
    expected_log("the API asked for a pause")
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.inject(faults.status(code, LONG), math.inf)

    out, err = wait(capsys, "v", "--timeout", "500ms", status=124)

    assert (out, len(endpoint.log)) == ([], 1)
    assert err[0].startswith("the API asks for a pause of 100 s")
    assert err[1] == "v: timed out: pause"


def test_after_the_pause_it_is_asked_again(
    endpoint: FakeEndpoint, capsys: Say, expected_log: LogWatch
) -> None:
    expected_log("the API asked for a pause")
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.inject(faults.status(429, "1"))
    began = time.monotonic()

    assert wait(capsys, "v") == (["v"], ["the API asks for a pause of 1 s", "v: ready"])

    assert time.monotonic() - began > 0.9
    assert [one.status for one in endpoint.log] == [429, 200, 200]


def test_pauses_are_said_again_only_if_they_grow(
    endpoint: FakeEndpoint, capsys: Say, expected_log: LogWatch
) -> None:
    expected_log("the API asked for a pause")
    endpoint.add("v", size_bytes=SIZE_BYTES)
    for milliseconds in ("600", "600", "1600"):
        paused = Response(429, {"Retry-After-Ms": milliseconds})
        endpoint.inject(instead(paused))

    _, err = wait(capsys, "v")

    assert err == [
        "the API asks for a pause of 1 s",
        "the API asks for a pause of 2 s",
        "v: ready",
    ]


def test_when_to_ask_again_is_what_the_status_says(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("v", status="queued")
    paced = faults.Fault("paced", lambda a, _: a.with_headers({"Retry-After": LONG}))
    endpoint.inject(paced, math.inf)

    wait(capsys, "v", "--timeout", "500ms", status=124)

    assert len(endpoint.log) == 1


def test_trouble_of_the_server_is_waited_out(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.inject(faults.status(500), 4)  # a look has three tries

    out, err = wait(capsys, "v")

    assert out == ["v"]
    assert err[0].startswith("v: server error: the server answered HTTP 500")
    assert err[1:] == ["v: ready"]


def test_what_is_wrong_is_in_the_last_line_too_and_the_token_in_none(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("v", size_bytes=SIZE_BYTES)
    body = f"bad {TOKEN}".encode()
    echo = Response(500, {"Content-Type": "text/plain"}, [body], len(body))
    endpoint.inject(instead(echo), math.inf)

    _, err = wait(capsys, "v", "--timeout", "0", status=124)

    first, last = err
    assert last.startswith("v: timed out: server error: the server answered HTTP 500")
    assert "bad " in first
    assert TOKEN not in first + last


def test_a_server_that_dies_and_returns_is_waited_for_and_that_is_said_once(
    endpoint: FakeEndpoint,
    capsys: Say,
    monkeypatch: pytest.MonkeyPatch,
    expected_log: LogWatch,
) -> None:
    expected_log("the server is away|did not answer")
    monkeypatch.setattr(breaker, "PROBE_SECONDS", 0.2)
    endpoint.add("v", size_bytes=SIZE_BYTES, status="queued")
    endpoint.add("other", size_bytes=SIZE_BYTES, status="queued")

    def restart() -> None:
        endpoint.stop()
        back = threading.Timer(1.0, start_again)
        back.start()

    def start_again() -> None:
        endpoint.set_status("v", "completed")
        endpoint.set_status("other", "completed")
        endpoint.start()

    with meanwhile(endpoint, restart):
        out, err = wait(capsys, "v", "other")

    assert sorted(out) == ["other", "v"]
    assert sorted(err[:2]) == ["other: queued", "v: queued"]
    assert err[2].startswith("the server cannot be reached, and is asked on: ")
    assert err[3] == "the server answers again"
    assert sorted(err[4:]) == ["other: ready", "v: ready"]


def test_a_server_that_was_never_reached_is_not_waited_for(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.stop()

    out, err = wait(capsys, "v", status=4)

    assert (out, len(err)) == ([], 1)
    assert err[0].endswith("Connection refused")


def test_a_server_that_is_no_video_api_is_named(
    endpoint: FakeEndpoint, capsys: Say, expected_log: LogWatch
) -> None:
    expected_log("answers with a web page; check the base URL")
    page = faults.status(404, body=b"<!doctype html><html>Acme</html>")
    web = faults.Fault(
        "page",
        lambda a, line: page.spoil(a, line).with_headers({"Content-Type": "text/html"}),
    )
    endpoint.inject(web, math.inf)

    _, err = wait(capsys, "v", status=9)

    assert err[-1].startswith(f"{endpoint.base_url} is no video API")


# -- which, and how they are told ------------------------------------------------------


def test_many_ids_of_a_file_are_waited_for_side_by_side(
    endpoint: FakeEndpoint, capsys: Say, tmp_path: Path
) -> None:
    """Each once, whatever the file says; each is a poller of its own."""
    ids = [f"clip-{number:03}" for number in range(200)]
    for one in ids:
        endpoint.add(one, size_bytes=10_000)
    listed = tmp_path / "ids"
    listed.write_text("\n".join([*ids, *ids]))

    out, err = wait(capsys, "-f", str(listed), "clip-007")

    assert sorted(out) == ids
    assert sorted(err) == [f"{one}: ready" for one in ids]
    assert len(endpoint.log) == 2 * len(ids)


def test_json_is_a_line_for_each_at_its_end(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.add("queued", status="queued")
    endpoint.add("failed", status="failed")
    names = ("v", "queued", "failed", "nope")

    out, err = wait(capsys, "--json", "--timeout", "0", *names, status=10)

    told = {one["video"]: one for one in map(json.loads, out)}
    assert err == []
    assert {name: one["outcome"] for name, one in told.items()} == {
        "v": "ready",
        "queued": "timed_out",
        "failed": "failed",
        "nope": "not_found",
    }
    assert told["v"] == {
        "video": "v",
        "outcome": "ready",
        "size_bytes": SIZE_BYTES,
        "kept_copy": False,
        "error": None,
    }
    assert told["failed"]["size_bytes"] is None
    assert told["failed"]["error"].startswith("rendering failed")


class Hostile(Personality):
    """Has a word of its own for a video that waits, and quotes the token."""

    def describe(self, video: Video) -> dict[str, object]:
        found = super().describe(video)
        if video.status == "queued":
            return {**found, "status": "pending\x1b[2J\n" + "x" * 500}
        if video.status == "failed":
            return {**found, "error": {"message": f"\x1b[2J{TOKEN}\n"}}
        return found


def test_what_a_server_says_tears_no_terminal(
    endpoint: FakeEndpoint, capsys: Say, expected_log: LogWatch
) -> None:
    expected_log("unknown status word")
    endpoint.personality = Hostile()
    endpoint.add("v", status="queued")
    endpoint.add("failed", status="failed")

    _, err = wait(capsys, "v", "failed", "\x1b[2Jx", "--timeout", "500ms", status=10)

    assert all(line.isprintable() and len(line) < 300 for line in err)


def test_an_unknown_word_is_waited_out(
    endpoint: FakeEndpoint, capsys: Say, expected_log: LogWatch
) -> None:
    expected_log("unknown status word")
    endpoint.add("v", size_bytes=SIZE_BYTES, status="beta_rendering")

    with meanwhile(endpoint, becomes(endpoint, "completed")):
        out, err = wait(capsys, "v")

    assert out == ["v"]
    assert err == ["v: beta_rendering", "v: ready"]


def test_a_kept_copy_of_what_is_gone_is_ready(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("v", size_bytes=SIZE_BYTES)
    assert cli.main(["keep", "v"]) == 0
    endpoint.remove("v")
    capsys.readouterr()

    assert wait(capsys, "v") == (["v"], ["v: ready, by its kept copy alone"])
    (told,), _ = wait(capsys, "--json", "v")

    assert json.loads(told)["kept_copy"] is True


def test_a_call_that_makes_no_sense_says_why(refusal: Refusal) -> None:
    assert refusal(2, "wait").startswith("`hingfs wait` needs a video: an ID, ")
    assert refusal(2, "wait", "v", "").startswith('a VIDEO is empty, as "$ID" is ')
    assert refusal(2, "wait", "v", "--timeout", "soon").startswith(
        "--timeout: 'soon' is"
    )


# -- a process of its own --------------------------------------------------------------


def command(endpoint: FakeEndpoint, *words: str) -> list[str]:
    # A shell starts what it runs in the background with Ctrl-C ignored.
    heeds = ("env", "--default-signal=INT")
    return [*heeds, *HINGFS.split(), "wait", "--base-url", endpoint.base_url, *words]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_ends_it_at_once(
    number: int, status: int, endpoint: FakeEndpoint
) -> None:
    """Though a look is under way that has no answer."""
    endpoint.add("v", status="queued")
    endpoint.inject(faults.stall_before_headers(threading.Event()), math.inf)
    with subprocess.Popen(
        command(endpoint, "v"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(HINGFS_TOKEN=endpoint.token),
    ) as process:
        endpoint.wait_until(lambda: bool(asked(endpoint)))
        process.send_signal(number)
        said, _ = process.communicate(timeout=ENDS_WITHIN_SECONDS)

    assert (process.returncode, said) == (status, b"")


def test_in_a_pipe_nothing_is_said_but_the_changes(endpoint: FakeEndpoint) -> None:
    """Of what a mount would log, too: an unknown word is shown as it is."""
    endpoint.add("v", status="beta_rendering")

    done = subprocess.run(
        command(endpoint, "v", "--timeout", "0"),
        check=False,
        capture_output=True,
        text=True,
        env=environment(HINGFS_TOKEN=endpoint.token),
    )

    assert done.stderr == (
        "hingfs: v: beta_rendering\nhingfs: v: timed out: beta_rendering\n"
    )


def test_in_a_script_the_next_command_runs_once_it_is_ready(
    endpoint: FakeEndpoint,
) -> None:
    endpoint.add("v", size_bytes=SIZE_BYTES, status="queued")
    wait_for = " ".join(command(endpoint, "--poll-interval", "50ms"))
    environ = environment(HINGFS_TOKEN=endpoint.token)
    with meanwhile(endpoint, becomes(endpoint, "completed")):
        done = subprocess.run(
            [
                "sh",
                "-c",
                f"{wait_for} v nope | xargs echo got; {wait_for} v && echo done",
            ],
            check=True,
            capture_output=True,
            text=True,
            env=environ,
        )

    assert done.stdout == "got v\nv\ndone\n"


def test_on_a_terminal_each_has_a_bar_and_nothing_of_it_stays(
    endpoint: FakeEndpoint,
) -> None:
    """The id appears above; the cursor is shown again at the end."""
    long = "video_" + "x" * 200
    for name in ("v", "other", long):
        endpoint.add(name, size_bytes=SIZE_BYTES, status="queued")
    endpoint.set_status("other", "in_progress", 42)
    frames = (
        rb"v  .*queued +waited 0:0",
        rb"other  .* 42 %  in_progress +waited 0:0",
        rb"video_x{8}\xe2\x80\xa6x{13}  .*queued +waited 0:0",
        rb"0 of 3 ready, waited 0:0",
    )
    ours, theirs = os.openpty()
    environ = environment(HINGFS_TOKEN=endpoint.token, TERM="xterm", COLUMNS="80")
    with subprocess.Popen(
        command(endpoint, "v", "other", long, "--poll-interval", "50ms"),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=environ,
    ) as process:
        os.close(theirs)
        screen = b""
        try:
            while piece := os.read(ours, 1 << 16):
                screen += piece
                plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", screen)
                if all(re.search(frame, plain) for frame in frames):
                    endpoint.set_status("v", "completed")
                    endpoint.set_status(long, "completed")
                    endpoint.set_status("other", "failed")
        except OSError:  # the other end is closed
            pass
        finally:
            os.close(ours)

    assert process.returncode == 10
    assert all(re.search(frame, plain) for frame in frames)
    lines = plain.decode().replace("\r", "\n").splitlines()
    assert {"v", long} <= set(lines)
    assert any(line.startswith("hingfs: other: rendering failed") for line in lines)
    assert screen.rindex(b"\x1b[?25h") > screen.rindex(b"\x1b[?25l")
