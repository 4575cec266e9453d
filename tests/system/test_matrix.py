"""The same expectations on every server of the survey and the field.

`operations` are called directly for all personalities; the three that differ most
(whole files only; a redirect to storage; everything by the book) are mounted on both
bindings too.
"""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from hingfs.library.names import name_of
from hingfs.mount.serving import Mount
from hingfs.settings import CacheConfig, Config, EndpointConfig, MountConfig
from hingfs.token import Token
from tests.support.doubtful_servers import (
    SHIFTING,
    Balancer,
    FewRights,
    Firewall,
    Replicas,
    Walled,
    draws,
    turns,
)
from tests.support.endpoint import FakeEndpoint, Video
from tests.support.limited_servers import Metered, TokenBucket
from tests.support.mounting import BINDINGS, Mounted, NotUpError
from tests.support.odd_servers import FIELD
from tests.support.personalities import PERSONALITIES, Personality
from tests.support.reading import errno_of
from tests.support.views import (
    Direct,
    Through,
    View,
    check_reads,
    opened,
    sequential,
)

# Odd, above four blocks and above what is fetched whole at open.
SIZE_BYTES = 2_000_003
MOUNTED = ("openai", "litellm_new", "aisix_redirect")
# Bifrost's list wants a provider, which nobody can know.
LISTLESS = {"new_api_old", "new_api_new", "aisix_proxy", "aisix_redirect", "bifrost"}
LISTLESS |= {"few_rights"}
WRONG_TOKEN = "oh-wrong-token"

# One of each kind that cannot be taken at its word, or has little to give. Not among
# them: the server whose first byte is late, since what is made for it begins after
# seconds; replicas of which one alone knows the status of a video, since a name that was
# never seen may be missing there; and a key without the status route, which alone knows
# that a video has expired.
DOUBTFUL: dict[str, Callable[[], Personality]] = {
    "shifting": SHIFTING["a-copy-for-each-answer"],
    "shifting_edges": SHIFTING["two-edges-by-connection"],
    "shifting_head": SHIFTING["head-from-a-cache"],
    "replicas_content": lambda: Replicas(
        Balancer(turns(2), pinned=True), routes=("content",)
    ),
    "replicas_drawn": lambda: Replicas(
        Balancer(draws(2), pinned=False), routes=("content",)
    ),
    "few_rights": FewRights,
    "walled": lambda: Walled(wall=Now(one_in=30)),
    "metered": lambda: Metered(TokenBucket(60, 300.0), "Retry-After-Ms"),
}
# Servers that count or draw are made anew for each test of a token and each server.
SERVERS: dict[str, Callable[[], Personality]] = {
    **{
        name: partial(lambda server: server, server)
        for name, server in {**PERSONALITIES, **FIELD}.items()
    },
    **DOUBTFUL,
}
DIRECT = [(name, "direct") for name in SERVERS]
THROUGH = [
    pytest.param((name, binding), marks=pytest.mark.fuse)
    for name in MOUNTED
    for binding in BINDINGS
]


class Now(Firewall):
    """Blocks *one_in* so many requests."""

    def __init__(self, one_in: int) -> None:
        numbers = count(1)
        super().__init__(math.inf, lambda _request: next(numbers) % one_in == 0)


def name_of_case(case: tuple[str, str]) -> str:
    return "-".join(case)


@dataclass
class Server:
    """One personality, and how its files are looked at. Ids are never used twice."""

    name: str
    endpoint: FakeEndpoint
    view: View
    numbers: Iterator[int]

    def add(self, status: str = "completed", size_bytes: int = SIZE_BYTES) -> Video:
        return self.endpoint.add(self.new_id(), status=status, size_bytes=size_bytes)

    def new_id(self) -> str:
        """An id that every server takes; Bifrost wants the colon."""
        return f"video_{next(self.numbers)}:openai"

    def errnos(self, video_id: str) -> tuple[str, str]:
        """The errnos of stat and open of *video_id*."""
        return (
            errno_of(lambda: self.view.size_bytes(video_id)),
            errno_of(lambda: self.view.open(video_id).close()),
        )


def config_of(endpoint: FakeEndpoint, token: str) -> Config:
    return Config(
        MountConfig(Path("/nowhere")),
        EndpointConfig(
            base_url=endpoint.base_url,
            token=Token(token),
            read_seconds=20.0,
            metadata_seconds=20.0,
        ),
        CacheConfig(negative_ttl_seconds=0.0, listing_ttl_seconds=0.0),
    )


def view_of(stack: ExitStack, endpoint: FakeEndpoint, way: str, token: str) -> View:
    if way == "direct":
        mount = Mount(config_of(endpoint, token), lambda: None)
        stack.callback(mount.close)
        return Direct(mount)
    options = ("--negative-ttl", "0s", "--listing-ttl", "0s", "--no-check")
    mounted = Mounted(endpoint, way, *options, token=token)
    return Through(stack.enter_context(mounted).directory)


