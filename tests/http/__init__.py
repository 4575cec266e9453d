"""Tests of `hingfs.http`."""
