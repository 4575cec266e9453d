"""A mount: FUSE in front of an engine, the mount table, and the process that serves.

`serving` runs a mount; `daemon` puts it into the background. `binding` drives libfuse,
and `entries` gives it names and attributes; `operations` serves the calls of the kernel.
They meet in `filesystem` alone. `mountpoint`
checks and clears the directory, with `mount_table` and `fusermount`. `threads` bounds
the threads of the process, `heap` the memory that it holds unused.
"""