@pytest.fixture(scope="module", params=[*DIRECT, *THROUGH], ids=name_of_case)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server, and its files directly or through a mount."""
    name, way = request.param
    with ExitStack() as stack:
        endpoint = stack.enter_context(FakeEndpoint(personality=SERVERS[name]()))
        view = view_of(stack, endpoint, way, endpoint.token)
        yield Server(name, endpoint, view, count(1))


def test_a_ready_video_reads_from_its_first_byte_to_its_last(server: Server) -> None:
    video = server.add()

    assert server.view.size_bytes(video.video_id) == SIZE_BYTES
    check_reads(server.view, video, sequential(SIZE_BYTES))


def test_a_ready_video_reads_backwards(server: Server) -> None:
    video = server.add()

    check_reads(server.view, video, sequential(SIZE_BYTES)[::-1])


def test_a_ready_video_reads_at_random(server: Server) -> None:
    video = server.add()
    draw = random.Random(server.name)
    reads = [
        (draw.randrange(SIZE_BYTES), draw.choice([1, 100, 4096, 65_536, 300_001]))
        for _ in range(40)
    ]

    check_reads(server.view, video, reads)


def test_a_ready_video_reads_at_its_tail_and_ends_there(server: Server) -> None:
    """A player that looks for the index reads there first; past the end is nothing."""
    video = server.add()
    tail = [
        (SIZE_BYTES - 65_536, 65_536),
        (SIZE_BYTES - 1, 1),
        (SIZE_BYTES - 10, 100),
        (SIZE_BYTES, 10),
        (SIZE_BYTES + 1_000_000, 10),
        (0, 16),
    ]

    check_reads(server.view, video, tail)


@pytest.mark.parametrize("size_bytes", [1, 4095, 4096, 262_144])
def test_a_small_video_has_its_size_and_bytes(server: Server, size_bytes: int) -> None:
    video = server.add(size_bytes=size_bytes)

    check_reads(server.view, video, [(0, size_bytes), (size_bytes // 2, 4096)])


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_video_that_is_not_ready_is_eagain_and_readable_once_it_is(
    server: Server, status: str
) -> None:
    video = server.add(status)
    assert server.errnos(video.video_id) == ("EAGAIN", "EAGAIN")
    assert server.errnos(video.video_id) == ("EAGAIN", "EAGAIN")

    server.endpoint.set_status(video.video_id, "completed")

    check_reads(server.view, video, sequential(SIZE_BYTES))


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_failed_video_is_eio_and_stays_so(
    server: Server, status: str, quiet_log
) -> None:
    video = server.add(status)
    if isinstance(server.view, Direct):  # else it is said in the log of the mount
        quiet_log("rendering failed")

    assert server.errnos(video.video_id) == ("EIO", "EIO")
    assert server.errnos(video.video_id) == ("EIO", "EIO")


def test_a_missing_video_is_enoent_and_readable_once_it_exists(server: Server) -> None:
    video_id = server.new_id()
    assert server.errnos(video_id) == ("ENOENT", "ENOENT")

    video = server.endpoint.add(video_id, size_bytes=SIZE_BYTES)

    check_reads(server.view, video, [(0, SIZE_BYTES)])


def test_an_expired_video_is_enoent(server: Server) -> None:
    video = server.add("expired")

    assert server.errnos(video.video_id) == ("ENOENT", "ENOENT")


def test_the_listing_works_or_is_quietly_absent(server: Server) -> None:
    """Listed: what can be read. Without a list: what was opened. Never an error."""
    ready, unopened, rendering = server.add(), server.add(), server.add("in_progress")
    with opened(server.view, ready.video_id):
        pass

    names = set(server.view.names())

    assert name_of(ready.video_id) in names
    assert (name_of(unopened.video_id) in names) is (server.name not in LISTLESS)
    assert name_of(rendering.video_id) not in names


@pytest.mark.parametrize("case", [*DIRECT, *THROUGH], ids=name_of_case)
def test_a_wrong_token_is_eacces(case: tuple[str, str], expected_log) -> None:
    """As 401, and as LiteLLM says it: 400 "No connected db."."""
    name, way = case
    if way == "direct":
        expected_log("the API refused the token")
    with ExitStack() as stack:
        endpoint = stack.enter_context(FakeEndpoint(personality=SERVERS[name]()))
        view = view_of(stack, endpoint, way, WRONG_TOKEN)
        server = Server(name, endpoint, view, count(1))
        video = server.add()

        assert server.errnos(video.video_id) == ("EACCES", "EACCES")
        assert server.errnos(server.new_id()) == ("EACCES", "EACCES")
        assert errno_of(view.names) == "EACCES"


@pytest.mark.fuse
@pytest.mark.parametrize("name", MOUNTED)
def test_a_wrong_token_is_refused_before_mounting(name: str) -> None:
    with FakeEndpoint(personality=SERVERS[name]()) as endpoint:
        mounted = Mounted(endpoint, BINDINGS[0], token=WRONG_TOKEN)
        with pytest.raises(NotUpError) as refused, mounted:
            pytest.fail("it was mounted")

    assert refused.value.status == 3
    assert WRONG_TOKEN not in str(refused.value)
