"""Tests of `hingfs.cli`."""
