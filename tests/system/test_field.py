"""Faults that people met in the field, each with a program as people use it.

Each kind is a server as somebody reported it, mounted for real, and its right value:
what `cp`, `rsync -a`, `ffprobe` and `ls` must say of it. Tables of the same kinds are
in test_verdict, the servers in `tests.odd_servers`.
"""

import errno
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support.doubtful_servers import (
    FIREWALLS,
    SHIFTING,
    Balancer,
    FewRights,
    Firewall,
    ForbidsOne,
    Replicas,
    Shifting,
    Walled,
    turns,
)
from tests.support.endpoint import FakeEndpoint, Fault
from tests.support.mounting import (
    BINDINGS,
    CLIPS,
    Mounted,
    NotUpError,
    bindings_in_turn,
    eventually,
    own_mount,
    run,
    stat_says,
)
from tests.support.odd_servers import (
    FIELD,
    PLACES,
    Coded,
    Inline,
    NamedInList,
    NamedUrl,
    NoCoding,
    OddType,
    OddWord,
)
from tests.support.personalities import (
    PERSONALITIES,
    Personality,
    Request,
    Response,
    Site,
    json_response,
    text_response,
)
from tests.support.reading import Handle, errno_of

pytestmark = pytest.mark.fuse

DAY = 86_400.0
CLIP = CLIPS / "moov_last.mp4"


@contextmanager
def served(
    personality: str | Personality, binding: str, *options: str
) -> Iterator[Mounted]:
    """A mount of a server with one clip, `clip`, that refuses nothing for long."""
    if isinstance(personality, str):
        personality = {**PERSONALITIES, **FIELD}[personality]
    options = ("--negative-ttl", "0s", "--listing-ttl", "0s", *options)
    with FakeEndpoint(personality=personality) as endpoint:
        endpoint.add("clip", data=CLIP)
        with Mounted(endpoint, binding, *options) as mounted:
            yield mounted


def probed(path: Path) -> dict[str, str]:
    """What ffprobe says of the format of *path*."""
    done = run(["ffprobe", "-v", "error", "-show_format", "-of", "json", str(path)])
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)["format"]
    return found


def copied(mounted: Mounted, to: Path) -> bytes:
    """What `rsync -a` of the whole mount makes of the clip; it must end with 0."""
    done = run(["rsync", "-a", f"{mounted.directory}/", str(to)])
    assert done.returncode == 0, done.stderr
    return (to / "clip.mp4").read_bytes()


def list_as(mounted: Mounted, answer: Response) -> None:
    """From now on *answer* comes in place of the list."""
    fault = Fault("list", lambda _answer, _line: answer)
    mounted.endpoint.inject(fault, math.inf, lambda request: request.kind == "list")


def cp(mounted: Mounted, to: Path) -> bytes:
    """What `cp` makes of the clip; it must end with 0."""
    done = run(["cp", mounted.path("clip"), to])
    assert done.returncode == 0, done.stderr
    return (to / "clip.mp4").read_bytes()


class TestClocksAndExpiry:
    """The server's Date is the clock, and a past `expires_at` is of the link alone."""

    @pytest.mark.parametrize("ahead_days", [-2.0, 0.0, 2.0])
    def test_a_clip_is_listed_and_copied_as_long_as_it_is_served(
        self, ahead_days: float, tmp_path: Path
    ) -> None:
        """By a clock here that is days off, and past the expiry of its link."""
        with served("openai", BINDINGS[0]) as mounted:
            mounted.endpoint.ahead_seconds = ahead_days * DAY
            mounted.endpoint.add("fresh", data=CLIP, expires_at=int(time.time() + 60))
            mounted.endpoint.videos["clip"].expires_at = 1_790_000_000

            assert copied(mounted, tmp_path) == CLIP.read_bytes()
            assert (tmp_path / "fresh.mp4").read_bytes() == CLIP.read_bytes()

    def test_what_is_known_ends_when_the_server_says_so(self) -> None:
        """Its clock is two days ahead, and so is the expiry it names."""
        ahead = 2 * DAY
        with served("openai", BINDINGS[1]) as mounted:
            expires_at = int(time.time() + ahead) + 2  # in a second or two
            mounted.endpoint.ahead_seconds = ahead
            mounted.endpoint.add("short", data=CLIP, expires_at=expires_at)
            assert mounted.path("short").stat().st_size == CLIP.stat().st_size
            mounted.endpoint.remove("short")

            eventually(lambda: not mounted.path("short").exists(), "its end", 5)


