"""Tests of `hingfs.cache`."""
