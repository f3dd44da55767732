"""A device with a new system and a full card: what it sends of recordings that the server has.

``python -m benchmarks.reflashed`` records sparse files of a GB each (only their heads differ, so that a card
of 64 GB costs the device no room; the server needs it), sends them, forgets all of the device's state, as a
new system image does, and counts what goes over the link until all are known again.
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from benchmarks import device, machine
from benchmarks.machine import GB
from tests.support.processes import Agent, Server, wait_for

_FILE = GB
_S_PER_GB = 60.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reflashed", description=__doc__)
    parser.add_argument("--gb", type=int, default=64, help="on the card (default: 64)")
    parser.add_argument("--dir", type=Path, default=Path("var/reflashed"))
    chosen = parser.parse_args()
    folder = chosen.dir.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    device.surround()
    print(
        f"{machine.describe(folder)}\n\n| {chosen.gb} GB | MB sent | seconds | agent's CPU, s/GB |"
    )
    print("|---|---|---|---|", flush=True)
    server = Server(folder / "server")
    try:
        server.start()
        agent = Agent(
            folder / "device",
            url=f"http://127.0.0.1:{server.port}",
            token=server.new_token(),
            python=device.python(),
        )
        for number in range(chosen.gb):
            with (agent.media / f"{number:04}.mp4").open("wb") as sparse:
                sparse.write(os.urandom(4096))
                sparse.truncate(_FILE)
        for what in ("sent for the first time", "the device's state is lost"):
            _row(agent, chosen.gb, what)
            shutil.rmtree(agent.state_dir)
        published = len(server.published_files())
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{published} files published of {chosen.gb} recorded")
    return 0 if published == chosen.gb else 1


def _row(agent: Agent, count: int, what: str) -> None:
    agent.start()
    began_s = time.monotonic()

    def sent() -> int | None:
        totals = agent.state_if_any().get("totals", {"files_done": 0})
        return totals["bytes_sent"] + 1 if totals["files_done"] == count else None

    try:
        bytes_sent = wait_for(sent, "all are verified", count * _S_PER_GB, every_s=1.0) - 1
        took_s, cpu_s = time.monotonic() - began_s, machine.cpu_s(agent.pid)
    finally:
        agent.close()
    print(f"| {what} | {bytes_sent / 1e6:.0f} | {took_s:.0f} | {cpu_s / count:.2f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
