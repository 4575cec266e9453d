"""The table of mutations: each has a name, its requests, and its steps on the wire.

A mutation is a function of the answer and a source of chance; it gives steps, which
`line` takes on the wire. It has no effects, so that a seed makes it again.
"""

import enum
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from http.client import responses
from random import Random
from typing import Protocol

from tests.support.personalities import Request, Response, Span, Video

Fields = tuple[tuple[str, str], ...]


# --- steps -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing for *seconds*."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drip:
    """*data* in pieces of *piece_bytes*, each followed by *seconds* of nothing."""

    data: bytes
    piece_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Shred:
    """As `Drip`, but the pieces are cut from the ciphertext of *data*."""

    data: bytes
    piece_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Endless:
    """*piece* again and again, each followed by *seconds* of nothing."""

    piece: bytes
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Together:
    """*data*, some KiB at most, in one piece: it arrives as a whole."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Unasked:
    """*data* after *seconds* without a request; nothing if one comes before.

    *anyway*: it waits for that request, and is then its answer. No client of HTTP/1.1
    can know.
    """

    data: bytes
    seconds: float
    anyway: bool = False


class End(enum.Enum):
    """How a connection ends."""

    CLOSE = "close"
    RESET = "reset"
    ABRUPT = "abrupt"  # without TLS's word that it is the end
    CUT_RECORD = "cut record"  # in the middle of a TLS record


Step = bytes | Pause | Drip | Shred | Endless | Together | Unasked | End
Script = Sequence[Step]


# --- answers -----------------------------------------------------------------------


class World(Protocol):
    """The knowledge of the server that a mutation may use."""

    @property
    def origin(self) -> str:
        """Scheme, host and port of the API."""

    @property
    def closed_origin(self) -> str:
        """As `origin`, where nobody listens."""

    @property
    def plain_origin(self) -> str:
        """As `origin`, without TLS."""

    def storage_url(self, video_id: str) -> str:
        """The same bytes at the storage."""

    def other(self, request: Request) -> "Answer":
        """The honest answer to *request* for another video of the same size."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An honest answer, before it is spoilt.

    *body* is there to HEAD as well, where only its length is told. *sized* says
    whether a client can know the size of the video from elsewhere.
    """

    request: Request
    code: int
    fields: Fields
    body: bytes
    world: World
    span: Span | None = None
    video: Video | None = None
    sized: bool = True

    @staticmethod
    def of(
        request: Request, response: Response, world: World, *, sized: bool
    ) -> "Answer":
        """*response*, with a Content-Length, or chunked where it has no length."""
        body = b"".join(response.body)
        fields = dict(response.headers)
        if response.length is None:
            fields["Transfer-Encoding"] = "chunked"
        elif request.method != "CONNECT":
            fields["Content-Length"] = str(len(body))
        return Answer(
            request,
            response.status,
            tuple(fields.items()),
            body,
            world,
            response.span,
            response.video,
            sized,
        )

    @property
    def reason(self) -> str:
        return responses.get(self.code, "")

    @property
    def status_line(self) -> str:
        return f"HTTP/1.1 {self.code} {self.reason}"

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head."""
        bodiless = self.request.method in {"HEAD", "CONNECT"} or self.code in {204, 304}
        return not bodiless

    @property
    def is_chunked(self) -> bool:
        return self.get("Transfer-Encoding") == "chunked"

    def get(self, name: str) -> str:
        """The value of field *name*; "" if there is none."""
        return dict(self.fields).get(name, "")

    def without(self, *names: str) -> "Answer":
        return replace(
            self, fields=tuple(field for field in self.fields if field[0] not in names)
        )

    def with_field(self, name: str, value: str) -> "Answer":
        """With *value*, where a field of that *name* stood if there was one."""
        if not self.get(name):
            return replace(self, fields=(*self.fields, (name, value)))
        return replace(
            self,
            fields=tuple((n, value if n == name else v) for n, v in self.fields),
        )

    def with_body(self, body: bytes) -> "Answer":
        """With another body, and its length, unless it is chunked."""
        changed = replace(self, body=body)
        if self.is_chunked:
            return changed
        return changed.with_field("Content-Length", str(len(body)))

    def lines(self) -> list[str]:
        return [self.status_line, *(f"{n}: {v}" for n, v in self.fields)]

    def head(self) -> bytes:
        return head_of(self.lines())

    def payload(self) -> bytes:
        """The framed body, which follows the head; b"" where there is none."""
        if not self.has_body:
            return b""
        return chunked(self.body) if self.is_chunked else self.body

    def whole(self) -> bytes:
        return self.head() + self.payload()