class TestStatusObjectsOfOtherShapes:
    """Wrapped, ids that are numbers, `task_id`, times as text, vendors' words."""

    def test_a_clip_is_listed_and_keeps_its_time(self, tmp_path: Path) -> None:
        with served("wrapped", BINDINGS[0]) as mounted:
            video = mounted.endpoint.add("106916112212032", data=CLIP)

            assert copied(mounted, tmp_path) == CLIP.read_bytes()

            copy = (tmp_path / "106916112212032.mp4").stat()
            assert copy.st_mtime == video.completed_at
            said = run(["ls", str(mounted.directory)]).stdout.split()
            assert said == ["106916112212032.mp4", "clip.mp4"]

    @pytest.mark.parametrize(
        ("status", "says"),
        [
            ("in_progress", "Resource temporarily unavailable"),
            ("queued", "Resource temporarily unavailable"),
            ("failed", "Input/output error"),
            ("cancelled", "Input/output error"),  # in its words, "TimeOut"
        ],
    )
    def test_a_clip_in_the_making_is_not_ready_and_a_failed_one_failed(
        self, status: str, says: str
    ) -> None:
        with served("wrapped", BINDINGS[0]) as mounted:
            mounted.endpoint.set_status("clip", status)

            assert says in stat_says(mounted.path("clip"))

    @pytest.mark.parametrize("shape", ["nested_status", "pascal_case", "payload"])
    def test_half_a_clip_is_never_served_as_finished(
        self, shape: str, tmp_path: Path
    ) -> None:
        with served(shape, BINDINGS[0], "--negative-ttl", "0s") as mounted:
            some = CLIP.read_bytes()[:500_000]
            mounted.endpoint.add("half", data=some, status="in_progress")
            copy = ["cp", str(mounted.path("half")), str(tmp_path)]
            assert "temporarily unavailable" in run(copy).stderr

            video = mounted.endpoint.add("half", data=CLIP)

            assert run([*copy, "--preserve"]).returncode == 0
            done = tmp_path / "half.mp4"
            assert done.read_bytes() == CLIP.read_bytes()
            assert done.stat().st_mtime == video.completed_at
            ls = run(["ls", str(mounted.directory)])
            assert ls.stdout.split() == ["clip.mp4", "half.mp4"]


