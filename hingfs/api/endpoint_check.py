"""Whether a video API is there, and takes this token.

Decides which requests are sent before a mount, and which once more if the list is refused
or is no list: many servers have none, and some keys may not read it. Leaves to `signs`
what one answer shows.

Threads: every method may be called from any thread.
"""

import logging
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from ..blocks import KIB
from ..errors import (
    AccessDenied,
    EndpointError,
    NoSuchApi,
    NoTls,
    RateLimited,
    ServerBroken,
    TokenError,
    TransportError,
    Unreachable,
)
from ..http.answer import Answer
from ..http.patience import METADATA_TRIES
from ..http.transport import HttpTransport
from ..settings import EndpointConfig
from .beliefs import Belief
from .endpoint_facts import EndpointFacts
from .judgement import refusals, signs
from .judgement.listing import ListPage
from .judgement.signs import Heard, Sign
from .judgement.video_status import UNSAID
from .sender import MOST_ERROR_BYTES, Sender

log = logging.getLogger(__name__)

# No server gives out this id.
_NO_VIDEO = "hingfs-asks-for-no-video"
# How much of the list's newest page is read: a hundred rows with prompts of 4 KB. Of a
# longer one nothing is kept. A guess.
_MOST_PAGE_BYTES = 512 * KIB

Trouble = AccessDenied | TransportError


class NewestPage(NamedTuple):
    """The newest page of the list, as it was at *taken_at* (monotonic)."""

    page: ListPage
    taken_at: float


class Checked(NamedTuple):
    """What a check found: a *warning*, or "", and the list's newest page if that came."""

    warning: str
    newest: NewestPage | None = None


