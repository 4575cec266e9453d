"""The API's list, page by page, whole or not at all.

Decides how it is paged and where it ends; what one page says is `listing`'s.

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
from .admission import Admission
from .beliefs import Belief
from .endpoint_facts import EndpointFacts
from .judgement import bodies, listing, refusals, wording
from .judgement.listing import ListPage
from .judgement.statuses import UNSAID, Status
from .sender import Sender, asked_around

log = logging.getLogger(__name__)

_PAGE_ENTRIES = 100
_MOST_PAGES = 200
# A server may ignore `limit`: 12,000 videos with prompts of a line.
_MOST_PAGE_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True)
class Listed:
    """One video of the API's list."""

    video_id: str
    status: Status


class PagedList:
    """The list of one endpoint; *admission* judges what comes in its place."""

    def __init__(
        self,
        sender: Sender,
        endpoint: EndpointFacts,
        admission: Admission,
    ) -> None:
        self._sender = sender
        self._endpoint = endpoint
        self._admission = admission
        self._paused = ""  # what was said last, in place of the list, of a pause

    def list_videos(self, wanted: Callable[[str], bool]) -> list[Listed] | None:
        """The videos of the API's list whose ids are *wanted*, newest first.

        None if the API never had a list. Raises TransportError if the list cannot be
        had whole.
        """
        found: dict[str, Listed] = {}
        after, rows, held_bytes = "", 0, 0
        for _ in range(_MOST_PAGES):
            page = self._list_page(after)
            if page is None:
                return None
            known = len(found)
            for video_id, status in page.videos:
                if wanted(video_id) and video_id not in found:
                    found[video_id] = Listed(video_id, status)
                    held_bytes += listing.listed_bytes(video_id)
            if held_bytes > listing.MOST_LISTED_BYTES:
                break
            if page.has_more is False:
                return list(found.values())
            # A page of nothing that is wanted is told from a repeated one by its end.
            seen = page.last_id in found or page.last_id in ("", after)
            if len(found) == known and seen:
                _check_whole(page, rows)
                return list(found.values())
            after, rows = page.last_id, rows + page.rows
        raise ServerBroken(
            f"the list has more than {_MOST_PAGES} pages, or ids that take more than "
            f"{listing.MOST_LISTED_BYTES // MIB} MiB"
        )

    def newest_videos(self, wanted: Callable[[str], bool]) -> list[Listed] | None:
        """As `list_videos`, but its first page alone, for one request."""
        page = self._list_page("")
        if page is None:
            return None
        return [Listed(*video) for video in page.videos if wanted(video[0])]

    def row_of(self, video_id: str, *, whole: bool) -> Status | None:
        """What the list says of *video_id*, with the URL of its bytes, if it names one.

        Only asked where there is no status route to tell it; of the *whole* list, or of
        its newest page. None where it cannot be had.
        """
        if (
            self._endpoint.beliefs.holds(Belief.STATUS)
            or not self._endpoint.list.has_come
        ):
            return None
        after = ""
        for _ in range(_MOST_PAGES if whole else 1):
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
            if str(error) != self._paused:  # a program sees no more than EAGAIN
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
        """The page that *answer* has; None where the API has no list for this token.

        Raises ServerBroken for anything else, and RateLimited where that asks for a pause.
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
            self._admission.without_list(refusal)
        elif not self._endpoint.list.has_come:
            self._admission.instead_of_list(answer, body)
        if not self._endpoint.list.has_come:
            return None
        # What gave a list once has one: anything else from it is trouble.
        said = printable(wording.words_of_page(bodies.said_in(body)), 120)
        raise ServerBroken(f"no list came, but HTTP {answer.status}: {said!r}")

    def _list_answer(self, after: str) -> tuple[Answer, bytes]:
        tries = self._sender.terms.tries()
        patience = self._sender.terms.of_name(tries=tries)
        query = {"limit": str(_PAGE_ENTRIES), "order": "desc"}
        if after:
            query["after"] = after
        try:
            url = self._sender.list_url(query)
        except UnicodeEncodeError as error:
            raise ServerBroken("the list cannot be paged: an id is no text") from error
        if len(url) > LONGEST_URL:
            raise ServerBroken("the list cannot be paged: an id is too long to be sent")
        ask = partial(
            self._sender.json, url, patience, _MOST_PAGE_BYTES, listing.is_cut_short
        )
        # Another replica may not know the video to go on after.
        answer, body = asked_around("the list", ask) if after else ask()
        if len(body) > _MOST_PAGE_BYTES:
            raise ServerBroken(
                f"a page of the list is larger than {_MOST_PAGE_BYTES // MIB} MiB"
            )
        return answer, body


def _check_whole(page: ListPage, rows: int) -> None:
    """Raise ServerBroken unless *page*, which brought nothing new, ends the list.

    *rows* came before it. Servers that page without saying has_more end with an empty
    page; those that ignore `after` send the first one again, which is the whole if it
    is a short one, and holds as many as there are in all.
    """
    short = page.total is not None and page.total > rows
    if page.has_more or page.rows >= _PAGE_ENTRIES or short:
        raise ServerBroken("the list cannot be paged: the same came again")
