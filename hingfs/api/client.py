"""The API of one endpoint: what its videos are, and their bytes.

Decides nothing: it wires `metadata` and `source` to the same `routes`.
"""

from ..facts.store import FactStore
from ..http.transport import HttpTransport
from ..settings import EndpointConfig
from ..workers import DaemonPool
from .endpoint_check import Checked
from .metadata import VideoMetadata
from .routes import Routes
from .source import VideoSource


class VideoClient:
    """Videos at one endpoint: `metadata` tells what they are, `source` has their bytes.

    `first_bytes` asks for some bytes of a video before its size is known.

    *pool* runs requests for statuses; *store* remembers what is learnt of the endpoint.
    Thread safety: all methods.
    """

    def __init__(
        self,
        transport: HttpTransport,
        config: EndpointConfig,
        pool: DaemonPool,
        store: FactStore,
    ) -> None:
        routes = Routes.of(transport, config, pool, store)
        self._endpoint_check = routes.endpoint_check
        self._sender = routes.sender
        self.metadata = VideoMetadata(routes)
        self.source = VideoSource(routes)
        self.first_bytes = routes.first_bytes

    def check(self) -> Checked:
        """Check that the API is there and takes the token: see `EndpointCheck.check`."""
        return self._endpoint_check.check()

    def renew_token(self) -> bool:
        """Read the token file again; True if it holds another token than before."""
        return self._sender.renew_token()
