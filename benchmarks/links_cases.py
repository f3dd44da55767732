"""The cases that are measured: which files over which link."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from benchmarks.linkem.profiles import PROFILES, Link
from benchmarks.machine import MB


@dataclass(frozen=True, slots=True)
class Case:
    """Files of one size over one link, and what the agent is to reach."""

    name: str
    link: Link
    count: int
    length: int
    must_reach: str
    """As printed beside the measured efficiency."""
    timeout_s: float = 600.0

    @property
    def total(self) -> int:
        return self.count * self.length


@dataclass(frozen=True, slots=True)
class Plan:
    """How one run is done: two shell commands, and where the server puts what it received."""

    server: str
    port: int
    device: str
    received: Path


def cases(traces: Path | None) -> dict[str, Case]:
    """Return all cases by name; those of recorded links where a folder of traces is given.

    A trace is a pair of files ``NAME.up`` and ``NAME.down``, in the form of mahimahi: one chance to
    send 1500 bytes a line, in ms.
    """
    one, several, many = (1, 50 * MB), (20, 5 * MB // 2), (200, MB)
    listed = [
        Case("lte-bad", PROFILES["lte-bad"], *one, ".85, BBR .90"),
        Case("lte-bad-20", PROFILES["lte-bad"], *several, ".90"),
        Case("flyby", PROFILES["flyby"], *one, ".80"),
        Case("satellite", PROFILES["satellite"], *one, ".65, BBR .78"),
        Case("wifi-weak", PROFILES["wifi-weak"], *one, ".85"),
        Case("lte-good-200", PROFILES["lte-good"], *many, ".85"),
    ]
    for up in sorted(traces.glob("*.up")) if traces is not None else ():
        down = up.with_suffix(".down")
        link = Link(
            delay_ms="20", loss="0.001", trace=f"{up.absolute()}|{down.absolute()}", note="recorded"
        )
        listed.append(Case(f"trace-{up.stem}", link, *one, ".90"))
    return {case.name: case for case in listed}


def files_of(case: Case, folder: Path) -> list[Path]:
    """Return the case's files in *folder*, made at the first call: bytes without any pattern."""
    home = folder / f"{case.count}x{case.length}"
    home.mkdir(parents=True, exist_ok=True)
    files = [home / f"flight-{number:03}.bin" for number in range(case.count)]
    for file in files:
        if not file.exists() or file.stat().st_size != case.length:
            file.write_bytes(hashlib.shake_256(file.name.encode()).digest(case.length))
    return files


def digests(files: list[Path]) -> list[str]:
    """Return the files' SHA-256, sorted."""
    found = []
    for file in files:
        with file.open("rb") as source:
            found.append(hashlib.file_digest(source, "sha256").hexdigest())
    return sorted(found)
