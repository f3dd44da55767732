"""How much of what was sent is of use when the link goes away: `python -m benchmarks.window`.

A device parks for a while, with more to send than fits into that time: the agent runs over an emulated link that
vanishes, and the bytes of the files that are published by then are compared with the bytes that were carried.
Needs root (network namespaces).
"""

from __future__ import annotations

import argparse
import hashlib
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import device
from benchmarks.linkem import SERVER_IP
from benchmarks.linkem.emulator import build
from benchmarks.linkem.profiles import Link
from benchmarks.linkem.run import Run, run
from benchmarks.links_agent import PORT, IngestServer
from tests.support.processes import DEVICE, toml

MB = 1_000_000
_AFTER_S = 3.0
"""The link is gone by then: only what the server has already can still be published."""
_MOST = 400
"""Files: a long queue, and a bound for the disk."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was there when the link had gone."""

    files: int
    whole_bytes: int
    carried_bytes: int

    @property
    def ratio(self) -> float:
        return self.whole_bytes / max(1, self.carried_bytes)


def main() -> int:
    chosen = _parser().parse_args()
    build()
    device.surround()
    print(
        f"{chosen.rate_mbit} Mbit/s (up/down), {chosen.delay_ms} ms one way, loss {chosen.loss}, gone"
        f" after {chosen.window_s:g} s, {chosen.cc}"
    )
    print("file MB  published  whole MB  carried MB  whole/carried")
    for mb in chosen.mb:
        with tempfile.TemporaryDirectory(prefix="window-", dir=chosen.dir) as folder:
            found = measure(Path(folder), round(mb * MB), chosen)
        print(
            f"{mb:7g}  {found.files:9}  {found.whole_bytes / MB:8.1f}  {found.carried_bytes / MB:10.1f}"
            f"  {found.ratio:13.3f}",
            flush=True,
        )
    return 0


def measure(folder: Path, length: int, chosen: argparse.Namespace) -> Outcome:
    """Send files of *length* over the link until it is gone."""
    server = IngestServer(folder)
    media = folder / "media"
    media.mkdir()
    capacity = float(chosen.rate_mbit.partition("/")[0]) * MB / 8 * chosen.window_s
    for number in range(min(_MOST, max(4, int(1.5 * capacity / length)))):
        drawn = hashlib.shake_256(str(number).encode()).digest(length)
        (media / f"{number:03}.mp4").write_bytes(drawn)
    config = folder / "agent.toml"
    tables: dict[str, dict[str, Any]] = {
        "": {"device_id": DEVICE, "state_dir": folder / "agent"},
        "watch": {"folder": media, "settle_seconds": 0.1},
        "server": {"url": f"http://{SERVER_IP}:{PORT}", "token_file": server.token},
        "upload": {"congestion_control": chosen.cc},
        "reports": {"enabled": False},
        "log": {"format": "json"},
    }
    config.write_text(toml(tables))
    program = [device.python(), "-m", "edge_agent", "run", "--config", config]
    report = run(
        Run(
            link=Link(
                chosen.rate_mbit,
                chosen.delay_ms,
                loss=chosen.loss,
                burst="2",
                outages=f"{chosen.window_s:g}:9999",
            ),
            device=f"exec {shlex.join(map(str, program))}",
            server=server.command,
            port=PORT,
            seed=chosen.seed,
            congestion_control=chosen.cc,
            timeout_s=chosen.window_s + _AFTER_S,
            log_folder=folder,
        )
    )
    whole = [one.stat().st_size for one in server.published.rglob("*") if one.is_file()]
    return Outcome(len(whole), sum(whole), report.link["acked_bytes"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.window", description=__doc__)
    add = parser.add_argument
    add("--window-s", type=float, default=60.0, help="how long the link is there (default: 60)")
    add("--mb", type=float, nargs="+", default=[0.5, 2.0, 5.0, 10.0], help="sizes of the files")
    add("--rate-mbit", default="20/30", metavar="UP/DOWN", help="the link (default: 20/30)")
    add("--delay-ms", default="30", help="one way (default: 30)")
    add("--loss", default="0.01", help="fraction of packets lost (default: 0.01)")
    add("--cc", default="cubic", choices=("cubic", "bbr"), help="default: cubic")
    add("--seed", type=int, default=1, help="default: 1")
    add("--dir", type=Path, help="where files are kept meanwhile (default: the temporary folder)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
