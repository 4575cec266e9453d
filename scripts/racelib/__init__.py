"""A race of keeping against expiry, for `scripts/race` and its test."""
