"""Tests of `hingfs.mount`."""
