"""Tests of `hingfs.demo`."""
