"""Every failure hingfs can name, as one tree.

HingError
 ├ VideoNotFound      the server said that there is no such video
 ├ VideoNotReady      queued, rendering, or its size is not known yet
 │  └ VideoNotServed  completed, and still not served
 ├ VideoFailed        rendering failed or was blocked, for good
 ├ AccessDenied       the token was refused
 ├ ContentChanged     the bytes are no longer those that were opened
 ├ NotAVideo          the server sent a page or a message where bytes were due
 ├ RangesIgnored      the server sends whole files only
 ├ Closing            the mount is ending
 ├ SpoolFull          no room for a whole-file stream
 ├ CopyDamaged        a block of a kept copy is bad, and the server gives no other
 ├ TransportError     the exchange failed; trying again may help
 │  ├ Unreachable     no connection (DNS, refused, TLS)
 │  │  ├ Dropped      a connection was made, and ended before an answer
 │  │  ├ NoTls        TLS failed: no such protocol, or no trust
 │  │  └ NotAsked     not sent: the server is away, or left others without an answer
 │  ├ Stale           a kept connection had died unseen
 │  ├ NoAnswer        the request was sent, and no answer began in time
 │  ├ BodyCut         a body ended or stalled before its announced length
 │  ├ ServerBroken    5xx, or an answer that breaks HTTP or the range contract
 │  │  ├ Undecodable  a body in a coding that cannot be undone
 │  │  └ NeverServed  completed for long, and its bytes do not come
 │  ├ RateLimited     429; carries how long to wait
 │  │  └ GivenWay     not sent, since nobody waits for it
 │  ├ DeadlineExceeded
 │  └ Unforeseen      a defect of ours, logged with its traceback where it was met
 └ SetupError         nothing is mounted; carries the exit status
    ├ UsageError, TokenError, EndpointError, FuseUnavailable, MountpointError,
    └ MountBusy, NotMounted, NoSuchApi

`errnos` alone decides which errno each becomes.
Text that came from a server goes through `printable` before it enters a message.
"""

import os
import re
import shlex

_CONTROLS = r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
_UNPRINTABLE = re.compile(rf"{_CONTROLS}+")
_LINE_END = re.compile(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")
_UNPRINTABLE_IN_LINE = re.compile(rf"(?:(?!\n){_CONTROLS})+")


def plain(text: str) -> str:
    """*text* with each run of control and direction characters as one space."""
    return _UNPRINTABLE.sub(" ", text)


def plain_lines(text: str) -> str:
    """As `plain` of each line of *text*; lines end with a line feed."""
    return _UNPRINTABLE_IN_LINE.sub(" ", _LINE_END.sub("\n", text))


def printable(text: object, limit: int = 200) -> str:
    """*text* fit for a terminal or a log line.

    Runs of control and direction characters become one space, and text of more than
    *limit* characters is cut: server text is hostile input.
    """
    cleaned = plain(str(text)[: 4 * limit]).strip()
    cleaned = cleaned.encode("utf-8", "backslashreplace").decode("utf-8")
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1] + "…"


def command_word(path: str | os.PathLike[str]) -> str:
    """*path* as a word of a shell command in a message."""
    return shlex.quote(plain(os.fspath(path)))


class HingError(Exception):
    """Base of everything hingfs raises on purpose."""

    def again(self) -> "HingError":
        """A copy to raise in another thread; this one keeps its own traceback.

        Not by `copy`, to which other packages teach tracebacks: dask.distributed does, so
        that a remembered error would keep the answer that it came in.
        """
        twin = type(self).__new__(type(self), *self.args)
        twin.__dict__.update(self.__dict__)
        return twin


class VideoNotFound(HingError):
    """The server said that there is no such video, or that it has expired.

    *certain*: its status said so; not so where its content alone is not found, or gone.
    """

    def __init__(self, message: str, *, certain: bool = True) -> None:
        super().__init__(message)
        self.certain = certain


