"""Errors of the libraries before an answer, turned into errors of ours.

Decides which errors mean no connection, no TLS, or a broken answer. Leaves errors while
an answer is read to `exchange`.
"""

import contextlib
import http.client
import ssl
from collections.abc import Iterator

import requests
import urllib3.exceptions

from ..errors import (
    Dropped,
    NoTls,
    ServerBroken,
    TransportError,
    Unreachable,
    printable,
)

# OpenSSL's reasons for bytes that are no TLS record, such as plain HTTP.
_NO_TLS_SPOKEN = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "UNKNOWN_PROTOCOL",
        "HTTP_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
    }
)


@contextlib.contextmanager
def send_errors(server: str) -> Iterator[None]:
    """Turn every error of a request to *server* before its answer into TransportError."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise NoTls(f"TLS: {_reason_of(error)}", server=server) from error
    except requests.exceptions.Timeout as error:  # not of an answer: see `exchange`
        reason = "no connection within the connect time-out"
        raise Unreachable(reason, server=server) from error
    except requests.exceptions.ConnectionError as error:
        raise _no_answer_of(error, server) from error
    except (
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
        http.client.HTTPException,
    ) as error:
        raise ServerBroken(f"the exchange failed: {_reason_of(error)}") from error
    except (OSError, ValueError) as error:  # ValueError: bad characters in a request
        raise TransportError(f"the exchange failed: {_reason_of(error)}") from error


def _no_answer_of(
    error: requests.exceptions.ConnectionError, server: str
) -> Unreachable:
    """The error for *error*: urllib3 has a type for what happens once it is connected."""
    cause = error.args[0] if error.args else None
    dropped = isinstance(cause, urllib3.exceptions.ProtocolError)
    return (Dropped if dropped else Unreachable)(_reason_of(error), server=server)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """*error* and its causes, innermost last; urllib3 wraps an error several times."""
    for _ in range(8):
        yield error
        around = None if error.__suppress_context__ else error.__context__
        inner = getattr(error, "reason", None) or error.__cause__ or around
        if not isinstance(inner, BaseException):
            return
        error = inner


def _reason_of(error: BaseException) -> str:
    """The innermost cause of *error* in one line."""
    *_, error = _causes(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return printable(error.verify_message).rstrip(".")
    if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS_SPOKEN:
        return "this port does not speak it, perhaps http"
    return printable(
        getattr(error, "strerror", None) or str(error) or type(error).__name__
    )
