"""How a FUSE library is loaded."""

import sys

import pytest

from tests.support.mounting import BINDINGS, environment, run

LOADS_WITHOUT_A_PROCESS = """
import subprocess, sys
from hingfs.mount import binding
def refuse(*_arguments, **_options):
    raise AssertionError("a process")
subprocess.Popen = refuse
print(binding.load(sys.argv[1]))
"""


@pytest.mark.parametrize("binding", BINDINGS)
def test_libfuse_is_found_without_a_process(binding):
    command = [sys.executable, "-c", LOADS_WITHOUT_A_PROCESS, binding]

    assert run(command, env=environment()).stdout.startswith(f"{binding}, libfuse ")
