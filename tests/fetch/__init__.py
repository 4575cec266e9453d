"""Tests of `hingfs.fetch`."""
