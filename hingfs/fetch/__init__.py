"""Bytes made present: blocks by range requests, or a whole file in order.

`fetcher` makes blocks present, each a `landing`; `concurrency` learns how many requests
pay off. `spool_store` has a `stream` take what comes whole into a `spool`, whose bytes
lie in a `storage`, for which there is `room`.
"""
