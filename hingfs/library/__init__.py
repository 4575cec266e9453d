"""Videos as files, without FUSE: their names, what they are, and their bytes.

`catalog` finds files by their names; `known` remembers them, `listing` keeps the API's
list, `versions` asks the server on the threads of `lookups`, and `walk` looks names up
ahead of a program. `readers` keeps one `reader` for each open version; `readahead` and
`habits` decide what is fetched ahead of the reads. `sameness` compares a version with
the known one, `handed_out` proves one by its bytes, `failures` and `crowd` shorten the
time of a read.
"""
