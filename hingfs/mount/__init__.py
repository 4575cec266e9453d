"""A mount: FUSE in front of an engine, the mount table, and the process that serves.

`serving` runs it, in a `daemon` where it is to be in the background. `binding` drives
libfuse, `operations` answers the kernel; they meet in `filesystem`. `mountpoint` makes
way for a mount by `mount_table` and `fusermount`; `threads` and `heap` know what the
process may take.
"""
