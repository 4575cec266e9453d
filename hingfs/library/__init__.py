"""Videos as files, without FUSE: their names, what they are, and their bytes.

`catalog` tells which files there are; `reader` reads one; `readahead` decides what is
fetched before it is asked for.
"""
