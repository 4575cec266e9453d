"""The connections that an engine in this process tries to make, counted."""

import socket

import pytest

from hingfs.http import dialing


class Attempts:
    """Counts the connections that are tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._real = dialing.begin_connecting
        monkeypatch.setattr(dialing, "begin_connecting", self._connect)

    def _connect(self, *args: object, **options: object) -> socket.socket:
        self.count += 1
        return self._real(*args, **options)  # type: ignore[arg-type]
