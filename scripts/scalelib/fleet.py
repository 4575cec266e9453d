"""A fleet that reads clips for some epochs, and what its caches leave to the API. Pure.

In each epoch every clip is read once, whole, by a random host, in a random order: so a
training job shuffles, and so does a scheduler that takes the next free worker. A host has
a disk cache, and all hosts may share one more. Both let the clip go that was used last
longest ago.

`expected` is the formula, `simulated` plays the job. The formula takes what one cache
misses for a random share of all reads: it tells up to 7 % of the reads too few for the API
where one or two hosts have large disks, else it is within 2 %. Both leave out what the caches
cannot know: clips that change, hosts that die, and two hosts that want one clip at the
same moment, which a lease makes one transfer.
"""

import math
import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fleet:
    """*hosts* read *clips* in each of *epochs*.

    *host_share* and *shared_share* are how much of all clips a host's disk cache and the
    shared cache can hold, 0.0 to 1.0.
    """

    clips: int
    hosts: int
    epochs: int
    host_share: float
    shared_share: float


@dataclass(frozen=True, slots=True)
class Traffic:
    """Reads of clips, in clips: of a host's disk, the shared cache, and the API."""

    from_disk: float
    from_shared: float
    from_api: float


def expected(fleet: Fleet) -> Traffic:
    """What *fleet* reads, by the formula."""
    disk = shared = api = 0.0
    missed: list[float] = []  # of each epoch: what comes to the shared cache
    for epoch in range(1, fleet.epochs + 1):
        hit = hits([1 / fleet.hosts] * epoch, fleet.host_share)
        missed.append(1 - hit)
        found = hits(missed, fleet.shared_share)
        disk += hit
        shared += missed[-1] * found
        api += missed[-1] * (1 - found)
    return Traffic(disk * fleet.clips, shared * fleet.clips, api * fleet.clips)


def hits(chances: Sequence[float], held_share: float) -> float:
    """How many reads of the last epoch find their clip in one cache, 0.0 to 1.0.

    *chances* tell for each epoch how many of its reads come to this cache, which holds
    *held_share* of all clips. A clip is there if it came in an epoch before, and no more
    than *held_share* of all clips came since. It came at the moment x of its epoch and
    comes now at y, each anywhere from 0 to 1; so of all clips 1 - (1 - (1-x)c) b (1 - yd)
    came since, where c and d are the chances of both epochs, and b is the share that came
    in none of those between.
    """
    *before, now = chances
    total, between = 0.0, 1.0
    for then in reversed(before):
        if between <= 0:
            break
        least = max(0.0, 1 - held_share) / between
        total += then * between * _within(least, 1 - then, 1 - now)
        between *= 1 - then
    return total


def _within(least: float, u_low: float, v_low: float) -> float:
    """How often u * v is *least* or more, for u and v anywhere from their lows to 1."""
    if u_low >= 1 or v_low >= 1 or least > 1:
        return float(least <= min(u_low, 1) * min(v_low, 1))
    low = max(u_low, least)
    split = min(1.0, least / v_low) if v_low > 0 else 1.0
    split = max(low, split)
    area = (1 - v_low) * (1 - split)
    if split > low:  # so that low is above 0, if least is
        area += (split - low) - (least * math.log(split / low) if least > 0 else 0.0)
    return area / ((1 - u_low) * (1 - v_low))


class _Lru:
    def __init__(self, most: int) -> None:
        self._most = most
        self._clips: OrderedDict[int, None] = OrderedDict()

    def use(self, clip: int) -> bool:
        """Whether *clip* was here; it is now."""
        here = clip in self._clips
        self._clips[clip] = None
        self._clips.move_to_end(clip)
        if len(self._clips) > self._most:
            self._clips.popitem(last=False)
        return here


def simulated(fleet: Fleet, seed: int = 0) -> Traffic:
    """What *fleet* reads, played read by read."""
    chance = random.Random(seed)
    disks = [_Lru(round(fleet.host_share * fleet.clips)) for _ in range(fleet.hosts)]
    common = _Lru(round(fleet.shared_share * fleet.clips))
    disk = shared = api = 0
    order = list(range(fleet.clips))
    for _ in range(fleet.epochs):
        chance.shuffle(order)
        for clip in order:
            if disks[chance.randrange(fleet.hosts)].use(clip):
                disk += 1
            elif common.use(clip):
                shared += 1
            else:
                api += 1
    return Traffic(disk, shared, api)
