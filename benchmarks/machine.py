"""What this machine is, and what the kernel says of a process."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
KIB, MB, GB = 1024, 1_000_000, 1_000_000_000


def describe(folder: Path) -> str:
    """Return processor, kernel, Python and file system: figures mean nothing without."""
    info = Path("/proc/cpuinfo").read_text(errors="replace")
    model = next(
        (line.partition(":")[2].strip() for line in info.splitlines() if "model name" in line),
        platform.machine(),
    )
    return (
        f"{model}, {os.cpu_count()} cores; Linux {platform.release()}; "
        f"Python {platform.python_version()}; data on {_file_system(folder)}"
    )


def _file_system(folder: Path) -> str:
    best, kind = "", "?"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split()
        if (folder.is_relative_to(mount)) and len(mount) >= len(best):
            best, kind = mount, found
    return kind


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used in all its threads, system time included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in MiB."""

    resident: float
    anonymous: float
    """The part that is not backed by files: what is really its own."""


def memory(pid: int) -> Memory:
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key in {"VmRSS", "RssAnon"}:
            found[key] = int(value.split()[0]) / KIB
    return Memory(found["VmRSS"], found["RssAnon"])
