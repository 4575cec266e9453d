"""A number that is learnt of the server, kept for the next mount.

Decides how it is written down. Leaves to its owner what it counts, and when it changes.
"""

from .store import FactStore


class Count:
    """The number of *subject*. Thread safety: all methods."""

    def __init__(self, store: FactStore, subject: str) -> None:
        self._store = store
        self._subject = subject
        lesson = store.lesson(subject)
        written = lesson.value[:9] if lesson is not None else ""
        # What an earlier mount learnt, if it did.
        self.recalled = int(written) if written.isdecimal() else None

    def learn(self, value: int | None) -> None:
        """It is *value* now, kept for a day; None: what was learnt is not so."""
        if value is None:
            self._store.unlearn(self._subject)
        else:
            self._store.learn(self._subject, str(value))
