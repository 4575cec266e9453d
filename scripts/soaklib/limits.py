"""How long a call may take, how much a mount may hold, and the options that say so."""

from hingfs.cache.attempts import MOST_THREADS

DEADLINE_SECONDS = 5.0
# The kernel asks either binding for so many bytes at most with one request. It makes a
# call for more, or through the page cache, into several requests, one after the other,
# each with its own deadline.
REQUEST_BYTES = 128 * 1024
COUNTS = (1, 511, 4096, 65_536, 300_000, 1 << 20)
# A call that lasts longer than its deadlines and this is a hang: two cores are shared
# by eight readers, the mount and the server.
SLACK_SECONDS = 2.0
LONGEST_CALL_SECONDS = (COUNTS[-1] // REQUEST_BYTES + 2) * DEADLINE_SECONDS
IDLE_WITHIN_SECONDS = 60.0
# A mount keeps at most ten connections for content and sixteen for names. At rest it
# holds as many as it needed at once shortly before: 8 to 22 in runs of half a minute and
# of ten minutes.
KEPT_CONNECTIONS = 26
# libfuse keeps as many threads as it needed at once, up to ten more than at rest.
SPARE_THREADS = 10
# A read of a disk that is slow just then starts one of so many for each folder; they stay.
SPARE_DISK_THREADS = MOST_THREADS
RSS_GROWTH_MB = 20.0
MB = 1e6
# Of blocks on disk: the largest video just fits, so that each has others evicted.
DISK_MB = 70
# The file system may take more for a file than was foreseen. A guess.
DISK_SLACK_MB = 3
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
