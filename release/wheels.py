"""`make wheels`: whether all that each side needs is there as a wheel, for each machine and each Python."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from release.targets import MACHINES, PYTHONS, SIDES, Machine, locked


def missing(side: str, machine: Machine, python: str, folder: Path) -> str:
    """Return pip's last word on what is not there; nothing where all of it is."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    options = [
        *machine.pip_options(python),
        "--require-hashes",
        f"--requirement={locked(side)}",
        f"--dest={folder}",
    ]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def main() -> None:
    print(f"{'':16}" + "".join(f"{python:>8}" for python in PYTHONS))
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for side in SIDES:
            for machine in MACHINES.values():
                row = [missing(side, machine, python, Path(folder)) for python in PYTHONS]
                problems += [f"{side} {machine.wheels}: {one}" for one in row if one]
                print(
                    f"{side:7}{machine.wheels:9}"
                    + "".join(f"{'no' if one else 'yes':>8}" for one in row),
                    flush=True,
                )
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
