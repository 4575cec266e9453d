"""Wires all objects that read the videos of one endpoint: names, bytes, and caches.

Decides how the objects are wired, and in which order they end. Leaves FUSE to its
doors: a mount is one, and a test or a script is another.
"""

import sys

from .api.client import VideoClient
from .cache.claims import DiskClaims
from .cache.disk import DiskCache
from .cache.kept import KeptStore
from .cache.memory import MemoryBlockCache
from .cache.shared import SharedCache
from .cache.shared_claims import SharedClaims
from .cache.tiers import Tiers
from .errors import Closing
from .facts.counts import Count
from .facts.store import FactStore
from .fetch.claims import Claims
from .fetch.fetcher import BlockFetcher
from .fetch.shared_source import SharedSource
from .fetch.spool_store import SpoolStore
from .fetch.transfer import RangeSource
from .flights import SingleFlight
from .http.transport import HttpTransport
from .library.ahead import Ahead
from .library.catalog import Catalog
from .library.copies import Copies
from .library.crowd import Crowd
from .library.lookups import LOOKUP_THREADS, SILENCE_SECONDS, Lookups
from .library.openings import Openings
from .library.readers import Readers
from .settings import CacheConfig, EndpointConfig
from .workers import DaemonPool, all_joined

# What waits to be written to disk, as a share of the memory cache. That holds as much of
# what was fetched last in any case, so most of what waits takes no memory of its own. A
# guess.
WAITING_SHARE = 1 / 2


class Engine:
    """The objects of one endpoint. Thread safety: all methods.

    *most_waiting* calls may wait for the server at once; more get no time.
    *silence_seconds* is how long a name may hang before its callers are sent away; it is
    infinite where names are looked up side by side.
    Threads start when there is work for them, and end with `close`.
    """

    def __init__(
        self,
        endpoint: EndpointConfig,
        cache: CacheConfig,
        *,
        most_waiting: int = sys.maxsize,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.base_url = endpoint.base_url
        self.transport = HttpTransport(endpoint)
        self.facts = FactStore(
            cache.kept_directory,
            endpoint.base_url,
            self.transport.authorization.digest,
        )
        self.facts.load()
        taken = Count(self.facts, "requests at once that are taken")
        self.transport.slots.recall(taken.recalled, taken.learn)
        names_ahead = endpoint.connections  # looked up at once, at most
        # Each look-up asks for one status. There are as many threads as look-ups, or
        # statuses that hang would delay the others.
        self._statuses = DaemonPool("hingfs-status", LOOKUP_THREADS + names_ahead)
        self.client = VideoClient(self.transport, endpoint, self._statuses, self.facts)
        self.cache = MemoryBlockCache(cache.cache_bytes)
        waiting_bytes = int(cache.cache_bytes * WAITING_SHARE)
        self.kept = (
            KeptStore(cache.kept_videos, cache.keep_bytes, waiting_bytes)
            if cache.kept_videos
            else None
        )
        self.shared_cache = shared = (
            SharedCache(cache.shared, cache.shared_password, waiting_bytes)
            if cache.shared
            else None
        )
        self.tiers = tiers = Tiers(
            self.cache,
            cache.block_bytes,
            DiskCache(cache.kept_directory, cache.disk_cache_bytes, waiting_bytes)
            if cache.kept_directory and cache.disk_cache_bytes
            else None,
            self.kept,
            shared,
        )
        source: RangeSource = self.client.source
        claims: Claims = DiskClaims(tiers)
        if shared is not None:
            source = SharedSource(source, shared)
            claims = SharedClaims(DiskClaims(tiers), shared, tiers)
        self.spools = SpoolStore(
            self.client.source,
            tiers,
            disk_bytes=cache.spool_bytes,
            directory=cache.directory,
            stall_seconds=endpoint.stall_seconds,
        )
        self.fetcher = BlockFetcher(
            source,
            tiers,
            connections=endpoint.connections,
            whole_body=self.spools.open,
            paying=Count(self.facts, "requests at once that pay"),
            claims=claims,
        )
        self.crowd = crowd = Crowd(most_waiting)
        self.readers = Readers(
            self.fetcher, tiers, self.spools, endpoint.read_seconds, crowd=crowd
        )
        names = SingleFlight()
        self._lookups = Lookups(self.transport.breaker, silence_seconds, names)
        self._ahead = Ahead(names, names_ahead)
        self.catalog = Catalog(
            self.client.metadata,
            self.spools,
            cache,
            endpoint.metadata_seconds,
            self._lookups,
            tiers=tiers,
            ahead=self._ahead,
            crowd=crowd,
            store=self.facts,
            openings=Openings(self.client.first_bytes, self.fetcher),
            copies=Copies(self.kept, endpoint.base_url),
        )

    def renew(self) -> None:
        """Read the token file again, and have the next listing ask the API."""
        self.client.renew_token()
        self.catalog.expire_listing()

    def close(self) -> None:
        """End every wait and every transfer; may be called twice, from any thread."""
        error = Closing("the mount is ending")
        self._lookups.close(error)
        self._ahead.close(error)
        self.client.first_bytes.close(error)
        self.fetcher.close(error)
        self.spools.close(error)
        self._statuses.close(error)
        self.transport.close()
        self.catalog.close()
        self.facts.close()
        self.tiers.close()

    def settle(self, seconds: float) -> bool:
        """Whether all that the next mount needs is written within *seconds*; after `close`."""
        return all_joined((self.facts, self.tiers), seconds)

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`.

        If so, no socket and no file of the engine is open. A look-up of a host that
        hangs in the system cannot be woken, and keeps its thread.
        """
        reading = (self._lookups, self._ahead, self.fetcher, self.spools)
        asking = (self.client.first_bytes, self._statuses, self.transport)
        keeping = (self.facts, self.tiers)
        return all_joined((*reading, *asking, *keeping), seconds)
