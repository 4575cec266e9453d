"""Requests of the API, each tried several times.

Decides which answers are passing trouble, how a pause that the server asks for is kept,
and when a token is read again. Leaves to `patience` how long a request is tried, to
`transport` how an answer is had, and to those above what it means.

Threads: every method may be called from any thread.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import quote, urlencode, urlsplit

from ..blocks import KIB, ByteRange
from ..errors import BodyCut, NoAnswer, ServerBroken, TransportError
from ..http.answer import Answer
from ..http.patience import Patience, Terms
from ..http.pauses import asks_for_pause, named_pause
from ..http.transport import HttpTransport
from ..settings import EndpointConfig
from .endpoint_facts import EndpointFacts
from .judgement import refusals
from .judgement.denials import refuses_token
from .judgement.statuses import is_absent
from .judgement.wording import DENIED_CODES
from .replicas import ask_around

log = logging.getLogger(__name__)

# What is read of a message, for judging.
MOST_ERROR_BYTES = 64 * KIB


class Sender:
    """Requests to one endpoint. See the module docstring."""

    def __init__(
        self, transport: HttpTransport, config: EndpointConfig, endpoint: EndpointFacts
    ) -> None:
        self.terms = Terms(transport, config)
        self._transport = transport
        self._endpoint = endpoint
        self._warned: set[str] = set()
        # One status or page is parsed at a time: as objects a body takes fifteen times
        # its size, and each of the threads that ask may have one.
        self.parsing = threading.Lock()

    def send(
        self,
        method: str,
        url: str,
        patience: Patience,
        *,
        span: ByteRange | None = None,
        headers: Mapping[str, str] | None = None,
        fresh: bool = False,
    ) -> tuple[Answer, bytes]:
        """An answer that is no passing trouble; its body is read unless 200 or 206."""
        ask = partial(self._transport.request, method, url, about=patience.about)
        ask = partial(ask, span=span, headers=headers, fresh=fresh)
        renewed = False
        while True:
            turn, began = patience.turn(), time.monotonic()
            try:
                with turn:
                    answer = ask(deadline=patience.head_deadline)
            except TransportError as error:
                if isinstance(error, NoAnswer) and method == "HEAD":
                    self._bear_silence(patience, began)
                patience.failed(error)
                continue
            patience.answered()
            if answer.status in (200, 206):
                self._transport.limit.answered()
                return answer, b""
            with answer:
                body = answer.read_text(patience.deadline, MOST_ERROR_BYTES)
            if not renewed and self._has_new_token(answer, body):
                renewed = True
                continue
            if self._is_final(method, answer, body, patience):
                return answer, body

    def _is_final(
        self, method: str, answer: Answer, body: bytes, patience: Patience
    ) -> bool:
        """Whether *answer* to *method* is no passing trouble; that is waited out first."""
        if asks_for_pause(answer.status, answer.headers, body):
            self._pause(answer, body, patience)
            return False
        self._transport.limit.answered()
        if method == "HEAD":  # what it refuses, GET may serve
            return True
        if refusals.is_final(answer.status, answer.headers, body):
            return True
        patience.failed(broken(answer, body))
        return False

    def _bear_silence(self, patience: Patience, since: float) -> None:
        """HEAD has had no answer *since* then: where the API answers others, wait.

        A proxy may fetch the whole file to answer it, and does so for each.
        """
        if self._transport.breaker.answered_since(since):
            patience.bear_silence()

    def _pause(self, answer: Answer, body: bytes, patience: Patience) -> None:
        """*answer* asks for a pause: quiet everybody, or this call alone.

        A storage host does not speak for the API.
        """
        seconds = named_pause(answer.headers, body, self.now())
        if answer.from_api:
            patience.limited(seconds)
        else:
            patience.failed(broken(answer, body), seconds or 0.0)

    def json(
        self,
        url: str,
        patience: Patience,
        most_bytes: int,
        is_cut_short: Callable[[bytes], bool],
        *,
        fresh: bool = False,
    ) -> tuple[Answer, bytes]:
        """What the API tells at *url*, closed, with its body up to *most_bytes* + 1.

        A body that *is_cut_short* is asked for again: as it is, it would be taken for a
        page in place of what was asked for.
        """
        while True:
            answer, body = self.send("GET", url, patience, fresh=fresh)
            if answer.status not in (200, 206):
                return answer, body
            with answer:
                body = answer.read_text(patience.deadline, most_bytes + 1)
            with self.parsing:
                whole = len(body) > most_bytes or not is_cut_short(body)
            if whole:
                return answer, body
            patience.failed(BodyCut("the JSON breaks off, or is more than is read"))

    def _has_new_token(self, answer: Answer, body: bytes) -> bool:
        """Whether *answer* refuses a token, and the token file holds another by now."""
        if not (answer.from_api and refuses_token(answer.status, answer.headers, body)):
            return False
        # Of requests refused at the same time, only one finds a new token.
        return self.renew_token() or self._transport.authorization.renewed_since(
            answer.token_number
        )

    def renew_token(self) -> bool:
        """Read the token file again; True if it holds another token than before."""
        renewed = self._transport.authorization.renew()
        if renewed:
            # Those of another token are news.
            self._warned -= {f"denied: {code}" for code in DENIED_CODES}
            self._endpoint.token.renewed()
        return renewed

    def content_url(self, video_id: str) -> str:
        """Where the API serves the bytes of *video_id*."""
        return self._transport.url_of(f"/v1/videos/{quote(video_id, safe='')}/content")

    def list_url(self, query: Mapping[str, str]) -> str:
        """Where the API serves a page of its list."""
        return self._transport.url_of(f"/v1/videos?{urlencode(query)}")

    def warn(self, subject: str, message: str) -> None:
        """Log *message* once for each *subject*; what is said often is not read."""
        if subject not in self._warned and len(self._warned) < 100:
            self._warned.add(subject)
            log.warning("%s", message)

    def now(self) -> float:
        """Unix seconds by the API's clock, which its times are told by."""
        return self._transport.clock.now()


def asked_around(
    about: str, ask: Callable[..., tuple[Answer, bytes]]
) -> tuple[Answer, bytes]:
    """What *ask* gives of *about*, by fresh connections where one does not know it."""
    return ask_around(about, ask(), partial(ask, fresh=True), _is_known)


def _is_known(found: tuple[Answer, bytes]) -> bool:
    answer, body = found
    return not (answer.from_api and is_absent(answer.status, body))


def broken(answer: Answer, body: bytes) -> ServerBroken:
    """The trouble that *answer* is, which is neither content nor a final word."""
    host = urlsplit(answer.url).hostname or ""
    trouble = refusals.trouble(
        answer.status, answer.headers, body, host, from_api=answer.from_api
    )
    return ServerBroken(f"{trouble}; {answer.hint}") if answer.hint else trouble
