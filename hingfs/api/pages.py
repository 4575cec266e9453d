"""The API's list, page by page, whole or not at all.

Decides how the list is paged, and where it ends. Leaves to `listing` what one page says,
and to `endpoint_check` what an answer in place of a page means.

Threads: every method may be called from any thread.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..blocks import MIB
from ..errors import AccessDenied, RateLimited, ServerBroken, printable
from ..http.answer import Answer
from ..http.transport import LONGEST_URL
from .beliefs import Belief
from .endpoint_check import EndpointCheck
from .endpoint_facts import EndpointFacts
from .judgement import bodies, listing, refusals, wording
from .judgement.listing import ListPage
from .judgement.video_status import UNSAID, Status
from .sender import PAGE_ENTRIES, Sender, asked_around

log = logging.getLogger(__name__)

_MOST_PAGES = 200
# A server may ignore `limit`: 12,000 videos with prompts of a line.
_MOST_PAGE_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True)
class Listed:
    """One video of the API's list."""

    video_id: str
    status: Status


class PagedList:
    """The list of one endpoint. See the module docstring."""

    def __init__(
        self,
        sender: Sender,
        endpoint: EndpointFacts,
        endpoint_check: EndpointCheck,
        *,
        most_pages: int = _MOST_PAGES,
        most_page_bytes: int = _MOST_PAGE_BYTES,
    ) -> None:
        self._sender = sender
        self._endpoint = endpoint
        self._endpoint_check = endpoint_check
        self._most_pages = most_pages
        self._most_page_bytes = most_page_bytes
        # The last request for a pause in place of the list. A race costs one log line.
        self._paused = ""

    def list_videos(self, wanted: Callable[[str], bool]) -> list[Listed] | None:
        """The videos of the API's list whose ids are *wanted*, newest first.

        None if the API never had a list. Raises TransportError unless the whole list
        comes.
        """
        reading = self.reading(wanted)
        while not reading.ended:
            reading.read_page()
        return reading.videos if reading.pages else None

    def reading(self, wanted: Callable[[str], bool]) -> "Reading":
        """A reading of the list that begins with its newest page."""
        return Reading(self._list_page, wanted, self._most_pages)

    def one_page(
        self, wanted: Callable[[str], bool], after: str = ""
    ) -> list[Listed] | None:
        """As `list_videos`, but only the page behind *after*: the newest if that is ""."""
        page = self._list_page(after)
        if page is None:
            return None
        return [Listed(*video) for video in page.videos if wanted(video[0])]

    def row_of(self, video_id: str, *, whole: bool) -> Status | None:
        """What the list says of *video_id*, with the URL of its bytes, if it names one.

        Searches the *whole* list, or its newest page. None if *video_id* is not there,
        and if the status route tells it instead.
        """
        if (
            self._endpoint.beliefs.holds(Belief.STATUS)
            or not self._endpoint.list.has_come
        ):
            return None
        after = ""
        for _ in range(self._most_pages if whole else 1):
            page = self._list_page(after, video_id)
            if page is None:
                return None
            for listed_id, status in page.videos:
                if listed_id == video_id:
                    return status
            if page.has_more is False or page.last_id in ("", after):
                return None
            after = page.last_id
        return None

    def _list_page(self, after: str, with_url_of: str = "") -> ListPage | None:
        answer, body = self._list_answer(after)
        try:
            page = self._page_in(answer, body, after, with_url_of)
        except RateLimited as error:
            if str(error) != self._paused:  # a program only sees EAGAIN
                self._paused = str(error)
                log.warning("there is no listing for now: %s", error)
            raise
        if page is not None:
            self._paused = ""
            self._endpoint.list.came()
        return page

    def _page_in(
        self, answer: Answer, body: bytes, after: str, with_url_of: str
    ) -> ListPage | None:
        """The page in *answer*; None if the API has no list for this token.

        Raises RateLimited if *answer* asks for a pause, else ServerBroken.
        """
        if answer.status == 204 and after:
            return ListPage(0, (), "", None)
        if answer.status == 200:
            with self._sender.parsing:
                page = listing.judge_list(body, self._sender.now(), with_url_of)
            if page is not None:
                return page
        refusal = refusals.refusal(answer.status, answer.headers, body, UNSAID)
        if isinstance(refusal, RateLimited):
            raise RateLimited(f"{refusal}: {printable(bodies.said_in(body), 120)}")
        if isinstance(refusal, AccessDenied) and answer.from_api:
            self._endpoint_check.without_list(refusal)
        elif not self._endpoint.list.has_come:
            self._endpoint_check.instead_of_list(answer, body)
        if not self._endpoint.list.has_come:
            return None
        # An API that sent its list once has one: any other answer is trouble.
        said = printable(wording.words_of_page(bodies.said_in(body)), 120)
        raise ServerBroken(f"no list came, but HTTP {answer.status}: {said!r}")

    def _list_answer(self, after: str) -> tuple[Answer, bytes]:
        tries = self._sender.terms.tries()
        patience = self._sender.terms.of_name(tries=tries)
        try:
            url = self._sender.list_url(after)
        except UnicodeEncodeError as error:
            raise ServerBroken("the list cannot be paged: an id is no text") from error
        if len(url) > LONGEST_URL:
            raise ServerBroken("the list cannot be paged: an id is too long to be sent")
        ask = partial(
            self._sender.json,
            url,
            patience,
            self._most_page_bytes,
            listing.is_cut_short,
        )
        # A replica may not know the video that the page shall follow.
        answer, body = asked_around("the list", ask) if after else ask()
        if len(body) > self._most_page_bytes:
            raise ServerBroken(
                f"a page of the list is larger than {self._most_page_bytes // MIB} MiB"
            )
        return answer, body


