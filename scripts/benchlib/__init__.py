"""The parts of `scripts/bench`.

`media` makes the films, `origin` serves and counts them, `mounts` starts the
contenders, `scenarios` are the works measured, `rows` what is asked of them;
`report` and `chart` show it, `cli` runs it.
"""
