"""Tests of `hingfs.api`."""