class TestListsThatEnd:
    """An empty page as `null` is the end; an error object is none."""

    def test_ls_of_a_server_with_nil_slices(self) -> None:
        with served("nil_page", BINDINGS[1]) as mounted:
            done = run(["ls", str(mounted.directory)])

            assert (done.returncode, done.stdout) == (0, "clip.mp4\n")
            mounted.endpoint.remove("clip")
            done = run(["ls", str(mounted.directory)])
            assert (done.returncode, done.stdout) == (0, "")

    @pytest.mark.parametrize(
        "said",
        [
            {"data": None, "error": {"message": "database is locked"}},
            {"code": 50000, "message": "busy", "data": []},
            {"detail": "no"},
        ],
    )
    def test_rsync_deletes_no_copy_over_a_list_that_failed(
        self, said: dict[str, object], tmp_path: Path
    ) -> None:
        """With status 200, as gateways do; the last whole list is shown."""
        with served("nil_page", BINDINGS[1]) as mounted:
            assert copied(mounted, tmp_path) == CLIP.read_bytes()
            list_as(mounted, json_response(200, said))

            source = f"{mounted.directory}/"
            run(["rsync", "-a", "--delete", source, str(tmp_path)])

            assert (tmp_path / "clip.mp4").read_bytes() == CLIP.read_bytes()

    @bindings_in_turn(
        ("code", "said"),
        [
            (400, {"error": {"message": "database is locked"}}),
            (400, {"error": {"message": "rate limit exceeded, retry after 5s"}}),
            (404, {"error": {"message": "storage backend offline"}}),
            (501, {"error": "x"}),
            (200, {"object": "list", "data": None, "has_more": True}),
            (200, {"films": [{"id": "clip"}]}),
            (200, {"videoList": [{"id": "clip", "status": "completed"}]}),
            (200, {"Data": [{"Id": "clip", "Status": "Succeeded"}]}),
            (200, {"data": [{"id": "clip", "status": {"state": "completed"}}]}),
            (200, {"data": [{"id": "clip"}]}),
        ],
    )
    def test_rsync_deletes_no_copy_over_a_first_list_that_is_odd(
        self, binding: str, code: int, said: dict[str, object], tmp_path: Path
    ) -> None:
        """A new mount without any list yet understands it, or gives an error."""
        (tmp_path / "clip.mp4").write_bytes(CLIP.read_bytes())
        with served("openai", binding) as mounted:
            list_as(mounted, json_response(code, said))

            source = f"{mounted.directory}/"
            done = run(["rsync", "-a", "--delete", source, str(tmp_path)])

            assert (tmp_path / "clip.mp4").read_bytes() == CLIP.read_bytes()
            understood = code == 200 and '"clip"' in json.dumps(said)
            understood = understood and "films" not in said
            assert done.returncode == (0 if understood else 23)
            assert understood or re.search("readdir|no listing for now", mounted.log)

    @bindings_in_turn(
        "end",
        [
            {"success": True, "message": "", "data": None},
            {"success": True, "message": "", "data": None, "request_id": "r"},
            {"data": None, "pagination": {"total": 1}},
            {"code": 10000, "message": "Success", "data": []},
            None,
        ],
    )
    def test_ls_of_a_server_that_ends_its_list_in_its_own_wrapper(
        self, binding: str, end: dict[str, object] | None
    ) -> None:
        """Beside rows and without them; None: 204 No Content."""
        with served("openai", binding) as mounted:
            rows = [{"id": "clip", "status": "completed"}]
            last = Response(204, {}) if end is None else json_response(200, end)
            first = json_response(200, {**(end or {}), "data": rows})

            def is_page(*, after: bool) -> Callable[[Request], bool]:
                return lambda r: r.kind == "list" and ("after" in r.query) is after

            for page, after in ((first, False), (last, True)):
                fault = Fault("page", partial(lambda page, *_: page, page))
                mounted.endpoint.inject(fault, math.inf, is_page(after=after))

            assert run(["ls", str(mounted.directory)]).stdout == "clip.mp4\n"

    def test_a_list_that_fails_from_the_start_is_an_error(self) -> None:
        with served("nil_page", BINDINGS[0]) as mounted:
            list_as(mounted, json_response(200, {"data": None, "message": "busy"}))

            done = run(["ls", str(mounted.directory)])

            assert done.returncode != 0
            assert "Input/output error" in done.stderr


# `hingfs`, but for the time between two sights.
BRISK = """
import sys
from dataclasses import replace
from hingfs.cli import main as cli, mount
class Given(mount.Given):
    def config(self, directory):
        config = super().config(directory)
        return replace(config, endpoint=replace(config.endpoint, settle_seconds=0.5))
mount.Given = Given
sys.exit(cli.main())
"""


