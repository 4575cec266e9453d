"""Bytes over HTTP, under deadlines and bounds; it knows no videos.

`transport` follows a request to its `answer`. `wire` sends the request, `exchange`
reads the answer off its connection, and `body`, `chunks` and `framing` find its end.
`connections`, `dialing` and `resolver` make connections. `patience` decides how long a
call keeps trying, with `turns`, `pauses`, `pace` and `breaker`.
"""
