"""For which machines, and with which Pythons, everything has to be there as a wheel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SIDES = ("agent", "server")
_GLIBC = range(36, 16, -1)
"""Minor versions of glibc 2 whose wheels run on Debian 12, which has 2.36; 2.17 is the oldest that there are of."""


@dataclass(frozen=True, slots=True)
class Machine:
    debian: str
    wheels: str

    def pip_options(self, python: str) -> list[str]:
        """Return what has pip choose wheels for that machine, and never build."""
        platforms = [f"manylinux_2_{minor}_{self.wheels}" for minor in _GLIBC]
        tag = f"cp{python.replace('.', '')}"
        return [
            "--only-binary=:all:",
            *(f"--platform={one}" for one in (*platforms, f"manylinux2014_{self.wheels}")),
            f"--python-version={python}",
            "--implementation=cp",
            *(f"--abi={one}" for one in (tag, "abi3", "none")),
        ]


MACHINES = {
    one.debian: one
    for one in (Machine("amd64", "x86_64"), Machine("arm64", "aarch64"), Machine("armhf", "armv7l"))
}


def locked(side: str) -> Path:
    """Return the file that pins what one side needs, by hash."""
    return TREE / f"constraints-{side}.txt"
