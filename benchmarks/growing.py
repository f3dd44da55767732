"""How soon a recording is published after its recorder has closed it, and how far behind the camera what can be seen of
it is meanwhile: `python -m benchmarks.growing`.

A file is written in real time, and its first bytes again at the end, over an emulated link to a server; once as
agents do by default, which send what is finished, once with `[watch] while_recording`. Needs root (network
namespaces).
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import random
import shlex
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
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
_PIECE_BYTES = 64 * 1024
_NAME = "flight.mp4"
_PATIENCE_S = 1800.0


def main() -> int:
    chosen = _parser().parse_args()
    if chosen.record is not None:
        _record(chosen.record, round(chosen.mb * MB), chosen.mbit * MB / 8)
        return 0
    build()
    device.surround()
    over = f"{chosen.rate_mbit} Mbit/s (up/down)" if chosen.trace is None else chosen.trace.name
    print(f"{chosen.mb:g} MB at {chosen.mbit:g} Mbit/s over {over}, {chosen.delay_ms} ms one way")
    for title, patterns in (("when it is finished", []), ("while recording", [_NAME])):
        if chosen.only is None or chosen.only in title:
            with tempfile.TemporaryDirectory(prefix="growing-") as folder:
                print(f"{title:20} {_measure(Path(folder), patterns, chosen)}", flush=True)
    return 0


def _measure(folder: Path, patterns: list[str], chosen: argparse.Namespace) -> str:
    server = IngestServer(folder)
    media = folder / "media"
    media.mkdir()
    config = folder / "agent.toml"
    tables: dict[str, dict[str, Any]] = {
        "": {"device_id": DEVICE, "state_dir": folder / "agent"},
        "watch": {"folder": media, "while_recording": patterns},
        "server": {"url": f"http://{SERVER_IP}:{PORT}", "token_file": server.token},
        "reports": {"enabled": False},
        "log": {"format": "json"},
    }
    config.write_text(toml(tables))
    command = [sys.executable, "-m", "benchmarks.growing", "--record", folder]
    command += ["--mb", chosen.mb, "--mbit", chosen.mbit]
    report = run(
        Run(
            link=_link(chosen),
            device=f"exec {shlex.join(map(str, command))}",
            server=server.command,
            port=PORT,
            timeout_s=_PATIENCE_S,
            log_folder=folder,
        )
    )
    found = json.loads((folder / "result").read_text())
    again = report.link["acked_bytes"] / found["length"] - 1
    return (
        f"published {found['published_s']:.1f} s after the close, {100 * again:.1f} % sent beside it,"
        f" agent {found['cpu_s']:.1f} s of CPU{found['lag']}"
    )


def _link(chosen: argparse.Namespace) -> Link:
    if chosen.trace is None:
        return Link(chosen.rate_mbit, chosen.delay_ms)
    up, down = (chosen.trace.absolute().with_suffix(one) for one in (".up", ".down"))
    return Link(delay_ms=chosen.delay_ms, trace=f"{up}|{down}")


def _record(folder: Path, length: int, bytes_per_s: float) -> None:
    """On the device: run the agent, record, and wait until the server has published it."""
    arrived = Arrived(folder / "server" / "state.db")
    agent: list[str | Path] = [
        device.python(),
        "-m",
        "edge_agent",
        "run",
        "--config",
        str(folder / "agent.toml"),
    ]
    published = folder / "server" / "published"
    with (folder / "agent.log").open("wb") as log:
        running = subprocess.Popen(agent, stderr=log)
        try:
            arrived.start()
            closed_s = _write(folder / "media" / _NAME, length, bytes_per_s, arrived.written)
            arrived.stop()
            while not any(one.is_file() for one in published.rglob("*")):
                if running.poll() is not None:
                    raise RuntimeError(f"the agent ended: {running.returncode}")
                time.sleep(0.05)
            published_s = time.monotonic() - closed_s
        finally:
            running.terminate()
            _, _, usage = os.wait4(running.pid, 0)
    result = {
        "published_s": published_s,
        "length": length,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "lag": arrived.lag(),
    }
    (folder / "result").write_text(json.dumps(result))


class Arrived(threading.Thread):
    """Looks twice a second how much of a recording the server can show, and how old the last of that is."""

    def __init__(self, database: Path) -> None:
        super().__init__(daemon=True)
        self._database = database
        self._ended = threading.Event()
        self.written: list[tuple[int, float]] = []
        """How much was written, and since when."""
        self._behind_s: list[float] = []

    def run(self) -> None:
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as rows:
            while not self._ended.wait(0.5):
                found = rows.execute("SELECT received FROM uploads").fetchone()
                start, stop = (json.loads(found[0]) or [[0, 0]])[0] if found else (0, 0)
                now_s = time.monotonic()
                if not start and stop:
                    at = bisect.bisect_left(self.written, (stop, 0.0))
                    self._behind_s.append(now_s - self.written[min(at, len(self.written) - 1)][1])

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def lag(self) -> str:
        if not self._behind_s:
            return ""
        half, most = statistics.median(self._behind_s), max(self._behind_s)
        return f"; what can be seen is {half:.1f} s behind the camera, at most {most:.1f} s"


def _write(path: Path, length: int, bytes_per_s: float, written: list[tuple[int, float]]) -> float:
    """Write random bytes in real time, the header again at the end; return when it was closed."""
    draw = random.Random(1)
    began_s = time.monotonic()
    with path.open("wb") as file:
        while (at := file.tell()) < length:
            file.write(draw.randbytes(min(_PIECE_BYTES, length - at)))
            file.flush()
            written.append((file.tell(), time.monotonic()))
            time.sleep(max(0.0, began_s + at / bytes_per_s - time.monotonic()))
        file.seek(40)
        file.write(b"size")
    return time.monotonic()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growing", description=__doc__)
    add = parser.add_argument
    add("--mb", type=float, default=300.0, help="length of the recording (default: 300)")
    add("--mbit", type=float, default=4.0, help="its rate (default: 4)")
    add("--rate-mbit", default="13.2/30", metavar="UP/DOWN", help="the link (default: 13.2/30)")
    add(
        "--trace",
        type=Path,
        help="a recorded link instead: NAME of the files NAME.up and NAME.down",
    )
    add("--delay-ms", default="25", help="one way (default: 25)")
    add("--only", choices=("finished", "while"), help="one of the two")
    add("--record", type=Path, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
