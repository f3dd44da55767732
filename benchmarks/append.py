"""What it costs to send a log that is written on after it was sent: `python -m benchmarks.append`.

A log is written, sent and published, and then written on so many times, each time sent and published before
the next; once as agents do by default, once with `[watch] append`. Real programs; bytes are counted on the wire.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks.machine import MB, cpu_s
from tests.support.site import Site, site

_NAME = "flight.csv"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.append", description=__doc__)
    add = parser.add_argument
    add("--mb", type=float, default=20.0, help="length of the log (default: 20)")
    add("--more-kb", type=float, default=200.0, help="what is written on (default: 200)")
    add("--times", type=int, default=10, help="how often (default: 10)")
    add("--dir", type=Path, help="where the folders are made (default: the system's)")
    chosen = parser.parse_args()
    print("| `[watch] append` | MB on the wire | agent, CPU seconds | server, CPU seconds |")
    print("|---|---|---|---|", flush=True)
    for title, patterns in (("off (default)", []), ("on", [_NAME])):
        with (
            tempfile.TemporaryDirectory(prefix="append-", dir=chosen.dir) as folder,
            site(Path(folder), watch={"append": patterns}) as here,
        ):
            print(f"| {title} | {_measure(here, chosen)} |", flush=True)
    return 0


def _measure(here: Site, chosen: argparse.Namespace) -> str:
    path = here.agent.media / _NAME
    here.agent.start()
    _write_on(here, path, round(chosen.mb * MB), 1)
    programs = (here.agent.pid, here.server.pid)
    sent, cpu = here.link.sent, [cpu_s(one) for one in programs]
    for number in range(chosen.times):
        _write_on(here, path, round(chosen.more_kb * 1000), number + 2)
    used = [cpu_s(one) - before for one, before in zip(programs, cpu, strict=True)]
    return f"{(here.link.sent - sent) / MB:.1f} | {used[0]:.1f} | {used[1]:.1f}"


def _write_on(here: Site, path: Path, length: int, published: int) -> None:
    with path.open("ab") as log:
        log.write(os.urandom(length))
    here.agent.run("upload", "--finished", str(path))
    here.wait_until_published(published)


if __name__ == "__main__":
    raise SystemExit(main())
