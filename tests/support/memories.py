"""How long an engine remembers, and believes, as a test wants it."""

import math
from dataclasses import replace

from hingfs.engine import Engine


def remember_failed_transfers(engine: Engine, seconds: float) -> None:
    """Have *engine* remember for *seconds* that a block could not be fetched."""
    engine.fetcher._landings._failure_memory_seconds = seconds


def remember_failed_reads(engine: Engine, seconds: float) -> None:
    """Have readers that *engine* makes from here on remember failed reads so long."""
    engine.readers._failure_memory_seconds = seconds


def show_stale_listings(engine: Engine, seconds: float) -> None:
    """Have *engine* show a listing of that age if it can have no newer one."""
    engine.catalog._list._stale_seconds = seconds


def excuse_unserved(engine: Engine, seconds: float) -> None:
    """Have *engine* excuse a completed video that is not served for so long."""
    engine.catalog._versions._unserved_seconds = seconds


def age_listing(engine: Engine, *, walk_is_due: bool = False) -> None:
    """Let the last listing of *engine* be as old as its TTL, or as 30 of them."""
    shown, refresh = engine.catalog._list, engine.catalog._list._refresh
    assert shown._whole is not None
    assert refresh._ground is not None
    shown._whole = replace(shown._whole, taken_at=shown._whole.taken_at - 60.0)
    shown._latest, shown._stat_read_at = shown._whole, -math.inf
    if walk_is_due:
        refresh._ground = replace(refresh._ground, walked_at=-math.inf)
