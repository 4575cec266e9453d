"""What tests need: servers, mounts, views of files, strategies."""
