"""How fast a video is rendered, by the progress that was seen of it. Pure."""


class Pace:
    """From the first progress that was seen to the last. Used by one thread.

    Times are monotonic. A progress that falls begins anew: the job was queued again.
    """

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None  # (progress, when it was seen)
        self._last: tuple[float, float] | None = None

    def saw(self, progress: float | None, now: float) -> None:
        """The video is *progress* (0.0 to 1.0) done *now*; None: nobody tells."""
        if progress is None:
            return
        if self._last is None or progress < self._last[0]:
            self._first = self._last = (progress, now)
        elif progress > self._last[0]:
            self._last = (progress, now)

    def seconds_left(self, now: float) -> float | None:
        """How long it takes yet; None before two values were seen, and once it is late."""
        if self._first is None or self._last is None or self._first == self._last:
            return None
        (first, began), (last, seen) = self._first, self._last
        left = (1.0 - last) * (seen - began) / (last - first)
        left -= now - seen
        return left if left > 0 else None
