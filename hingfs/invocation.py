"""How hingfs was called, and so how it can be called again.

Messages name commands for people to run. A shell does not find the bare name `hingfs`
where no directory of the PATH has it, as in a checkout or a virtual environment.
"""

import os
import shutil
import sys
from pathlib import Path

from .errors import command_word

# Absolute from the start, since a daemon changes its directory.
_PROGRAM = Path(sys.argv[0]).absolute()


def command() -> str:
    """What to type in a shell for `hingfs`: its name, its path, or `python -m hingfs`."""
    if _PROGRAM.name != "hingfs" or not os.access(_PROGRAM, os.X_OK):
        return f"{command_word(sys.executable)} -m hingfs"
    found = shutil.which("hingfs")
    if found is not None and _PROGRAM.samefile(found):
        return "hingfs"
    return command_word(_PROGRAM)