class VideoNotReady(HingError):
    """The video exists or may exist soon; asking again later can succeed.

    *word* is its status, "" if that is not known. *progress* is how much is rendered, 0.0
    to 1.0, and *pause_seconds* when to ask again, each None if the server does not tell.
    """

    def __init__(
        self,
        message: str,
        *,
        word: str = "",
        progress: float | None = None,
        pause_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.word = word
        self.progress = progress
        self.pause_seconds = pause_seconds


class VideoNotServed(VideoNotReady):
    """The API calls it completed, but does not serve its bytes yet."""


class VideoFailed(HingError):
    """Rendering failed or was blocked; it will never be ready."""


class AccessDenied(HingError):
    """The API refused the token, or the account may not read this video.

    *code* is the HTTP status that said so, *said* the words beside it.
    """

    def __init__(self, message: str, code: int = 401, said: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.said = said


class ContentChanged(HingError):
    """The server now has other bytes than those that were opened."""


class NotAVideo(HingError):
    """A page or a message arrived where video bytes were due."""


class RangesIgnored(HingError):
    """The server answered a Range request with the whole file."""


class Closing(HingError):
    """The mount is ending; nothing waits any longer."""


class SpoolFull(HingError):
    """A whole-file stream finds no room in memory or on disk."""


class CopyDamaged(HingError):
    """A block of a kept copy is bad, and could not be fetched again."""


class TransportError(HingError):
    """The exchange with the server failed; the same request may succeed later."""


class Unreachable(TransportError):
    """No connection to *server*: name lookup, refusal, reset before an answer, TLS.

    *server* is its host, with the port where the URL has one, or "" where none is named.
    """

    def __init__(self, reason: str, *, server: str = "") -> None:
        super().__init__(reason)
        self.server = server

    def __str__(self) -> str:
        return (
            f"{printable(self.server, 80)}: {self.reason}"
            if self.server
            else self.reason
        )

    @property
    def reason(self) -> str:
        """Why, without the server, for a message that names it itself."""
        return super().__str__()


class Dropped(Unreachable):
    """A connection was made, and reset or closed before an answer."""


class NoTls(Unreachable):
    """TLS failed: no such protocol there, or a certificate that is not trusted."""


class NotAsked(Unreachable):
    """No request was sent: the server is away, or has just not answered several."""


class Stale(TransportError):
    """A connection that was kept from before had died; another one may work at once."""


class NoAnswer(TransportError):
    """The server took a request, and did not begin its answer in time."""


class BodyCut(TransportError):
    """A body ended, or stopped arriving, before its announced length."""


class ServerBroken(TransportError):
    """A 5xx, or an answer that breaks HTTP or the range contract."""


class Undecodable(ServerBroken):
    """A body is not of the coding that it names, or that cannot be undone here."""


class NeverServed(ServerBroken):
    """The API has called it completed for long, and does not serve its bytes."""


class RateLimited(TransportError):
    """The server asked for a pause.

    *retry_after_seconds* is what it named, None where it named nothing.
    """

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class GivenWay(RateLimited):
    """A request ahead, which nobody waits for, is not sent: the API counts requests."""


class DeadlineExceeded(TransportError):
    """The time that this call may take is over."""


class Unforeseen(TransportError):
    """An exception that nobody foresaw ended a job that others wait for."""


def foreseen(error: BaseException) -> HingError:
    """*error*, or an `Unforeseen` that names it where it is none of ours."""
    if isinstance(error, HingError):
        return error
    return Unforeseen(printable(f"unforeseen: {error!r}"))


class SetupError(HingError):
    """Nothing is mounted; the message says what to do, the class the exit status."""

    exit_status = 1


class UsageError(SetupError):
    """An option, variable or file does not say what it must."""

    exit_status = 2


class TokenError(SetupError):
    """There is no token, or the endpoint refuses it."""

    exit_status = 3


class EndpointError(SetupError):
    """The endpoint cannot be reached."""

    exit_status = 4


class FuseUnavailable(SetupError):
    """This machine cannot mount: no /dev/fuse, no libfuse, no permission."""

    exit_status = 5


class MountpointError(SetupError):
    """The directory cannot be mounted on, or its mount cannot be taken away."""

    exit_status = 6


class MountBusy(SetupError):
    """The mount is in use and was left as it is."""

    exit_status = 7


class NotMounted(SetupError):
    """The directory is no hingfs mount."""

    exit_status = 8


class NoSuchApi(SetupError):
    """What answers at the base URL is no video API."""

    exit_status = 9
