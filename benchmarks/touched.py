"""How many of our modules one recording runs through, on the device and on the server.

``python -m benchmarks.touched``; with ``--list`` it names them. A module counts if one of its functions runs
between the moment at which a recording of 3 MB appears in the folder and two seconds after it is published:
the agent has its receipt by then. Which of them run without a recording, too, is counted in as long a rest.
"""

from __future__ import annotations

import argparse
import inspect
import os
import runpy
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tests.support.processes import Program, wait_for
from tests.support.site import Site, site

PACKAGES = ("edge_agent", "edge_host", "ingest_server", "upload_protocol")
RECORDING_BYTES = 3_000_000
RECEIPT_S = 2.0
_ROOT = f"{Path(__file__).resolve().parent.parent}{os.sep}"
_BEGIN, _END, _FOUND = "begin", "end", "found"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.touched", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the modules")
    parser.add_argument("--dir", type=Path, default=Path("var/touched"))
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with site(folder) as here:
            found = _measured(here)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("| program | modules at rest | with a recording | of them only then |\n|---|---|---|---|")
    for name, (rest, busy) in found.items():
        print(f"| {name} | {len(rest)} | {len(busy)} | {len(busy - rest)} |")
    for name, (_, busy) in found.items() if chosen.list else ():
        rooms = Counter(str(Path(one).parent) for one in busy)
        print(f"\n{name}: {', '.join(f'{room} {count}' for room, count in sorted(rooms.items()))}")
        print("\n".join(sorted(busy)))
    return 0


def _measured(here: Site) -> dict[str, tuple[set[str], set[str]]]:
    """Return what runs at rest, and with a recording, for each program of *here*."""
    here.server.stop()
    watched = {"agent": _watched(here.agent), "server": _watched(here.server)}
    here.server.start()
    here.agent.start()
    _send(here, 1)  # what is done once in the life of a program is no part of it
    began_s = time.monotonic()
    busy = _during(watched, lambda: _send(here, 2))
    took_s = time.monotonic() - began_s
    rest = _during(watched, lambda: time.sleep(took_s))
    return {name: (rest[name], busy[name]) for name in watched}


def _send(here: Site, count: int) -> None:
    made = here.agent.folder / f"{count}.mp4"
    made.write_bytes(os.urandom(RECORDING_BYTES))
    made.rename(here.agent.media / made.name)
    here.wait_until_published(count)
    time.sleep(RECEIPT_S)


def _watched(program: Program) -> Path:
    """Let *program* run inside `inside`; return the folder by whose files it is asked."""
    folder = program.folder / "touched"
    folder.mkdir()
    python, _, module, *rest = program.command
    program.command = [python, "-m", "benchmarks.touched", "inside", folder, module, *rest]
    return folder


def _during(watched: dict[str, Path], work: Callable[[], None]) -> dict[str, set[str]]:
    _ask(watched, _BEGIN)
    work()
    _ask(watched, _END)
    return {
        name: set((folder / _FOUND).read_text().splitlines()) for name, folder in watched.items()
    }


def _ask(watched: dict[str, Path], what: str) -> None:
    for folder in watched.values():
        (folder / what).touch()
    for folder in watched.values():
        wait_for(lambda: not (folder / what).exists(), f"it has taken {what}")  # noqa: B023 # asked at once


def inside(folder: Path, module: str, arguments: list[str]) -> None:
    """Run *module* as a program, and note which of our modules do something."""
    seen: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        # Bodies of modules and of classes have no locals of their own: importing is no work.
        if event == "call" and code.co_flags & inspect.CO_OPTIMIZED:
            seen.add(code.co_filename)

    def answer() -> None:
        while True:
            if (folder / _BEGIN).exists():
                seen.clear()
                (folder / _BEGIN).unlink()
            if (folder / _END).exists():
                files = [one.removeprefix(_ROOT) for one in list(seen)]
                ours = sorted(one for one in files if one.split(os.sep)[0] in PACKAGES)
                (folder / _FOUND).write_text("\n".join(ours))
                (folder / _END).unlink()
            time.sleep(0.02)

    threading.Thread(target=answer, name="answer", daemon=True).start()  # before it is watched
    threading.setprofile(note)
    sys.setprofile(note)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["inside"]:
        inside(Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
    else:
        sys.exit(main())
