"""Where a Valkey or Redis is that hosts share, and the password for it.

Neither the URL nor what is kept of the password holds the password itself: it is read
anew for each connection, from a file or a variable.

Threads: none; the values are frozen.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .blocks import KIB
from .errors import UsageError, plain, printable

PASSWORD_VARIABLE = "HINGFS_SHARED_CACHE_PASSWORD"  # noqa: S105 - its name alone
_DEFAULT_PORT = 6379
_MOST_PASSWORD_BYTES = 16 * KIB
_FORMS = (
    "a shared cache looks like redis://cache.example:6379/0, rediss://… with TLS, or "
    "unix:///run/valkey.sock"
)


@dataclass(frozen=True, slots=True)
class SharedAddress:
    """A server: a *host* and *port*, or the *path* of a socket, and a *database* there."""

    host: str = ""
    port: int = _DEFAULT_PORT
    path: str = ""
    tls: bool = False
    user: str = ""
    database: int = 0

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def parse_shared_url(text: str) -> SharedAddress:
    """The server that *text* names.

    Raises UsageError for another URL, and for one that holds a password.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port or _DEFAULT_PORT
    except ValueError:
        raise UsageError(f"that is no URL; {_FORMS}") from None
    if parts.password is not None or parts.query or parts.fragment:
        raise UsageError(
            "it holds no password and no query: every user of this machine could read "
            f"them; put the password into {PASSWORD_VARIABLE}, or into a file of mode "
            "0600 that --shared-cache-password-file names"
        )
    user = unquote(parts.username or "")
    if parts.scheme == "unix" and parts.path and not parts.hostname:
        return SharedAddress(path=unquote(parts.path), user=user)
    database = parts.path.strip("/") or "0"
    known = parts.scheme in {"redis", "rediss", "valkey", "valkeys"}
    if not (known and parts.hostname and database.isdecimal() and len(database) < 6):
        shown = "" if "@" in text else f"{printable(text, 80)!r}: "
        raise UsageError(f"{shown}{_FORMS}")
    return SharedAddress(
        parts.hostname,
        port,
        tls=parts.scheme in {"rediss", "valkeys"},
        user=user,
        database=int(database),
    )


def read_password(file: Path | None) -> str:
    """The password as it is now, from *file* or else the variable; "" if there is none.

    Raises OSError if the file cannot be read, or others can use it.
    """
    if file is None:
        return os.environ.get(PASSWORD_VARIABLE, "")
    with file.open("rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        text = stream.read(_MOST_PASSWORD_BYTES)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        name = plain(str(file))
        raise PermissionError(f"{name} can be used by other users; run chmod 600 on it")
    return text.decode("utf-8-sig", "replace").strip()
