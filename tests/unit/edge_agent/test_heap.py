"""What was freed is given back, also from below what is still in use."""

import ctypes
import subprocess
import sys

import pytest

_PROGRAM = """
from pathlib import Path
from edge_agent import heap
def resident():
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in one]
    return int(line.split()[1])
pieces = [b"x" * 2000 + bytes([n % 256]) for n in range(20_000)]
last = pieces[-1]
del pieces
before = resident()
heap.trim()
print(before - resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_what_was_freed_below_something_in_use_goes_back_to_the_system():
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )

    assert int(done.stdout) > 20_000, "KiB of 40 000 that were freed"