class TestWordsThatNobodyListed:
    """They decide nothing: a clip that is whole is read, one that is written is not."""

    def test_cp_succeeds_once_the_clip_is_known_to_be_whole(
        self, tmp_path: Path
    ) -> None:
        launcher = (sys.executable, "-c", BRISK)
        options = ("--negative-ttl", "0s", "--listing-ttl", "0s")
        with own_mount(
            BINDINGS[0], *options, launcher=launcher, personality=OddWord("baked")
        ) as (endpoint, mounted):
            endpoint.add("clip", data=CLIP)
            endpoint.add("growing", data=CLIP.read_bytes()[:-100])
            copy = ["cp", str(mounted.path("clip")), str(tmp_path)]
            assert "temporarily unavailable" in run(copy).stderr
            assert run(["ls", str(mounted.directory)]).stdout == ""

            eventually(lambda: run(copy).returncode == 0, "the clip", 4)

            assert (tmp_path / "clip.mp4").read_bytes() == CLIP.read_bytes()
            assert "temporarily unavailable" in stat_says(mounted.path("growing"))
            listed = run(["ls", str(mounted.directory)]).stdout.split()
            assert listed == ["clip.mp4", "growing.mp4"]
            assert "unknown status word 'baked'" in mounted.log

    @pytest.mark.parametrize("word", ["Succeed", "FINISHED", "ready", "TASK_SUCCESS"])
    def test_a_word_for_success_costs_no_wait(self, word: str) -> None:
        with served(OddWord(word), BINDINGS[0]) as mounted:
            assert probed(mounted.path("clip"))["size"] == str(CLIP.stat().st_size)

            assert len(mounted.endpoint.requests_of("status")) == 1

    @pytest.mark.parametrize("word", ["FAIL", "time_out", "content_filtered", "nsfw"])
    def test_a_word_for_failure_is_an_error_though_content_is_served(
        self, word: str
    ) -> None:
        with served(OddWord(word), BINDINGS[1]) as mounted:
            assert errno_of(lambda: mounted.path("clip").read_bytes()) == "EIO"

    @pytest.mark.parametrize("word", ["In-Progress", "WAITING", "preparing", "生成中"])
    def test_a_word_for_waiting_is_believed_though_content_is_served(
        self, word: str
    ) -> None:
        with served(OddWord(word), BINDINGS[0]) as mounted:
            assert errno_of(lambda: mounted.path("clip").read_bytes()) == "EAGAIN"


class TestBytesAtAUrlOfTheStatus:
    """Content is refused, and the status object names a URL; nothing else is shown."""

    @bindings_in_turn("place", PLACES)
    def test_cp_takes_it_without_the_token(
        self, binding: str, place: str, tmp_path: Path
    ) -> None:
        with served(NamedUrl(400, place), binding) as mounted:
            mounted.endpoint.add("own", data=b"the user's own picture" * 1000)

            assert cp(mounted, tmp_path) == CLIP.read_bytes()
            storage = [r for r in mounted.endpoint.log if r.server == "storage"]
            assert {r.video_id for r in storage} == {"clip"}
            assert not any("authorization" in r.headers for r in storage)

    @pytest.mark.parametrize("code", [404, 409, 410, 422, 502])
    def test_whatever_code_content_is_refused_with(self, code: int) -> None:
        """Of the 5xx only those that say that the upstream has no such file."""
        server = NamedUrl(code, says="Upstream service returned status 404")
        with served(server, BINDINGS[0]) as mounted:
            assert probed(mounted.path("clip"))["size"] == str(CLIP.stat().st_size)

    def test_the_bytes_may_be_in_the_status_itself(self, tmp_path: Path) -> None:
        with served(Inline(), BINDINGS[1]) as mounted:
            assert copied(mounted, tmp_path) == CLIP.read_bytes()

    def test_a_url_that_is_over_is_asked_for_again(self) -> None:
        with served(NamedUrl(), BINDINGS[1]) as mounted:
            video = mounted.endpoint.add("long", size_bytes=8_000_000)
            with Handle(mounted.path("long")) as handle:
                assert handle.read(0, 4096) == video.read(0, 4096)
                mounted.endpoint.wait_until_idle()
                mounted.endpoint.storage.expire()

                assert handle.read(6_000_000, 4096) == video.read(6_000_000, 6_004_096)

    def test_only_the_list_may_name_it(self, tmp_path: Path) -> None:
        """Where there is no status route: of 150 the first and the last, and one more."""
        with served(NamedInList(), BINDINGS[0]) as mounted:
            for number in range(149):
                mounted.endpoint.add(f"v{number}", size_bytes=5000)
            assert len(run(["ls", mounted.directory]).stdout.split()) == 150

            done = run(["cp", mounted.path("clip"), mounted.path("v148"), tmp_path])

            assert done.returncode == 0, done.stderr
            assert (tmp_path / "clip.mp4").read_bytes() == CLIP.read_bytes()
            assert "No such file" in stat_says(mounted.path("nobody"))
            storage = [r for r in mounted.endpoint.log if r.server == "storage"]
            assert not any("authorization" in r.headers for r in storage)

    def test_where_nothing_is_named_it_is_an_error_with_the_servers_words(self) -> None:
        class Nameless(NamedUrl):
            def status(self, request: Request, site: Site) -> Response:
                return Personality.status(self, request, site)

        with served(Nameless(), BINDINGS[0]) as mounted:
            assert "Input/output error" in stat_says(mounted.path("clip"))
            assert "Video has been uploaded to cloud storage" in mounted.log

    def test_a_good_server_is_asked_no_more(self) -> None:
        """One HEAD, one status, and the reads."""
        with served("openai", BINDINGS[0]) as mounted:
            assert mounted.path("clip").read_bytes() == CLIP.read_bytes()

            assert len(mounted.endpoint.requests_of("status")) == 1
            assert len(mounted.endpoint.requests_of("content", "HEAD")) == 1
            assert mounted.endpoint.connections_seen <= 10


