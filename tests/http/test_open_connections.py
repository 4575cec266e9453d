"""Idle connections that are closed while their pools give them out."""

from collections.abc import Callable

import pytest

from hingfs.http.open_connections import OpenConnections


class Socket:
    def __init__(self, on_close: Callable[[], None] = lambda: None) -> None:
        self.closed = False
        self._on_close = on_close

    def close(self) -> None:
        self.closed = True
        self._on_close()


class Connection:
    """One that a pool may hand out."""

    def __init__(self, sock: Socket) -> None:
        self.sock: Socket | None = sock
        self.kept_at = 1.0

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
        self.sock = None


@pytest.mark.parametrize("end", [OpenConnections.close_idle, OpenConnections.close])
def test_one_that_was_connected_anew_meanwhile_stays(end):
    """Its thread found it among the idle ones no more."""
    open_ = OpenConnections()
    anew = Socket()
    connections: list[Connection] = []

    def connect_anew() -> None:
        for connection in connections:
            if connection.sock is not anew:
                assert not open_.take(connection)
                connection.sock = anew

    sockets = [Socket(connect_anew), Socket(connect_anew)]
    connections += map(Connection, sockets)
    for connection in connections:
        open_.keep(connection)

    end(open_)

    assert all(sock.closed for sock in sockets)
    assert not anew.closed
    assert [connection.sock for connection in connections] == [anew, anew]
