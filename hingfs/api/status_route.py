"""The status route, and the meaning of a refused content in its light.

Decides when the route is asked, and how often. Leaves to `video_status` what its answer says,
and to `refusals` what a refusal means under a status.

Threads: every method may be called from any thread; `begin` runs its request on the pool
`hingfs-status`.
"""

import logging
import time
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from urllib.parse import quote

from ..blocks import MIB
from ..errors import (
    AccessDenied,
    DeadlineExceeded,
    HingError,
    RateLimited,
    TransportError,
    VideoNotReady,
    printable,
)
from ..http.answer import Answer
from ..http.patience import METADATA_TRIES
from ..http.pauses import named_pause, retry_after
from ..http.transport import HttpTransport
from ..settings import EndpointConfig
from ..workers import DaemonPool
from .beliefs import Belief
from .endpoint_facts import EndpointFacts
from .judgement import bodies, refusals, video_status
from .judgement.video_status import UNSAID, State, Status
from .replicas import ask_around
from .sender import Sender, broken

log = logging.getLogger(__name__)

_MOST_STATUS_BYTES = 1 * MIB  # it may hold the prompt, with pictures


class StatusRoute:
    """The status route of one endpoint. See the module docstring."""

    def __init__(
        self,
        sender: Sender,
        transport: HttpTransport,
        config: EndpointConfig,
        endpoint: EndpointFacts,
        pool: DaemonPool,
    ) -> None:
        self._sender = sender
        self._transport = transport
        self._config = config
        self._endpoint = endpoint
        self._pool = pool

    def ask(
        self,
        video_id: str,
        tries: int,
        *,
        fresh: bool = False,
        gives_way: bool = False,
    ) -> Status:
        """The status of *video_id*; with *fresh* by a connection of its own.

        With *gives_way*, raises GivenWay once the API counts requests.
        """
        patience = self._sender.terms.of_name(video_id, tries, gives_way=gives_way)
        url = self._transport.url_of(f"/v1/videos/{quote(video_id, safe='')}")
        answer, body = self._sender.json(
            url, patience, _MOST_STATUS_BYTES, bodies.is_cut_short, fresh=fresh
        )
        with self._sender.parsing:
            status = video_status.judge_status(
                answer.status, answer.headers, body, video_id, self._sender.now()
            )
            status = replace(
                status, pause_seconds=retry_after(answer.headers, self._sender.now())
            )
        if status.word:
            self._endpoint.status.told()
        if status.state is State.NO_ROUTE:
            self._endpoint.status.missing(f"there is none (HTTP {answer.status})")
        return status

    def ask_replicas(self, video_id: str, status: Status) -> Status:
        """*status*, or if it is unknown, that of a replica that knows *video_id*."""
        return ask_around(
            video_id,
            status,
            lambda: self.ask(video_id, 1, fresh=True),
            lambda found: not found.unknown,
        )

    def begin(
        self, video_id: str, tries: int, *, gives_way: bool = False
    ) -> Future[Status] | None:
        """Start `ask` on the pool; None if the server has no status route."""
        if not self._endpoint.beliefs.holds(Belief.STATUS):
            return None
        ask = partial(self.ask, video_id, tries, gives_way=gives_way)
        return self._pool.submit(ask)

    def ask_or_unsaid(self, video_id: str) -> Status:
        """The status of *video_id*; `UNSAID` at any trouble."""
        asking = self.begin(video_id, METADATA_TRIES)
        if asking is None:
            return UNSAID
        deadline = time.monotonic() + self._config.metadata_seconds
        try:
            return self.ask_replicas(video_id, result_by(deadline, asking))
        except (TransportError, AccessDenied) as error:
            # The caller judges a refused content by its words then.
            name = printable(video_id, 80)
            log.debug("%s: the status route does not tell: %s", name, error)
            return UNSAID

    def error_of(
        self, video_id: str, answer: Answer, body: bytes, status: Status | None = None
    ) -> HingError:
        """The error that *answer*, which is no content, means for *video_id*.

        Asks the status route where *status* is not known and could matter.
        """
        if not answer.from_api:
            return broken(answer, body)
        if (
            refusals.route_missing(answer.status, answer.headers, body)
            and not self._endpoint.token.has_served
        ):
            self._sender.warn(
                "base URL",
                f"{self._config.base_url} answers with a web page; check the base URL",
            )
        if status is None and refusals.is_final(answer.status, answer.headers, body):
            status = self.ask_or_unsaid(video_id)
        status = status or UNSAID
        self.warn_of_word(video_id, status)
        error = refusals.refusal(answer.status, answer.headers, body, status)
        if isinstance(error, AccessDenied):
            return self.warned_denial(error, video_id)
        if isinstance(error, VideoNotReady) and error.pause_seconds is None:
            error.pause_seconds = retry_after(answer.headers, self._sender.now())
        if isinstance(error, RateLimited):
            self._transport.limit.pause(
                named_pause(answer.headers, body, self._sender.now())
            )
        return error

    def warned_denial(self, error: AccessDenied, video_id: str) -> AccessDenied:
        """The refusal that *error* is, after one warning about it.

        It names *video_id* if the API takes the token for other videos.
        """
        about_video = error.code == 403 and self._endpoint.token.is_about_video(
            video_id
        )
        if not about_video:
            self._sender.warn(f"denied: {error.code}", str(error))
            return error
        name = printable(video_id, 80)
        own = AccessDenied(
            f"the API refuses {name} and serves others (HTTP {error.code}): {error.said}",
            error.code,
        )
        self._sender.warn(f"denied {video_id}", str(own))
        return own

    def warn_of_word(self, video_id: str, status: Status) -> None:
        """Warn once for each unknown status word; *video_id* is the first to have it."""
        if status.state is State.UNCERTAIN:
            self._sender.warn(
                f"word {status.word}",
                f"{printable(video_id, 80)}: unknown status word {status.word!r}; such a "
                "video is taken as not ready until its content proves that it is whole",
            )


def result_by(deadline: float, asking: Future[Status]) -> Status:
    """The status from *asking*; DeadlineExceeded past *deadline* (monotonic)."""
    try:
        return asking.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise DeadlineExceeded("the status route did not answer in time") from None
