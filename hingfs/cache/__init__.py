"""Blocks that are kept, within bounds of bytes."""
