"""One run: a server, a device's command, and the link between them until the command ends."""

import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.linkem.emulator import Command, Emulator, Outcome
from benchmarks.linkem.profiles import Link
from benchmarks.linkem.schedule import forwarding_settings

_READY_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What to run.

    The server must stay in the foreground; write ``exec`` before both commands, so that signals and
    resource figures are theirs.
    """

    link: Link
    device: str
    server: str | None = None
    port: int | None = None
    """Where the server listens; without it half a second must do."""
    seed: int = 1
    congestion_control: str = "cubic"
    """Of both ends; what a Raspberry Pi has."""
    timeout_s: float = 600.0
    log_folder: Path | None = None
    series: Path | None = None
    """Where to write a row each *series_ms*: what the link could carry, was offered, carried."""
    series_ms: float = 100.0


@dataclass(frozen=True, slots=True)
class Report:
    """What the link could have carried and what it did."""

    duration_s: float
    """The life of the device's command."""
    timed_out: bool
    device: Outcome
    server: Outcome | None
    link: dict[str, Any]
    """As the forwarding process says: up, down, outage_s, and how well it kept time."""

    @property
    def capacity_bytes(self) -> int:
        """What an ideal sender could have put through, upwards, from start to end."""
        return int(self.link["up"]["capacity_bytes"])

    @property
    def offered_bytes(self) -> int:
        """What was sent upwards, headers and repetitions included."""
        return int(self.link["up"]["offered_bytes"])


def run(what: Run) -> Report:
    """Emulate the link for the life of the device's command.

    Raises:
        RuntimeError: the link could not be made, or the server did not come up.
    """
    if what.log_folder is not None:
        what.log_folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="link-"))
    emulator: Emulator | None = None
    try:
        settings = forwarding_settings(what.link, what.seed, folder)
        if what.series is not None:
            settings += [f"series={what.series}", f"every={what.series_ms}"]
        emulator = Emulator(settings, what.congestion_control, folder)
        server = _serve(emulator, what)
        emulator.ask("start")
        begin_s = time.monotonic()
        device = emulator.spawn("device", what.device, what.log_folder)
        timed_out = not device.wait(what.timeout_s)
        duration_s = time.monotonic() - begin_s
        found = json.loads(emulator.ask("stop"))
        device.end()
        if server is not None:
            server.end()
        return Report(
            duration_s,
            timed_out,
            device.outcome(),
            None if server is None else server.outcome(),
            found,
        )
    finally:
        if emulator is not None:
            emulator.close()
        shutil.rmtree(folder)


def _serve(emulator: Emulator, what: Run) -> Command | None:
    if what.server is None:
        return None
    server = emulator.spawn("server", what.server, what.log_folder)
    if what.port is None:
        server.wait(0.5)
    else:
        limit_s = time.monotonic() + _READY_S
        while not server.wait(0.02) and not emulator.is_listening(server, what.port):
            if time.monotonic() > limit_s:
                raise RuntimeError(f"the server does not listen on port {what.port}")
    if server.has_ended:
        raise RuntimeError(f"the server ended, exit status {server.outcome().exit_status}")
    return server
