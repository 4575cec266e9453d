"""A small video API on this machine, and its clips, to try hingfs with."""
