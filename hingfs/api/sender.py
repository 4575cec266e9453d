"""Requests of the API, each tried several times.

Decides which answers are passing trouble, how a pause that the server asks for is kept,
and when the token is read again. Leaves to `patience` how long a request is tried, to
`transport` a single request, and to the callers what an answer means.

Threads: every method may be called from any thread.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from urllib.parse import quote, urlencode, urlsplit

from ..blocks import KIB, ByteRange
from ..errors import BodyCut, NoAnswer, ServerBroken, TransportError, Unreachable
from ..http.answer import Answer
from ..http.patience import Patience, Terms
from ..http.pauses import asks_for_pause, named_pause
from ..http.transport import HttpTransport
from ..settings import EndpointConfig
from .endpoint_facts import EndpointFacts
from .judgement import refusals
from .judgement.denials import refuses_token
from .judgement.video_status import is_absent
from .judgement.wording import DENIED_CODES
from .replicas import ask_around

log = logging.getLogger(__name__)

# How much of a message is read for judging.
MOST_ERROR_BYTES = 64 * KIB
# How many videos a page of the list has at most.
PAGE_ENTRIES = 100


class Sender:
    """Requests to one endpoint. See the module docstring."""

    def __init__(
        self, transport: HttpTransport, config: EndpointConfig, endpoint: EndpointFacts
    ) -> None:
        self.terms = Terms(transport, config)
        self._transport = transport
        self._endpoint = endpoint
        self._warned: set[str] = set()
        # Held while a status or page is parsed, so that one is at a time: parsed, a body
        # takes fifteen times its size, and every thread that asks may have one.
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
            turn = patience.turn()  # what it raises ends the call
            try:
                with turn:
                    answer = ask(deadline=patience.head_deadline)
            except TransportError as error:
                if isinstance(error, NoAnswer) and method == "HEAD":
                    self._allow_silence(patience)
                if not (isinstance(error, Unreachable) and patience.crowded()):
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
        """Whether *answer* to *method* is no passing trouble; if it is, wait here."""
        limited = asks_for_pause(answer.status, answer.headers, body)
        if limited or answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            named = named_pause(answer.headers, body, self.now())
            if not named and patience.crowded():
                return False
        if limited:
            self._pause(answer, body, patience)
            return False
        self._transport.limit.answered()
        if method == "HEAD":  # GET may serve what HEAD refuses
            return True
        if refusals.is_final(answer.status, answer.headers, body):
            return True
        patience.failed(broken(answer, body))
        return False

    def _allow_silence(self, patience: Patience) -> None:
        """Let HEAD wait on without an answer if the API answered others in the call's time.

        A proxy may fetch a whole file to answer HEAD, and does so for each. A status that
        was asked for beside HEAD may have its answer before HEAD is sent.
        """
        if self._transport.breaker.answered_since(patience.began_at):
            patience.bear_silence()

    def _pause(self, answer: Answer, body: bytes, patience: Patience) -> None:
        """Keep the pause that *answer* asks for.

        The API's pause binds every request, that of a storage host only this call.
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
        """The API's answer at *url*, closed, and its body up to *most_bytes* + 1.

        A body that *is_cut_short* is asked for again: judged, it would pass for a message
        in place of the JSON.
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
        """Whether *answer* refuses the token, and a newer one is there to be tried."""
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
            # A refusal of the new token is worth another warning.
            self._warned -= {f"denied: {code}" for code in DENIED_CODES}
            self._endpoint.token.renewed()
        return renewed

    def content_url(self, video_id: str) -> str:
        """The API's own URL of the bytes of *video_id*."""
        return self._transport.url_of(f"/v1/videos/{quote(video_id, safe='')}/content")

    def list_url(self, after: str = "") -> str:
        """The API's URL of the page of its list behind *after*: the newest if that is ""."""
        query = {"limit": str(PAGE_ENTRIES), "order": "desc"}
        if after:
            query["after"] = after
        return self._transport.url_of(f"/v1/videos?{urlencode(query)}")

    def warn(self, subject: str, message: str) -> None:
        """Log *message* once for each *subject*: nobody reads a repeated warning."""
        if subject not in self._warned and len(self._warned) < 100:
            self._warned.add(subject)
            log.warning("%s", message)

    def now(self) -> float:
        """Unix seconds by the API's clock, which its times are told by."""
        return self._transport.clock.now()


def asked_around(
    about: str, ask: Callable[..., tuple[Answer, bytes]]
) -> tuple[Answer, bytes]:
    """The result of *ask*; by fresh connections while replicas do not know *about*."""
    return ask_around(about, ask(), partial(ask, fresh=True), _is_known)


def _is_known(found: tuple[Answer, bytes]) -> bool:
    answer, body = found
    return not (answer.from_api and is_absent(answer.status, body))


def broken(answer: Answer, body: bytes) -> ServerBroken:
    """The error for *answer*, which is neither content nor a final refusal."""
    host = urlsplit(answer.url).hostname or ""
    trouble = refusals.trouble(
        answer.status, answer.headers, body, host, from_api=answer.from_api
    )
    return ServerBroken(f"{trouble}; {answer.hint}") if answer.hint else trouble
