"""The command line: `main` runs it, `settings` tells what can be set."""