class EndpointCheck:
    """The proof that one endpoint is a video API. See the module docstring."""

    def __init__(
        self,
        sender: Sender,
        transport: HttpTransport,
        config: EndpointConfig,
        endpoint: EndpointFacts,
    ) -> None:
        self._sender = sender
        self._transport = transport
        self._config = config
        self._endpoint = endpoint
        # True once the status route showed the API. A lost update costs one request.
        self._recognised = False

    def check(self) -> Checked:
        """Ask the API for the newest page of its list, as a test of address and token.

        If the answer does not show the API, this asks its status route once as well.
        There is a warning if the list does not come though the token is good, or if it
        stays in doubt whether this is the API. Raises TokenError if every route
        refuses the token, EndpointError if nothing answers, NoSuchApi if something else
        does.
        """
        base_url, asked_at = self._config.base_url, time.monotonic()
        try:
            listed = self._ask(
                *(self._sender.list_url(), self._config.metadata_seconds),
                most_bytes=_MOST_PAGE_BYTES,
            )
            if isinstance(listed, Heard):
                with self._sender.parsing:
                    page = signs.page_in(listed, self._sender.now())
                if page is not None:
                    return Checked("", NewestPage(page, asked_at))
                return Checked(self._warning_after(listed))
            if isinstance(listed, RateLimited):  # the API is there
                return Checked(f"the token was not tried: {listed}")
            self._require_access(listed)
        except AccessDenied as error:
            raise TokenError(
                f"{base_url}: {error}; the token is from {self._config.token.source}"
            ) from error
        except TransportError as error:
            raise EndpointError(_no_endpoint(base_url, error)) from error
        refused = isinstance(listed, AccessDenied)
        ls = "shows what was opened" if refused else "fails until the list is had"
        return Checked(
            f"{base_url} does not give its list ({listed}); names that are given "
            f"work, and ls {ls}"
        )

    def without_list(self, refusal: AccessDenied) -> None:
        """Return if the API refuses only the list to this token; else raise.

        Once that is known, a further *refusal* of the list causes no more requests.
        """
        if self._endpoint.beliefs.holds(Belief.LIST):
            try:
                self._require_access(refusal)
            except AccessDenied:
                self._sender.warn(f"denied: {refusal.code}", str(refusal))
                raise
            self._endpoint.list.withheld(
                f"refused (HTTP {refusal.code}): {refusal.said}"
            )

    def instead_of_list(self, answer: Answer, body: bytes) -> None:
        """Return if *answer*, which is no list, says that the API has none.

        Raises ServerBroken if it says anything else: an empty listing would make
        `rsync --delete` erase copies.
        """
        listed = _heard(self._transport.url_of("/v1/videos"), answer, body)
        spoken = listed.is_json and listed.from_api
        if signs.says_no_list(listed) and (spoken or self._has_shown_itself(listed)):
            self._endpoint.list.missing(f"it answers {listed}")
            return
        if listed.body and not spoken:  # a body that broke off says nothing of the URL
            self._sender.warn(
                "base URL",
                f"the list of {self._config.base_url} came as {listed}: there is no "
                "listing; check the base URL",
            )
        raise ServerBroken(f"no list came, but {listed}")

    def _has_shown_itself(self, listed: Heard) -> bool:
        """Whether the API has answered before, or its status route answers now."""
        known = self._endpoint.token.has_served or self._endpoint.status.has_told
        if not (known or self._recognised):
            sign, _ = self._sign_of_status(listed)
            self._recognised = sign is Sign.SPEAKS
        return known or self._recognised

    def _warning_after(self, listed: Heard) -> str:
        """A warning, or "" if the API is there, after *listed* came for no page.

        Raises NoSuchApi if nothing shows the API.
        """
        with self._sender.parsing:
            sign, told = signs.of_list(listed, self._sender.now()), ""
        if sign is not Sign.SPEAKS:
            sign, told = self._sign_of_status(listed)
        if sign is Sign.SPEAKS:
            return ""
        base_url = self._config.base_url
        route = urlsplit(listed.url)._replace(query="").geturl()
        alike = told == f"answers {listed}"
        said = f"{route} answers {listed}, and {route}/ID {'too' if alike else told}"
        if sign is Sign.DOUBTFUL:
            return (
                f"{base_url} may be no video API: {said}; if names that are given do "
                "not work, check --base-url"
            )
        raise NoSuchApi(
            f"{base_url} is no video API: {said}. {_advice(listed)}, or mount with "
            "--no-check"
        )

    def _sign_of_status(self, listed: Heard) -> tuple[Sign, str]:
        """What a request for the status of an invented video shows, and its result."""
        url = self._transport.url_of(f"/v1/videos/{_NO_VIDEO}")
        heard = self._ask(url, self._config.metadata_seconds / 3, tries=1)
        if isinstance(heard, Heard):
            return signs.of_status(heard, listed), f"answers {heard}"
        # A server that refuses the token, or asks for a pause, has the route. One that
        # fails may be the API.
        speaks = isinstance(heard, AccessDenied | RateLimited)
        return Sign.SPEAKS if speaks else Sign.DOUBTFUL, f"does not: {heard}"

    def _require_access(self, listless: Trouble) -> None:
        """Return if any route but the list takes the token; else raise.

        *listless* came instead of the list. The requests ask about an invented video: a
        route that takes the token says so, and an error of the server is no refusal.
        """
        if isinstance(listless, Unreachable):
            raise listless
        troubles = [listless]
        for route in ("", "/content"):
            url = self._transport.url_of(f"/v1/videos/{_NO_VIDEO}{route}")
            heard = self._ask(url, self._config.metadata_seconds / 3)
            if isinstance(heard, Heard):
                return
            troubles.append(heard)
        refused = [error for error in troubles if isinstance(error, AccessDenied)]
        answered = any(isinstance(error, ServerBroken) for error in troubles)
        if refused and not answered:
            raise refused[0]
        if not refused:
            raise listless

    def _ask(
        self,
        url: str,
        seconds: float,
        tries: int = METADATA_TRIES,
        *,
        most_bytes: int = MOST_ERROR_BYTES,
    ) -> Heard | Trouble:
        """The answer to GET *url*, or the refusal of the token, or the trouble met."""
        patience = self._sender.terms.of_check(seconds, tries)
        try:
            answer, body = self._sender.send("GET", url, patience)
            if answer.status in (200, 206):
                with answer:
                    body = answer.read_text(patience.deadline, most_bytes)
        except TransportError as error:
            return error
        refusal = refusals.refusal(answer.status, answer.headers, body, UNSAID)
        # Only the API gets the token, so another host cannot refuse it.
        if isinstance(refusal, AccessDenied) and answer.from_api:
            return refusal
        return _heard(url, answer, body)


def _heard(url: str, answer: Answer, body: bytes) -> Heard:
    return Heard(
        url, answer.status, answer.headers, body, answer.url, from_api=answer.from_api
    )


def _no_endpoint(base_url: str, error: TransportError) -> str:
    """What is wrong with the endpoint at *base_url*, as *error* shows, and what to do."""
    if isinstance(error, ServerBroken):
        return (
            f"{base_url} answers, but not as it should: {error}. Try again later, or "
            "mount with --no-check"
        )
    reason = error.reason if isinstance(error, Unreachable) else str(error)
    if isinstance(error, NoTls):
        return f"cannot reach {base_url}: {reason}. Check --base-url"
    return (
        f"cannot reach {base_url}: {reason}. Check --base-url and the network, or skip "
        "this check with --no-check"
    )


def _advice(listed: Heard) -> str:
    """What to do about a base URL at which *listed* came for the list."""
    elsewhere, route, _ = listed.final_url.partition("/v1/videos")
    if route and not listed.from_api:
        return (
            "The token is sent to no other address than the base URL; if you trust "
            f"that one, mount with --base-url {elsewhere}"
        )
    return "Check --base-url"