class TestRightBytesUnderAWrongType:
    """What begins as a container is video; a message is none, whatever its type."""

    @bindings_in_turn("server", ["odd_type", "odd_type_of_get", "odd_type_whole"])
    def test_cp_and_ffprobe_take_it_for_what_it_is(
        self, binding: str, server: str, tmp_path: Path
    ) -> None:
        with served(server, binding) as mounted:
            assert probed(mounted.path("clip"))["size"] == str(CLIP.stat().st_size)

            assert cp(mounted, tmp_path) == CLIP.read_bytes()

    @pytest.mark.parametrize("kind", ["text/plain", "text/html", "image/png"])
    def test_a_text_under_the_same_type_is_never_handed_out(self, kind: str) -> None:
        """It is said to be completed, and nothing speaks of waiting."""
        with served(OddType(kind), BINDINGS[0]) as mounted:
            text = b"Bad gateway: the upstream went away. " * 2000
            mounted.endpoint.add("text", data=text)

            assert errno_of(lambda: mounted.path("text").read_bytes()) == "EIO"
            assert "Bad gateway" in mounted.log

    def test_a_page_in_place_of_a_later_range_is_never_handed_out(self) -> None:
        """Of the very type, code and length that the range would have."""
        with served(OddType("text/html"), BINDINGS[1]) as mounted:
            video = mounted.endpoint.add("long", size_bytes=8_000_000)
            page = b"<html>Bad gateway</html>"
            with Handle(mounted.path("long")) as handle:
                assert handle.read(0, 4096) == video.read(0, 4096)
                mounted.endpoint.wait_until_idle()
                mounted.endpoint.inject(
                    Fault("page", lambda _a, _l: text_response(200, page, "text/html")),
                    2,
                    lambda request: request.kind == "content",
                )

                assert handle.read(6_000_000, 4096) == video.read(6_000_000, 6_004_096)


