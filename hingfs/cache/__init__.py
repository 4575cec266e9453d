"""Blocks that are kept: `base` says what a cache is; `memory` is one, `disk` another."""
