"""Modules that are loaded at their first use, the same as ever, only later; and memory given back."""

import ctypes
import importlib
import importlib.util
import os
import subprocess
import sys
import threading
from types import ModuleType

import pytest

from edge_agent.memory import UNUSED, defer


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that notes each time that it is loaded."""
    (tmp_path / "late_one").mkdir()
    (tmp_path / "late_one" / "__init__.py").write_text(
        "import builtins\nbuiltins.loads_of_late_one.append(1)\nfrom late_one.part import value\n"
    )
    (tmp_path / "late_one" / "part.py").write_text("value = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("builtins.loads_of_late_one", [], raising=False)
    yield sys.modules["builtins"].loads_of_late_one
    for name in ("late_one", "late_one.part"):
        sys.modules.pop(name, None)


def test_an_import_loads_nothing_and_the_first_use_everything(package):
    defer(["late_one"])

    late_one = importlib.import_module("late_one")

    assert package == []
    assert late_one.value == 7
    assert package == [1]
    assert type(late_one) is ModuleType
    with pytest.raises(AttributeError, match="late_one"):
        _ = late_one.no_such_name


def test_the_import_of_a_part_loads_the_whole(package):
    defer(["late_one"])

    part = __import__("late_one", fromlist=["part"]).part

    assert (part.value, package) == (7, [1])


def test_threads_that_use_it_at_once_load_it_once(package):
    defer(["late_one"])
    late_one = importlib.import_module("late_one")

    begin = threading.Barrier(8)
    seen = []

    def use():
        begin.wait()
        seen.append(late_one.value)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (seen, package) == ([7] * 8, [1])


def test_a_module_that_cannot_be_loaded_says_so_each_time(package, tmp_path):
    (tmp_path / "late_one" / "part.py").write_text("import no_such_module\n")
    defer(["late_one"])
    late_one = importlib.import_module("late_one")

    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="no_such_module"):
            _ = late_one.value


def test_what_is_loaded_already_or_not_installed_is_left_alone(package):
    late_one = importlib.import_module("late_one")

    defer(["late_one", "not_installed_at_all"])

    assert sys.modules["late_one"] is late_one
    assert "not_installed_at_all" not in sys.modules


@pytest.mark.slow
def test_the_agent_s_libraries_work_without_what_it_defers():
    """In a process of its own: this one has loaded everything long ago."""
    program = """
import importlib
import sys
from edge_agent.memory import UNUSED, defer
defer()
import structlog, pydantic_settings, httpx
assert "asyncio.events" not in sys.modules, "who has loaded it?"
import asyncio
async def answer():
    return 42
assert asyncio.run(answer()) == 42
import edge_agent.agent, edge_agent.operate.upload_once
for name in UNUSED:
    dir(sys.modules[name]), sys.modules[name].__doc__, getattr(sys.modules[name], "__all__", ())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "asyncio" in UNUSED


@pytest.mark.slow
def test_the_program_does_without_what_others_load_where_it_happens_to_be_installed():
    program = """
import sys
from edge_agent import __main__
sys.argv = ["edge-agent", "--version"]
try:
    __main__.main()
except SystemExit:
    pass
import httpx, structlog
print([name for name in ("click", "pygments", "rich") if sys.modules[name] is not None])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert importlib.util.find_spec("rich") is not None, "else there is nothing to do without"
    assert done.stdout.endswith("[]\n")


_FREEING = """
from pathlib import Path
from edge_agent.memory import trim
def resident():
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in one]
    return int(line.split()[1])
pieces = [b"x" * 2000 + bytes([n % 256]) for n in range(20_000)]
last = pieces[-1]
del pieces
before = resident()
trim()
print(before - resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_what_was_freed_below_something_in_use_goes_back_to_the_system():
    done = subprocess.run(
        [sys.executable, "-c", _FREEING], capture_output=True, text=True, timeout=60, check=True
    )

    assert int(done.stdout) > 20_000, "KiB of 40 000 that were freed"


_ALLOCATING = """
import sys, threading
from pathlib import Path
from edge_agent.memory import share_one_heap
def reserved():
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if "VmSize" in one]
    return int(line.split()[1])
threading.stack_size(256 * 1024)
if "one" in sys.argv:
    share_one_heap()
before, held, is_enough = reserved(), [], threading.Event()
def hold():
    held.append(bytearray(50_000))
    is_enough.wait()
threads = [threading.Thread(target=hold) for _ in range(6)]
for one in threads:
    one.start()
while len(held) < len(threads):
    pass
print(reserved() - before)
is_enough.set()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
@pytest.mark.parametrize("heaps", ["one", "many"])
def test_threads_share_one_heap_however_the_agent_was_started(heaps):
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name}

    done = subprocess.run(
        [sys.executable, "-c", _ALLOCATING, heaps],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment,
    )

    is_shared = int(done.stdout) < 60 * 1024  # KiB: glibc reserves 64 MiB for each further heap
    assert is_shared == (heaps == "one")