class TestCodingsThatAreNone:
    """Content-Encoding: aws-chunked, none, utf-8 and the like change no byte."""

    def test_ffprobe_takes_ranges_and_not_the_whole(self) -> None:
        with served("no_coding", BINDINGS[1]) as mounted:
            assert probed(mounted.path("clip"))["size"] == str(CLIP.stat().st_size)

            asked = mounted.endpoint.requests_of("content", "GET")
            assert {record.status for record in asked} == {206}

    @bindings_in_turn(
        "coding", ["mp4", "undefined", "utf-16", "text", "base64", "gzip", "br"]
    )
    def test_what_begins_as_a_container_is_the_file(
        self, binding: str, coding: str, tmp_path: Path
    ) -> None:
        """A stat has nothing of it sent, and all that cp has sent is one clip."""
        with served(NoCoding(coding), binding) as mounted:
            size_bytes = CLIP.stat().st_size
            assert mounted.path("clip").stat().st_size == size_bytes
            asked = mounted.endpoint.requests_of("content", "GET")
            assert [record.range for record in asked] == [(0, 16)]

            assert cp(mounted, tmp_path) == CLIP.read_bytes()
            assert mounted.endpoint.content_bytes("clip") <= 1.02 * size_bytes

    @bindings_in_turn("coding", ["mp4", "gzip"])
    def test_a_coding_that_get_alone_names_is_read_in_the_same_way(
        self, binding: str, coding: str, tmp_path: Path
    ) -> None:
        with served(NoCoding(coding, from_get=True), binding) as mounted:
            assert copied(mounted, tmp_path) == CLIP.read_bytes()

    def test_what_is_packed_is_unpacked(self, tmp_path: Path) -> None:
        with served(Coded(), BINDINGS[0]) as mounted:
            assert copied(mounted, tmp_path) == CLIP.read_bytes()

    @pytest.mark.parametrize("coding", ["br", "mp4", "deflate"])
    def test_what_cannot_be_unpacked_is_sent_once(self, coding: str) -> None:
        """The answer that told of no size is the one: another would be of the same coding."""
        with served(Coded(coding), BINDINGS[0]) as mounted:
            assert "Input/output error" in stat_says(mounted.path("clip"))

            asked = mounted.endpoint.requests_of("content", "GET")
            assert len(asked) == 1


class TestKeysWithFewRights:
    """The list and the content are separate permissions."""

    def test_names_that_are_given_work_and_ls_shows_what_was_opened(
        self, tmp_path: Path
    ) -> None:
        with served(FewRights(), BINDINGS[1]) as mounted:
            assert mounted.stderr.count("names that are given work") == 1
            assert run(["ls", mounted.directory]).stdout == ""

            assert cp(mounted, tmp_path) == CLIP.read_bytes()
            assert run(["ls", mounted.directory]).stdout == "clip.mp4\n"

    def test_a_token_that_is_refused_everywhere_ends_with_status_3(self) -> None:
        everything = ("list", "status", "content")
        with (
            pytest.raises(NotUpError) as refused,
            served(FewRights(withheld=everything), BINDINGS[0]),
        ):
            pytest.fail("it was mounted")

        assert refused.value.status == 3


class TestFirewalls:
    """What stands before the API speaks in its place."""

    def test_a_copy_survives_a_firewall_that_passes(self, tmp_path: Path) -> None:
        wall = Firewall(0)
        with served(Walled(FIREWALLS["cloudflare"], wall), BINDINGS[0]) as mounted:
            wall.blocks = 2

            assert copied(mounted, tmp_path) == CLIP.read_bytes()

            assert wall.blocks == 0

    def test_a_firewall_that_stays_is_named_and_is_no_refused_token(
        self, tmp_path: Path
    ) -> None:
        wall = Firewall(0)
        with served(Walled(FIREWALLS["nginx-deny"], wall), BINDINGS[1]) as mounted:
            wall.blocks = 1_000_000

            done = run(["cp", mounted.path("clip"), tmp_path])

            assert "Input/output error" in done.stderr
            assert "a firewall or gateway in front of 127.0.0.1" in mounted.log
            assert "refused the token" not in mounted.log

    def test_one_id_that_is_refused_is_alone(self, tmp_path: Path) -> None:
        with served(ForbidsOne(), BINDINGS[1]) as mounted:
            mounted.endpoint.add("theirs", data=CLIP)

            done = run(["rsync", "-a", f"{mounted.directory}/", tmp_path])

            assert done.returncode == 23
            assert "Permission denied" in done.stderr
            assert (tmp_path / "clip.mp4").read_bytes() == CLIP.read_bytes()
            assert "refused the token" not in mounted.log


