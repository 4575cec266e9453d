"""The disk cache of a soaked mount: how much it takes, and how it is spoilt."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

from hingfs.cache.layout import FOLDER

from .limits import MB


class SoakedDisk:
    """The disk cache below *directory*, which the mount has as its --cache-dir.

    The mount reads from *folders*: that of the cache, and that of what is kept.
    """

    def __init__(self, directory: Path, chance: random.Random, folders: int) -> None:
        self.directory = directory
        self.folders = folders
        self._chance = chance
        self.spoilt = 0
        self.peak_mb = 0.0

    def look(self) -> None:
        """Note how much it takes now."""
        taken = 0
        for entry in self._files():
            try:
                taken += 512 * entry.stat().st_blocks
            except FileNotFoundError:  # evicted meanwhile
                continue
        self.peak_mb = max(self.peak_mb, taken / MB)

    def spoil(self) -> None:
        """Delete or cut one of its files, as people and full disks do.

        No byte is flipped: one that flips while it is read was good when it was checked.
        """
        files = sorted(Path(entry) for entry in self._files())
        if not files:
            return
        victim = self._chance.choice(files)
        try:
            if self._chance.random() < 0.5:
                victim.unlink()
            else:
                os.truncate(victim, self._chance.randrange(victim.stat().st_size + 1))
        except FileNotFoundError:
            return
        self.spoilt += 1

    def _files(self) -> Iterator[os.DirEntry[str]]:
        for folder in (self.directory / FOLDER).glob("??"):
            with os.scandir(folder) as entries:
                yield from (one for one in entries if one.name[0] != ".")
