"""Bytes made present: blocks by range requests, or a whole file in order.

`fetcher` makes blocks present. `landings` has the blocks on their way, `schedule` says
which `transfer` runs next, `pump` runs it, and `concurrency` learns how many at once
pay off.
`spool_store` gives each whole file a `spool`, and a `stream` that fills it. The bytes
of a spool lie in a `storage`; `room` bounds the memory and the disk of all spools.
"""
