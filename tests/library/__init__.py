"""Tests of `hingfs.library`."""
