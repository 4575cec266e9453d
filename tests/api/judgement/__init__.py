"""Tests of `hingfs.api.judgement`."""
