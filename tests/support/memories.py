"""How long an engine remembers what failed, as a test wants it."""

from hingfs.engine import Engine


def remember_failed_transfers(engine: Engine, seconds: float) -> None:
    """Have *engine* remember for *seconds* that a block could not be fetched."""
    engine.fetcher._landings._failure_memory_seconds = seconds
