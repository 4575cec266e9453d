"""hingfs: the finished clips of an OpenAI-style video API as files."""

__version__ = "0.1.0"
