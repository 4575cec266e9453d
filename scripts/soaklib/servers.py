"""The servers and the faults that a soaked mount meets."""

import itertools
import math
import threading
from collections.abc import Callable, Mapping, Sequence

from tests.support import endpoint as faults
from tests.support.doubtful_servers import (
    Balancer,
    Firewall,
    Replicas,
    Shifting,
    Walled,
    draws,
)
from tests.support.endpoint import Fault
from tests.support.limited_servers import Metered, TokenBucket
from tests.support.odd_servers import NamedUrl, NoCoding, NoLength
from tests.support.personalities import PERSONALITIES, Personality

SIZES = (100_001, 700_000, 3_000_017, 9_000_000, 25_000_003, 60_000_000)
FAULT_SHARE = 0.2


def one_in(count: int) -> Callable[[object], bool]:
    """True for one request of *count*."""
    numbers = itertools.count()
    return lambda _request: next(numbers) % count == 0


# Servers as their documents describe them, and as bug reports do.
PHASES: Mapping[str, Personality] = {
    "openai": PERSONALITIES["openai"],
    "aisix_proxy": PERSONALITIES["aisix_proxy"],
    "hingnet_sora_redirect": PERSONALITIES["hingnet_sora_redirect"],
    "sglang": PERSONALITIES["sglang"],
    "a coding that is none": NoCoding(),
    "a URL in the status": NamedUrl(),
    "one replica of three": Replicas(Balancer(draws(3), pinned=True)),
    "a firewall now and then": Walled(wall=Firewall(math.inf, where=one_in(20))),
    "a copy for each answer": Shifting(),
    "two edges": Shifting(copy_of=lambda request: request.connection_id % 2),
    "no length": NoLength(),
    "few requests": Metered(TokenBucket(per_second=10, burst=20), "Retry-After"),
}
# Without ranges a far read waits for all before it: smaller videos, or few reads.
WITHOUT_RANGES = ("aisix_proxy", "a copy for each answer", "two edges", "no length")
LARGEST_WITHOUT_RANGES = 10_000_000

NEVER = threading.Event()
FAULTS: Sequence[Fault] = (
    faults.refuse_connection(),
    faults.reset_at(0),
    faults.reset_at(100_000),
    faults.close_at(1_000_000),
    faults.stall_at(300_000, NEVER),
    faults.stall_before_headers(0.5),
    faults.drip(1_000_000),
    faults.short_content_length(1),
    faults.short_chunked(1000),
    faults.short_of_range(70),
    faults.chunked(),
    faults.until_close(),
    faults.empty_body(),
    faults.wrong_start(),
    faults.wrong_start(200_000),
    faults.wrong_total(),
    faults.wrong_etag(),
    faults.more_than_asked(4096),
    faults.multipart_206(),
    faults.status_416(),
    faults.status(429, "1"),
    faults.status(429),
    faults.status(500),
    faults.status(502),
    faults.status(503),
    faults.status(504),
    faults.json_200(),
    faults.redirect_loop(),
    faults.header_bomb(20),
    faults.huge_error_page(502),
    faults.wrong_start() + faults.reset_at(5000),
)
