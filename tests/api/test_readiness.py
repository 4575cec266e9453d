# ruff: noqa: ARG002 (a method that overrides takes what it need not use)
"""Videos whose status is a word that nobody knows: their content decides.

Through the operations, as the kernel calls them. The time between two sights is an
argument, so that no test waits for it.
"""

import math
from dataclasses import replace

import pytest

from hingfs.api.judgement.wording import plain_word
from hingfs.api.readiness import Readiness
from hingfs.content import Content
from hingfs.version import Validator
from tests.support import endpoint as faults
from tests.support.containers import MEDIA, OPEN, WHOLE, fragments, mp4
from tests.support.mounting import CLIPS
from tests.support.odd_servers import OddWord
from tests.support.personalities import Request, Response, Site, Video, whole
from tests.support.reading import errno_of
from tests.support.sources import ENDPOINT
from tests.support.views import Direct, check_reads, opened, sequential

CLIP = (CLIPS / "moov_last.mp4").read_bytes()


class OddWordWhole(OddWord):
    """The same, and ranges are ignored."""

    ranges = False

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        return whole(video)


class OddWordEndless(OddWord):
    """The same, and no length is told."""

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        return replace(whole(video), length=None)


@pytest.fixture
def view(build, endpoint, expected_log):
    """The files of a server with an odd word; by default a first sight is enough."""

    def view(server: OddWord | None = None, settle_seconds=0.0) -> Direct:
        endpoint.personality = server = server or OddWord()
        expected_log(f"unknown status word {plain_word(server.word)!r}")
        cache = {"negative_ttl_seconds": 0.0, "listing_ttl_seconds": 0.0}
        return Direct(build(cache, settle_seconds=settle_seconds))

    return view


@pytest.mark.parametrize("server", [OddWord(), OddWordWhole()], ids=["ranges", "whole"])
@pytest.mark.parametrize("name", WHOLE)
def test_what_is_whole_is_read(view, endpoint, name, server):
    video = endpoint.add("v", data=WHOLE[name])

    check_reads(view(server), video, sequential(video.size_bytes))


@pytest.mark.parametrize("server", [OddWord(), OddWordWhole()], ids=["ranges", "whole"])
@pytest.mark.parametrize("name", [name for name in OPEN if OPEN[name]])
def test_what_is_still_written_is_not_ready(view, endpoint, name, server):
    endpoint.add("v", data=OPEN[name])
    files = view(server)

    assert errno_of(lambda: files.size_bytes("v")) == "EAGAIN"
    assert errno_of(lambda: files.open("v")) == "EAGAIN"


def test_what_is_called_unknown_is_judged_by_its_content(view, endpoint):
    """new-api calls so whatever it cannot map; it says nothing of the clip."""
    video = endpoint.add("v", data=CLIP)
    endpoint.add("w", data=CLIP[:-100])
    files = view(OddWord("unknown"))

    check_reads(files, video, sequential(video.size_bytes))
    assert errno_of(lambda: files.size_bytes("w")) == "EAGAIN"


def test_the_first_sight_is_never_enough(view, endpoint):
    endpoint.add("v", data=CLIP)
    files = view(settle_seconds=3600.0)
    files.names()  # so that no open is expected

    assert [errno_of(lambda: files.size_bytes("v")) for _ in range(3)] == ["EAGAIN"] * 3
    assert not [r for r in endpoint.log if r.method == "GET" and r.kind == "content"]


