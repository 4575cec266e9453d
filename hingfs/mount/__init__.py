"""A mount: FUSE in front of an engine, the mount table, and the process that serves.

`serving` runs it, in a `daemon` where it is to be in the background; `operations`
answers the kernel; `binding` drives libfuse; `mountpoint` and `fusermount` know what is
mounted where; `threads` and `heap` know what the process may take.
"""
