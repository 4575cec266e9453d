"""Whether a container ends where its file does; whatever its bytes are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.api.judgement.closing import closes
from tests.support.containers import OPEN, WHOLE, box, mp4
from tests.support.mounting import CLIPS

pytestmark = pytest.mark.usefixtures("little_address_space")


def is_closed(data: bytes) -> bool:
    return closes(lambda offset, count: data[offset : offset + count], len(data))


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_container_closes(name):
    assert is_closed(WHOLE[name])


@pytest.mark.parametrize("name", OPEN)
def test_a_container_still_written_or_of_another_kind_does_not_close(name):
    assert not is_closed(OPEN[name])


@pytest.mark.parametrize(
    "path", sorted(CLIPS.glob("*.mp4")), ids=lambda path: path.stem
)
def test_real_clips_close_and_no_beginning_of_one_does(path):
    data = path.read_bytes()

    assert is_closed(data)
    for share in (0.1, 0.5, 0.9, 0.999):
        assert not is_closed(data[: int(share * len(data))])


@given(st.integers(0, len(mp4()) - 1))
def test_no_beginning_of_a_container_closes(length):
    assert not is_closed(mp4()[:length])


@given(st.binary(max_size=200), st.integers(0, 2**64 - 1))
def test_any_bytes_of_any_size_are_walked_without_an_error(data, size_bytes):
    read = lambda offset, count: data[offset : offset + count]  # noqa: E731

    assert not closes(read, size_bytes) or size_bytes <= len(data)


def test_a_file_of_nothing_but_headers_is_walked_so_far_and_no_farther():
    asked = []

    def read(offset, count):
        asked.append(offset)
        return box(b"free")

    assert not closes(read, 1 << 40)
    assert len(asked) < 3000
