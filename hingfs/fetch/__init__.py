"""Bytes made present: blocks by range requests, or a whole file in order.

`fetcher` makes blocks present, each a `landing`; `spool` takes files that come whole,
into a `storage`; `concurrency` learns how many requests pay off.
"""
