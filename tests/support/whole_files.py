"""Whole files without HTTP: answers in pieces, and the spool that takes them in."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from hingfs.api.whole import UNKNOWN_SIZE
from hingfs.blocks import KIB, MIB
from hingfs.cache.memory import MemoryBlockCache
from hingfs.cache.tiers import Tiers
from hingfs.content import Content
from hingfs.errors import BodyCut, Closing, HingError
from hingfs.fetch.spool_store import SpoolStore
from hingfs.version import Validator
from tests.support.sources import ENDPOINT


class Pieces:
    """An answer in pieces of *step* bytes; where *cut* it breaks off at its end."""

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        data: bytes,
        step: int,
        *,
        cut: bool = False,
    ) -> None:
        self.status = status
        self.headers = headers
        self._left = data
        self._step = step
        self._cut = cut

    def read_some(self, _most: int, *, decoded: bool) -> bytes:
        assert not decoded
        piece, self._left = self._left[: self._step], self._left[self._step :]
        if not piece and self._cut:
            raise BodyCut("the body broke off")
        return piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def close(self) -> None:
        """As above."""


class _Source:
    def __init__(self, answer: Callable[[int], Pieces]) -> None:
        self._answer = answer

    def open_whole(self, _content: Content, offset: int) -> Pieces:
        return self._answer(offset)


@dataclass(frozen=True)
class Outcome:
    """The end of a download: its bytes, or an error after so many bytes."""

    data: bytes
    error: HingError | None


def download(answer: Callable[[int], Pieces], size: int = UNKNOWN_SIZE) -> Outcome:
    """The end of a download of *size* bytes; *answer* is asked at an offset."""
    store = SpoolStore(
        _Source(answer),  # type: ignore[arg-type]
        Tiers(MemoryBlockCache(MIB), 128 * KIB),
        disk_bytes=MIB,
        directory=None,
        stall_seconds=10.0,
    )
    try:
        spool = store.open(Content(ENDPOINT, "v", size, Validator(), ranges=False))
        with suppress(HingError):
            read = bytearray(spool.wait_complete(time.monotonic() + 10))
            spool.read_into(memoryview(read), 0, time.monotonic())
            return Outcome(bytes(read), spool.error)
        return Outcome(spool.peek(0, MIB), spool.error)
    finally:
        store.close(Closing("the test is over"))
