"""The race of `scripts/race`, scaled down: no clip is lost that could be kept."""

from pathlib import Path

import pytest
from racelib.race import EARLY_SECONDS, Race, Result, run

from tests.support.mounting import require_fuse

MB = 1_000_000
# One expires each 0.3 s, as often as a keeping thread looks whether it stands back.
EXPIRING = Race(
    sizes=[2 * MB] * 20,
    bytes_per_second=4 * MB,
    first_seconds=3.6,
    step_seconds=0.3,
    film_bytes_per_second=MB / 4,
)


@pytest.mark.fuse
@pytest.mark.slow
def test_as_many_clips_are_kept_as_the_link_can_bring_before_they_expire(
    tmp_path: Path,
) -> None:
    """Beside a film that is read at its rate; the bound leaves room for a busy machine."""
    require_fuse()

    result = run(EXPIRING, tmp_path, "mfusepy")

    assert not result.wrong
    assert len(result.kept_at) >= result.best(0.8, EARLY_SECONDS)
    lost_bytes = result.clip_bytes - len(result.kept_at) * 2 * MB
    assert lost_bytes <= 6 * MB, "of clips that were begun and did not come"
    assert result.film_bytes >= MB


def test_the_best_order_and_the_plain_one_are_told_apart() -> None:
    """Of clips that take two seconds each and expire each second, half can be kept."""
    race = Race([2 * MB] * 10, MB, 2.5, 1.0, 1.0)

    result = Result(race, {}, 0, 0.0, 0, [])

    assert (result.best(), result.plain()) == (5, 1)