class Reading:
    """The list from its newest page on, as far as it was read. One thread at a time."""

    def __init__(
        self,
        page_after: Callable[[str], ListPage | None],
        wanted: Callable[[str], bool],
        most_pages: int,
    ) -> None:
        self._page_after = page_after
        self._wanted = wanted
        self._most_pages = most_pages
        self._found: dict[str, Listed] = {}
        self._after, self._rows, self._held_bytes = "", 0, 0
        self.pages = 0  # that came; none at the end if the API has no list
        # The rows of the whole list, as the first page says: later ones come meanwhile.
        self.total: int | None = None
        self.ended = False  # `videos` is the whole list

    @property
    def videos(self) -> list[Listed]:
        """The wanted videos that came, in the server's order."""
        return list(self._found.values())

    def read_page(self) -> None:
        """Ask for the next page; raises TransportError if it does not come."""
        if self.pages == self._most_pages:
            raise self._too_long()
        page = self._page_after(self._after)
        if page is None:
            self._found, self.pages, self.ended = {}, 0, True
            return
        if not self.pages:
            self.total = page.total
        self.pages += 1
        known = len(self._found)
        for video_id, status in page.videos:
            if self._wanted(video_id) and video_id not in self._found:
                self._found[video_id] = Listed(video_id, status)
                self._held_bytes += listing.listed_bytes(video_id)
        if self._held_bytes > listing.MOST_LISTED_BYTES:
            raise self._too_long()
        # A page may have no wanted video; its end shows whether it is a repeated one.
        seen = page.last_id in self._found or page.last_id in ("", self._after)
        if page.has_more is not False and len(self._found) == known and seen:
            _check_whole(page, self._rows)
            self.ended = True
        self.ended = self.ended or page.has_more is False
        self._after, self._rows = page.last_id, self._rows + page.rows

    def _too_long(self) -> ServerBroken:
        return ServerBroken(
            f"the list has more than {self._most_pages} pages, or ids that take more than "
            f"{listing.MOST_LISTED_BYTES // MIB} MiB"
        )


def _check_whole(page: ListPage, rows: int) -> None:
    """Raise ServerBroken unless *page*, which brought nothing new, ends the list.

    *rows* came before it. A server that never says has_more ends its list with an empty
    page. A server that ignores `after` sends the first page again: that is the whole list
    if it is a short page and has as many rows as the total.
    """
    short = page.total is not None and page.total > rows
    if page.has_more or page.rows >= PAGE_ENTRIES or short:
        raise ServerBroken("the list cannot be paged: the same came again")
