"""What one mount learns and the next one need not ask again, in a file.

A `store` keeps `records` of one endpoint for one token: lessons about the server, videos,
and the last listing. `database` is the SQLite file, `directory` where it may lie. The
rooms above are given a store; `engine` makes it.
"""
