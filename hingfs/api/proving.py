"""Whether a video is whole though no status says so: its content must prove it.

Decides what an unknown status word leads to: one warning, then a look at the content. If
that is whole, listed videos with the word are shown from then on. Leaves to `readiness`
when content is whole, and to `refusals` which error a doubt is.

Threads: every method may be called from any thread.
"""

from functools import partial

from ..content import Content
from ..http.pace import Pace
from ..http.patience import Patience
from .download import RangeDownload
from .judgement import refusals
from .judgement.video_status import Status
from .readiness import Readiness
from .routes import Routes


class Proving:
    """The proofs that videos of one endpoint are whole. See the module docstring."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._readiness = Readiness(routes.config.settle_seconds)

    def prove(self, content: Content, status: Status, patience: Patience) -> None:
        """Raise the error of `refusals.unproven` unless *content* is whole.

        The API serves *content* under an unknown status word, or has a status for other
        videos and none for this one.
        """
        self._routes.statuses.warn_of_word(content.video_id, status)
        pace = partial(Pace, self._routes.config.stall_seconds)
        doubt = self._readiness.doubt(
            content,
            lambda span: RangeDownload(
                self._routes, content, span, patience=patience, pace=pace()
            ),
            patience.deadline,
        )
        if doubt is not None:
            begun = self._routes.begun.take(content.video_id)
            if begun is not None:  # nobody shall download a part as the whole
                begun.close()
            raise refusals.unproven(status, doubt.reason, passing=doubt.passing)
        if status.word:
            self._routes.endpoint.status.word_passed(status.word, content.video_id)