def files_in(itemized: str) -> list[str]:
    """What rsync copied, less the time of the directory: its first listing sets that."""
    return [line for line in itemized.splitlines() if line != ".d..t...... ./"]


class TestValidatorsThatShift:
    """Fresh copies, edges, replicas: equal bytes under another ETag or time."""

    @bindings_in_turn("kind", [*SHIFTING])
    def test_rsync_copies_all_of_it_and_the_second_time_nothing(
        self, binding: str, kind: str, tmp_path: Path
    ) -> None:
        with served(SHIFTING[kind](), binding, "--metadata-ttl", "0s") as mounted:
            for number in range(3):
                mounted.endpoint.add(f"v{number}", data=CLIP)

            assert copied(mounted, tmp_path) == CLIP.read_bytes()

            for number in range(3):
                copy = tmp_path / f"v{number}.mp4"
                assert copy.read_bytes() == CLIP.read_bytes()
            again = run(["rsync", "-ai", f"{mounted.directory}/", tmp_path])
            assert (again.returncode, files_in(again.stdout)) == (0, [])
            assert "ESTALE" not in mounted.log

    def test_the_first_open_reads(self, tmp_path: Path) -> None:
        """Cp of one clip alone, then ffprobe; it is said once."""
        with served(Shifting(), BINDINGS[0]) as mounted:
            assert cp(mounted, tmp_path) == CLIP.read_bytes()
            assert probed(mounted.path("clip"))["size"] == str(CLIP.stat().st_size)
            assert mounted.log.count("changes from answer to answer") == 1

    def test_a_film_that_is_overwritten_is_never_mixed(self, tmp_path: Path) -> None:
        """Of equal size, once validators are disbelieved, and 3 MB of the old are held."""
        with served(Shifting(), BINDINGS[0], "--metadata-ttl", "0s") as mounted:
            mounted.endpoint.add("second", data=CLIP)
            copied(mounted, tmp_path)
            film = mounted.endpoint.add("film", size_bytes=8_000_000)
            with Handle(mounted.path("film")) as handle:
                handle.read(0, 3_000_000)
                mounted.endpoint.wait_until_idle()
                old = film.read(0, 8_000_000)
                film.replace()

                done = run(["cp", mounted.path("film"), tmp_path / "film.mp4"])

                assert done.returncode == 0, done.stderr
                new = film.read(0, 8_000_000)
                assert (tmp_path / "film.mp4").read_bytes() == new
                handle.forget_pages()
                try:
                    rest = handle.read(4_000_000, 4096)
                except OSError as error:
                    assert error.errno == errno.ESTALE  # noqa: PT017
                else:
                    assert rest == old[4_000_000:4_004_096]


class TestReplicas:
    """One replica knows the job, the next does not: round robin, or drawn."""

    @bindings_in_turn("pinned", [True, False], ids=["connection", "request"])
    def test_a_copy_is_whole_and_the_second_copies_nothing(
        self, binding: str, tmp_path: Path, *, pinned: bool
    ) -> None:
        server = Replicas(Balancer(turns(2), pinned=pinned))
        with served(server, binding, "--metadata-ttl", "0s") as mounted:
            for number in range(4):
                mounted.endpoint.add(f"v{number}", data=CLIP)
            mounted.endpoint.add("film", size_bytes=20_000_000)

            assert copied(mounted, tmp_path) == CLIP.read_bytes()

            film = mounted.endpoint.videos["film"]
            assert (tmp_path / "film.mp4").read_bytes() == film.read(0, 20_000_000)
            again = run(["rsync", "-ai", f"{mounted.directory}/", tmp_path])
            assert (again.returncode, files_in(again.stdout)) == (0, [])

    def test_ffprobe_of_a_clip_in_a_shared_store(self) -> None:
        """The jobs are known to one replica, the files to all."""
        server = Replicas(Balancer(turns(3), pinned=False), routes=("status",))
        with served(server, BINDINGS[0]) as mounted:
            assert probed(mounted.path("clip"))["size"] == str(CLIP.stat().st_size)
