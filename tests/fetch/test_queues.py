"""Which transfer is next, and how much of it is asked for; without threads."""

from hingfs.blocks import MIB
from hingfs.content import Content
from hingfs.fetch.queues import LARGEST_REQUEST_BYTES, Queues
from hingfs.fetch.transfer import Transfer
from hingfs.version import Validator
from tests.support.sources import ENDPOINT

CONNECTIONS = 8
FILM, *CLIPS = (
    Content(ENDPOINT, name, 4096 * MIB, Validator()) for name in ("film", *"abcdefgh")
)


class Queued(Queues):
    """Blocks of a MiB; every transfer may run."""

    def __init__(self) -> None:
        super().__init__(MIB)

    def ahead(self, content: Content, first: int, stop: int) -> Transfer:
        return self.put(Transfer(content, first, stop, demand=False))

    def start(self) -> Transfer:
        """Begin the next transfer, cut as `Schedule` does."""
        transfer = self.begin(lambda _: True, ahead=True)
        assert transfer is not None
        stop = transfer.first + self.length(transfer, CONNECTIONS)
        if stop < transfer.stop:
            self.put(transfer.cut(stop, demand=False), first=True)
        return transfer


def test_a_new_file_is_not_behind_what_the_first_has_queued():
    queues = Queued()
    queues.ahead(FILM, 0, 60)
    assert [queues.start().content for _ in range(3)] == [FILM] * 3

    for clip in CLIPS[:2]:
        queues.ahead(clip, 0, 20)

    started = [queues.start().content for _ in range(4)]
    assert started == [*CLIPS[:2], *CLIPS[:2]]


def test_the_file_that_waited_longest_is_next_among_equals():
    queues = Queued()
    for clip in CLIPS[:3]:
        queues.ahead(clip, 0, 200)
    for clip in CLIPS[:3] * 2:
        transfer = queues.start()
        assert transfer.content is clip
        queues.ended(transfer)


def test_one_file_alone_comes_in_parallel_and_among_many_in_one_request():
    alone = Queued()
    alone.ahead(FILM, 0, 27)
    assert [alone.start().rest_blocks + 1 for _ in range(9)] == [3] * 9

    many = Queued()
    for clip in CLIPS:
        many.ahead(clip, 0, 27)
    started = [many.start() for _ in CLIPS]
    assert [(t.content, t.stop) for t in started] == [(clip, 27) for clip in CLIPS]


def test_a_share_changes_between_planning_and_beginning():
    queues = Queued()
    queues.ahead(FILM, 0, 20)
    others = [queues.ahead(clip, 0, 10) for clip in CLIPS[:3]]
    assert queues.share(FILM, CONNECTIONS) == 2

    assert queues.drop_ahead(others[0].content, lambda _: True)
    assert queues.drop_ahead(others[1].content, lambda _: True)

    assert queues.share(FILM, CONNECTIONS) == 4
    assert queues.share(CLIPS[5], CONNECTIONS) == 2, "it would be the third"


def test_what_follows_a_queued_run_grows_it():
    queues = Queued()
    for clip in CLIPS:
        queues.ahead(clip, 0, 1)
    first = queues.ahead(FILM, 0, 4)

    assert queues.ahead(FILM, 4, 8) is first
    assert queues.requests_ahead(CONNECTIONS) == len(CLIPS) + 1
    assert queues.ahead(FILM, 20, 20 + LARGEST_REQUEST_BYTES // MIB) is not first


def test_what_has_begun_is_asked_for_by_no_other_request():
    """One that began before it, or ended behind it, would not be that answer."""
    queues = Queued()
    begun = queues.put(Transfer(FILM, 4, 8, demand=False, begun=True))
    before, behind = queues.ahead(FILM, 0, 4), queues.ahead(FILM, 8, 12)

    assert queues.start() is begun
    assert (begun.first, begun.stop) == (4, 8)
    assert (before.stop, behind.first) == (4, 8)


def test_what_lies_between_a_demand_and_the_tail_comes_with_both():
    """A clip among many costs one request after its head."""
    queues = Queued()
    for clip in CLIPS:
        queues.ahead(clip, 0, 1)
    queues.ahead(FILM, 12, 13)
    demand = queues.put(Transfer(FILM, 2, 3, demand=True))

    assert queues.ahead(FILM, 3, 12) is demand
    assert (demand.first, demand.stop) == (2, 13)
    assert queues.requests_ahead(CONNECTIONS) == len(CLIPS)
    assert queues.start() is demand
    queues.ended(demand)
    assert queues.share(FILM, CONNECTIONS) == 1, "it would be the ninth"


def test_no_demand_comes_behind_what_is_fetched_ahead():
    queues = Queued()
    demand = queues.put(Transfer(FILM, 12, 13, demand=True))

    assert queues.ahead(FILM, 2, 12) is not demand
    assert queues.start() is demand
