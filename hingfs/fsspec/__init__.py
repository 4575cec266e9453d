"""hing:// in Python: the videos of an API as files of fsspec, on the engine of the mount.

The one room that imports fsspec, which is the extra `hingfs[fsspec]`.
"""

from .files import HingFile
from .filesystem import HingFileSystem

__all__ = ["HingFile", "HingFileSystem"]
