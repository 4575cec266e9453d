"""The parts of `scripts/soak`.

`kept` are videos that the server has no more; `servers` are those that a mount meets, and their faults; `limits` what it must keep;
`reader` reads and checks, eight processes of it; `soak` runs them at one mount;
`outcome` says what was found; `cli` runs it all.
"""
