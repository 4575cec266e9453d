"""Bytes over HTTP, under deadlines and bounds; it knows no videos.

`transport` sends a request and gives an `answer`; `exchange` reads it off its connection
as `framing` allows; `connections` and `dialing` make connections; `limits`, `pauses`,
`pace` and `patience` tell when to ask, and how long.
"""
