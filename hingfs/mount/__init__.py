"""A mount: FUSE in front of an engine, the mount table, and the process that serves.

`serving` runs it; `operations` answers the kernel; `binding` drives libfuse;
`mountpoint` and `fusermount` know what is mounted where.
"""
