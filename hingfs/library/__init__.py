"""Videos as files, without FUSE: their names, what they are, and their bytes.

`catalog` tells which files there are; `listing` keeps the API's list; `reader` reads one
file; `readahead` decides what is fetched before it is asked for.
"""
