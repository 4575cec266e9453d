"""The routes of one endpoint's API, wired, and what is learnt there.

Nothing is cached here but what is learnt about the *server* (`endpoint_facts`), where it
keeps the bytes (`places`), and what it has begun to send (`begun`).
"""

from dataclasses import dataclass
from typing import Self

from ..http.transport import HttpTransport
from ..settings import EndpointConfig
from ..workers import DaemonPool
from .admission import Admission
from .begun import BegunAnswers
from .content import ContentRoute
from .endpoint_facts import EndpointFacts
from .head_route import HeadRoute
from .pages import PagedList
from .places import Places
from .samples import FreshSamples
from .sender import Sender
from .shifting import Settling
from .status_route import StatusRoute


@dataclass(frozen=True, slots=True)
class Routes:
    """What asks for a video, and what is told what it learns. Thread safety: all of it."""

    transport: HttpTransport
    config: EndpointConfig
    endpoint: EndpointFacts
    sender: Sender
    admission: Admission
    pages: PagedList
    statuses: StatusRoute
    heads: HeadRoute
    content: ContentRoute
    settling: Settling
    places: Places
    begun: BegunAnswers

    @classmethod
    def of(
        cls, transport: HttpTransport, config: EndpointConfig, pool: DaemonPool
    ) -> Self:
        """Those of the endpoint of *config*; *pool* runs the requests for statuses."""
        endpoint, places = EndpointFacts.of_stranger(), Places()
        sender = Sender(transport, config, endpoint)
        statuses = StatusRoute(sender, transport, config, endpoint, pool)
        heads = HeadRoute(sender, endpoint)
        admission = Admission(sender, transport, config, endpoint)
        pages = PagedList(sender, endpoint, admission)
        content = ContentRoute(sender, statuses, transport, places, pages)
        samples = FreshSamples(sender, heads, content)
        return cls(
            transport=transport,
            config=config,
            endpoint=endpoint,
            sender=sender,
            admission=admission,
            pages=pages,
            statuses=statuses,
            heads=heads,
            content=content,
            settling=Settling(samples, endpoint),
            places=places,
            begun=BegunAnswers(),
        )
