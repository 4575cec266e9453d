"""What runs as a whole: real mounts, real programs, the command line from a process."""