def head_of(lines: Iterable[str]) -> bytes:
    """*lines* and the empty one that ends a head."""
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def chunked(body: bytes, last: bytes = b"0\r\n\r\n") -> bytes:
    """*body* in chunks of 64 KiB and the *last* one."""
    pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + last


def tailed(sent: bytes, extra: bytes, most_tail: int = 8000) -> Script:
    """*sent*, and *extra* in one piece with its end."""
    at = max(0, len(sent) - most_tail)
    return [sent[:at], Together(sent[at:] + extra[:most_tail]), extra[most_tail:]]


# --- the table ---------------------------------------------------------------------

Make = Callable[[Answer, Random], Script]
Suits = Callable[[Answer], bool]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of mutation.

    *legal*: HTTP allows it, and a client reads it right. *doubtful*: no client may
    send anything on the connection after it. *undetectable*: no client can know.
    """

    name: str
    make: Make
    suits: Suits
    legal: bool = False
    doubtful: bool = False
    undetectable: bool = False


TABLE: dict[str, Kind] = {}


def add(
    name: str,
    make: Make,
    suits: Suits,
    *,
    legal: bool = False,
    doubtful: bool = False,
    undetectable: bool = False,
) -> None:
    """Put a kind into the table."""
    assert name not in TABLE, name
    TABLE[name] = Kind(name, make, suits, legal, doubtful, undetectable)


def kind(
    name: str,
    suits: Suits,
    *,
    legal: bool = False,
    doubtful: bool = False,
    undetectable: bool = False,
) -> Callable[[Make], Make]:
    """Put the function below into the table."""

    def put(make: Make) -> Make:
        add(
            name,
            make,
            suits,
            legal=legal,
            doubtful=doubtful,
            undetectable=undetectable,
        )
        return make

    return put


# --- what a kind suits -----------------------------------------------------------------


def anything(answer: Answer) -> bool:
    return True


def from_server(answer: Answer) -> bool:
    """Any answer that does not come from a proxy."""
    return answer.request.method != "CONNECT"


def has_fields(*names: str) -> Suits:
    """Whether the answer has all fields of *names*."""
    return lambda answer: all(answer.get(name) for name in names)


def with_body(answer: Answer) -> bool:
    return answer.has_body and bool(answer.body)


def video(answer: Answer) -> bool:
    """Bytes of a video."""
    return with_body(answer) and answer.span is not None


def sized_video(answer: Answer) -> bool:
    """Bytes of a video whose size a client can know, so that it sees a short body."""
    return video(answer) and answer.sized


def part(answer: Answer) -> bool:
    """A range of a video."""
    return video(answer) and answer.code == 206


def document(answer: Answer) -> bool:
    """A status, a page of the list, or an error."""
    return with_body(answer) and answer.get("Content-Type") == "application/json"


def status(answer: Answer) -> bool:
    return answer.request.kind == "status" and answer.code == 200


def listing(answer: Answer) -> bool:
    return answer.request.kind == "list" and answer.code == 200


def get(answer: Answer) -> bool:
    return answer.request.method == "GET"


def api_content(answer: Answer) -> bool:
    """A GET of content at the API, answered with bytes of the video."""
    return video(answer) and answer.request.server == "api"


def other_range(answer: Answer, start: int, stop: int) -> Answer:
    """Bytes [start, stop) of the same video, honestly named."""
    assert answer.video is not None
    size = answer.video.size_bytes
    return answer.with_body(answer.video.read(start, stop)).with_field(
        "Content-Range", f"bytes {start}-{stop - 1}/{size}"
    )
