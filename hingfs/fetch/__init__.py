"""Bytes made present: blocks by range requests, or a whole file in order.

`fetcher` makes blocks present: `landings` are those on their way, `schedule` says which
`transfer` runs next, `pump` runs it, `concurrency` learns how many at once pay off.
`spool_store` has a `stream` take what comes whole into a `spool`, whose bytes lie in a
`storage`, for which there is `room`.
"""
