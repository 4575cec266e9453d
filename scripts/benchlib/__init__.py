"""The parts of `scripts/bench`.

`media` makes the films, `served` lays them out, `origin` serves and `traffic` counts
them; `mounts` starts the contenders, `works` is what programs do with the files,
`scenarios` which of it is measured, `rows` what is asked of it; `report` and `chart`
show it; `long_run` is an hour of it; `cli` runs them.
"""
