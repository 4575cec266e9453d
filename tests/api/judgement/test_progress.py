"""How far a rendering has come, in the words of many servers."""

import pytest

from hingfs.api.judgement.progress import progress_of


@pytest.mark.parametrize(
    ("video", "share"),
    [
        ({"progress": 42}, 0.42),
        ({"progress": 0}, 0.0),
        ({"progress": 1}, 0.01),  # OpenAI's is a whole percentage
        ({"progress": 100}, 1.0),
        ({"progress": 0.42}, 0.42),
        ({"progress": 42.5}, 0.425),
        ({"progress": "42"}, 0.42),
        ({"progress": "42%"}, 0.42),
        ({"progress": "0.5%"}, 0.005),
        ({"progress": "0.5"}, 0.5),
        ({"progressPercent": 7}, 0.07),
        ({"metadata": {"progress_percentage": 7}}, 0.07),
        ({"progress": {"percent": 7}}, 0.07),
        ({"progress": None, "percentage": 7}, 0.07),
        ({"progress": "soon", "percentage": 7}, 0.07),
    ],
)
def test_a_server_tells_how_much_is_rendered(video, share):
    assert progress_of(video) == pytest.approx(share)


@pytest.mark.parametrize(
    "progress",
    [
        *(None, True, -1, 101, 10**400, float("nan"), float("inf"), "", "soon"),
        *("9" * 5000, "1e1", [], {}, {"stage": 2}, "\x00"),
    ],
)
def test_what_is_no_share_tells_nothing(progress):
    assert progress_of({"progress": progress}) is None


def test_no_video_object_tells_nothing():
    assert progress_of("progress") is None
