"""How long a call may take, how much a mount may hold, and the options that say so."""

DEADLINE_SECONDS = 5.0
# What the kernel asks for with one request to either binding, at most. A call for more,
# or through the page cache, is several requests, in turn, each with its own deadline.
REQUEST_BYTES = 128 * 1024
COUNTS = (1, 511, 4096, 65_536, 300_000, 1 << 20)
# A call that lasts longer than its deadlines and this is a hang: two cores are shared
# by eight readers, the mount and the server.
SLACK_SECONDS = 2.0
LONGEST_CALL_SECONDS = (COUNTS[-1] // REQUEST_BYTES + 2) * DEADLINE_SECONDS
IDLE_WITHIN_SECONDS = 60.0
# How many of its connections a mount keeps for the next requests, at most: ten for
# content and sixteen for names. How many it holds at rest is how many it needed at once,
# not long ago: 8 to 22 in runs of half a minute and of ten.
KEPT_CONNECTIONS = 26
# libfuse keeps as many threads as it needed at once, up to ten more than at rest.
SPARE_THREADS = 10
RSS_GROWTH_MB = 20.0
MB = 1e6
MOUNT_OPTIONS = (
    *("--read-timeout", f"{DEADLINE_SECONDS}s"),
    *("--metadata-timeout", f"{DEADLINE_SECONDS}s"),
    *("--stall-timeout", "500ms"),
    *("--first-byte-timeout", f"{DEADLINE_SECONDS}s"),
    *("--retry-after-limit", "2s"),
    *("--metadata-ttl", "2s"),
    *("--cache-size", "32MiB"),
    *("--spool-size", "100MB"),
    *("--log-level", "warning"),
)
