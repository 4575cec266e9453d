"""The parts that ask one endpoint's API, wired, and the tables of what they learn.

Decides which part gets which other. Nothing here remembers videos, except the URLs of
their bytes (`content_urls`) and answers that were begun (`begun`); `endpoint_facts` is
about the server.
"""

from dataclasses import dataclass
from typing import Self

from ..facts.store import FactStore
from ..http.transport import HttpTransport
from ..settings import EndpointConfig
from ..workers import DaemonPool
from .begun import BegunAnswers
from .content import ContentRoute
from .content_urls import ContentUrls
from .endpoint_check import EndpointCheck
from .endpoint_facts import EndpointFacts
from .first_bytes import FirstBytes
from .get_route import GetRoute
from .head_route import HeadRoute
from .pages import PagedList
from .samples import FreshSamples
from .sender import Sender
from .shifting import Settling
from .status_route import StatusRoute


@dataclass(frozen=True, slots=True)
class Routes:
    """The parts of one endpoint's API. Thread safety: that of each part, which is full."""

    transport: HttpTransport
    config: EndpointConfig
    endpoint: EndpointFacts
    sender: Sender
    endpoint_check: EndpointCheck
    pages: PagedList
    statuses: StatusRoute
    heads: HeadRoute
    content: ContentRoute
    settling: Settling
    urls: ContentUrls
    begun: BegunAnswers
    first_bytes: FirstBytes

    @classmethod
    def of(
        cls,
        transport: HttpTransport,
        config: EndpointConfig,
        pool: DaemonPool,
        store: FactStore,
    ) -> Self:
        """The parts for the endpoint of *config*.

        *pool* runs requests for statuses; *store* remembers what is learnt.
        """
        endpoint, urls = EndpointFacts.remembered(store), ContentUrls()
        sender = Sender(transport, config, endpoint)
        statuses = StatusRoute(sender, transport, config, endpoint, pool)
        heads = HeadRoute(sender, endpoint)
        endpoint_check = EndpointCheck(sender, transport, config, endpoint)
        pages = PagedList(sender, endpoint, endpoint_check)
        get = GetRoute(sender, transport, urls)
        content = ContentRoute(sender, statuses, transport, urls, get=get, rows=pages)
        samples = FreshSamples(sender, heads, content)
        return cls(
            transport=transport,
            config=config,
            endpoint=endpoint,
            sender=sender,
            endpoint_check=endpoint_check,
            pages=pages,
            statuses=statuses,
            heads=heads,
            content=content,
            settling=Settling(samples, endpoint),
            urls=urls,
            begun=BegunAnswers(),
            first_bytes=FirstBytes(get, sender, endpoint),
        )
