"""Videos as files, without FUSE: their names, what they are, and their bytes.

`catalog` finds files by their names; `known` remembers them, `listing` keeps the API's
list, and `versions` asks the server. `reader` reads one file, and `readahead` decides
what is fetched before it is asked for.
"""
