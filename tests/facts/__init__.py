"""Tests of `hingfs.facts`."""
