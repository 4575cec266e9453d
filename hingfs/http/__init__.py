"""Bytes over HTTP, under deadlines and bounds; it knows no videos.

`transport` follows a request to its `answer`; `sessions` sends it, `exchange` reads it
off its connection, and `body`, `chunks` and `framing` tell where it ends; `connections`,
`dialing` and `resolver` make connections. `patience` tells how long all is tried, with
`limits`, `pauses`, `pace` and `breaker`.
"""
