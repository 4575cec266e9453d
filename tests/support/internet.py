"""Hosts of the Internet, played on loopback.

Names resolve as a test says, and connections to their addresses end at a fake on
loopback, which calls itself by the address that was meant. In this process by
`Internet.patch`, in that of a mount by `Internet.launcher`.
"""

import json
import socket
import sys
from dataclasses import asdict, dataclass, field

import pytest

from hingfs.http import dialing

_RUN = """\
import sys
from hingfs.cli.main import main
from tests.support.internet import Internet
Internet.of_text(sys.argv.pop(1)).install()
sys.exit(main())
"""


class _Elsewhere(socket.socket):
    """A socket that says it is connected to another address than it is."""

    peer = ("", 0)

    def getpeername(self):
        return self.peer


@dataclass
class Internet:
    """Names, their addresses, and the loopback port that plays each address.

    *ports* has "ADDRESS" or "ADDRESS PORT" as its keys, and 0 for a port that refuses.
    """

    addresses: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    connected: list[str] = field(default_factory=list)
    # Names that have another address when they are used.
    rebound: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_text(cls, text: str) -> "Internet":
        """What `launcher` wrote."""
        return cls(**json.loads(text))

    def put(self, name: str, address: str, **ports: int) -> None:
        """*name* is at *address*; its ports, as p443=…, are played by those given."""
        self.addresses[name] = address
        for port, played_by in ports.items():
            self.ports[f"{address} {port.removeprefix('p')}"] = played_by

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be the Internet of this process, for one test."""
        monkeypatch.setattr(socket, "getaddrinfo", self.resolve)
        monkeypatch.setattr(dialing, "begin_connecting", self.connect)

    def install(self) -> None:
        """Be the Internet of this process for good."""
        socket.getaddrinfo = self.resolve
        dialing.begin_connecting = self.connect  # type: ignore[assignment] # a method

    @property
    def launcher(self) -> tuple[str, ...]:
        """The command that runs hingfs in a process that has this Internet."""
        return (sys.executable, "-c", _RUN, json.dumps(asdict(self)))

    def resolve(self, host, port, *_args, **_options):
        """As socket.getaddrinfo."""
        address = self.addresses.get(host, host)
        if port:  # to connect to it; the check of a redirect wants the address alone
            address = self.rebound.get(host, address)
        if not port and address == host and not _is_number(host):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port or 0))]

    def connect(
        self, address: str, port: int, _options: list[dialing.SocketOption]
    ) -> socket.socket:
        """As dialing.begin_connecting; it is connected at once."""
        self.connected.append(address)
        played_by = self.ports.get(f"{address} {port}", self.ports.get(address, port))
        if not played_by:
            raise ConnectionRefusedError(111, "Connection refused")
        real = socket.create_connection(("127.0.0.1", played_by))
        fake = _Elsewhere(real.family, real.type, real.proto, real.detach())
        fake.peer = (address, port)
        return fake


def _is_number(host: str) -> bool:
    try:
        socket.inet_aton(host)
    except OSError:
        return ":" in host
    return True