@pytest.fixture
def slow_view(build, endpoint, expected_log):
    """As `view`, with five seconds between two sights, and a way to let them pass."""
    expected_log("unknown status word")
    now = [0.0]
    endpoint.personality = OddWord()
    mount = build({"negative_ttl_seconds": 0.0})
    mount.engine.client.metadata._proving._readiness = Readiness(5.0, lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return Direct(mount), wait


def test_a_file_that_grows_by_whole_fragments_is_not_ready_before_it_stops(
    slow_view, endpoint
):
    """Each of its states is a container that closes; only its size tells."""
    files, wait = slow_view
    for count in range(1, 6):
        endpoint.add("v", data=fragments(count))

        assert errno_of(lambda: files.size_bytes("v")) == "EAGAIN"
        wait(6.0)

    assert files.size_bytes("v") == len(fragments(5))


def test_five_seconds_are_five_seconds(slow_view, endpoint):
    endpoint.add("v", data=CLIP)
    files, wait = slow_view
    assert errno_of(lambda: files.size_bytes("v")) == "EAGAIN"

    wait(4.9)
    assert errno_of(lambda: files.size_bytes("v")) == "EAGAIN"
    wait(0.1)
    assert files.size_bytes("v") == len(CLIP)


def test_a_file_that_is_written_anew_is_seen_for_the_first_time(slow_view, endpoint):
    """Of the same size, under another validator."""
    files, wait = slow_view
    for version in range(3):
        endpoint.add("v", data=mp4(MEDIA[version:] + bytes(version)))

        assert errno_of(lambda: files.size_bytes("v")) == "EAGAIN"
        wait(6.0)

    assert errno_of(lambda: files.size_bytes("v")) == "none"


def test_without_a_length_nobody_can_tell(view, endpoint):
    endpoint.add("v", data=CLIP)
    files = view(OddWordEndless())

    assert errno_of(lambda: files.size_bytes("v")) == "EAGAIN"
    assert errno_of(lambda: files.size_bytes("v")) == "EAGAIN"
    assert not files.mount.engine.client.metadata.has_begun(
        "v"
    )  # no answer of it is kept


def test_a_word_that_is_known_costs_nothing_more(build, endpoint):
    """One HEAD and one status, at once."""
    endpoint.personality = OddWord(word="Succeed")
    endpoint.add("v", data=CLIP)
    files = Direct(build(settle_seconds=3600.0))

    assert files.size_bytes("v") == len(CLIP)
    assert sorted(r.method for r in endpoint.log) == ["GET", "HEAD"]


def test_the_proof_costs_few_requests(view, endpoint):
    endpoint.add("v", data=mp4(MEDIA * 100))
    files = view()

    assert files.size_bytes("v") == len(mp4(MEDIA * 100))

    ranges = endpoint.requests_of("content", "GET")
    assert len(ranges) == 2  # the head, and the index
    assert sum(r.body_bytes for r in ranges) < 10_000
    files.size_bytes("v")
    assert len(endpoint.requests_of("content", "GET")) == 2


def test_an_mp4_of_more_fragments_than_are_asked_for_stays_not_ready(view, endpoint):
    endpoint.add("v", data=fragments(200))
    files = view()

    assert errno_of(lambda: files.size_bytes("v")) == "EAGAIN"
    assert len(endpoint.requests_of("content", "GET")) == 64


def test_rows_of_such_a_word_are_listed_once_one_of_them_was_whole(view, endpoint):
    """Each open still asks for its own proof."""
    endpoint.add("v", data=CLIP)
    endpoint.add("w", data=OPEN["media to be"])
    files = view()
    assert files.names() == []

    with opened(files, "v"):
        pass

    assert files.names() == ["v.mp4", "w.mp4"]
    assert errno_of(lambda: files.open("w")) == "EAGAIN"


@pytest.mark.parametrize(
    ("message", "errno"),
    [("Not found", "EAGAIN"), ("Video generation failed", "EIO")],
)
def test_what_is_refused_under_such_a_word_is_not_ready_unless_it_failed(
    view, endpoint, expected_log, message, errno
):
    if errno == "EIO":
        expected_log("EIO")
    endpoint.add("v", data=CLIP)
    body = b'{"error": {"message": "%s"}}' % message.encode()
    endpoint.inject(
        faults.status(404, body=body), math.inf, lambda r: r.kind == "content"
    )
    files = view()

    assert errno_of(lambda: files.size_bytes("v")) == errno


# The bytes served, the seconds between two looks, the result of stat.
UNDER_FAILURE = {
    "whole": (CLIP, 0.0, "none"),
    "whole at first sight": (CLIP, 3600.0, "EAGAIN"),
    "half": (CLIP[:-100], 0.0, "EIO"),
    "half at first sight": (CLIP[:-100], 3600.0, "EAGAIN"),
}


@pytest.mark.parametrize("word", ["GENERATE_FAILED", "internal_error", "审核失败"])
@pytest.mark.parametrize("case", UNDER_FAILURE)
def test_what_is_served_under_an_odd_word_for_failure_is_judged_by_its_content(
    view, endpoint, quiet_log, word, case
):
    """The one that is whole is read; of the other one, waiting comes to an end."""
    data, settle_seconds, says = UNDER_FAILURE[case]
    quiet_log.allow("EIO")
    endpoint.add("v", data=data)
    files = view(OddWord(word), settle_seconds)

    assert errno_of(lambda: files.size_bytes("v")) == says


def test_trouble_on_the_way_to_the_proof_is_trouble_and_no_verdict(view, endpoint):
    """A cut is resumed, and the container judged as if there had been none."""
    endpoint.add("v", data=CLIP)
    files = view()
    endpoint.inject(faults.close_at(7), 2)

    assert errno_of(lambda: files.size_bytes("v")) == "none"
    assert endpoint.faults_left == 0


def test_a_size_that_grows_after_the_proof_is_a_new_version(
    build, endpoint, expected_log
):
    """It was whole when it was looked at; the old handles get ESTALE."""
    expected_log("unknown status word|ESTALE")
    endpoint.personality = OddWord()
    endpoint.add("v", data=mp4(MEDIA * 100))
    cache = {"negative_ttl_seconds": 0.0, "metadata_ttl_seconds": 0.0}
    files = Direct(build(cache, settle_seconds=0.0))
    with opened(files, "v") as old:
        old.read(0, 10)
        video = endpoint.add("v", data=mp4(MEDIA * 120))

        check_reads(files, video, sequential(video.size_bytes))
        assert errno_of(lambda: old.read(4_000_000, 10)) == "ESTALE"


def test_sights_are_bounded():
    readiness = Readiness(5.0)
    for number in range(5000):
        readiness._sight_of(Content(ENDPOINT, f"v{number}", 10, Validator()))

    assert len(readiness._sights) < 2500
