"""What the origin was asked for and sent, read from its access log."""

import re
from dataclasses import dataclass
from typing import Self

# nginx logs the end and the length of a request in whole milliseconds. So a request may
# seem to start before the end of the one that it followed.
ROUNDED = 0.002


@dataclass(frozen=True, slots=True)
class Request:
    """One request that ended, as nginx logged it."""

    start: float
    end: float
    connection: int
    method: str
    status: int
    sent_bytes: int
    first_byte: int
    uri: str

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read one line of the access log."""
        end, took, connection, method, status, sent, span, uri = line.split("|", 7)
        # What was sent, if that is told, then what was asked for.
        first = re.search(r"bytes[ =](\d+)-", span)
        return cls(
            start=float(end) - float(took),
            end=float(end),
            connection=int(connection),
            method=method,
            status=int(status),
            sent_bytes=int(sent),
            first_byte=int(first[1]) if first else 0,
            uri=uri,
        )

    @property
    def is_content(self) -> bool:
        """Whether the request is for bytes of a video (499: cut off before the first)."""
        path = self.uri.partition("?")[0]
        return (
            self.method == "GET"
            and self.status in {200, 206, 499}
            and path.endswith(("/content", ".mp4"))
        )


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the origin was asked for and sent during one measurement."""

    requests: tuple[Request, ...]

    @property
    def content(self) -> list[Request]:
        """The requests for bytes of videos."""
        return [request for request in self.requests if request.is_content]

    @property
    def content_bytes(self) -> int:
        """Bytes of videos that were sent."""
        return sum(request.sent_bytes for request in self.content)

    @property
    def twice_bytes(self) -> int:
        """Bytes of videos that were sent more often than once."""
        reached: dict[str, int] = {}
        distinct = 0
        for request in sorted(self.content, key=lambda one: one.first_byte):
            stop = request.first_byte + request.sent_bytes
            seen = reached.get(request.uri, 0)
            distinct += max(0, stop - max(request.first_byte, seen))
            reached[request.uri] = max(seen, stop)
        return self.content_bytes - distinct

    @property
    def peak_transfers(self) -> int:
        """Most requests for bytes that ran at one time."""
        changes = [(request.end, -1) for request in self.content]
        changes += [(request.start + ROUNDED, 1) for request in self.content]
        running = peak = 0
        for _, change in sorted(changes):
            running += change
            peak = max(peak, running)
        return peak
