"""``python -m demo.scale``: three servers over PostgreSQL and an S3 store, behind HAProxy, and an agent.

All of it is on this machine and in a temporary folder, which is removed at the end; the watched folder stays.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, signal
from types import FrameType

from demo.crew import Crew, Member
from demo.engines import BUCKET, Command, Postgres, Store, balancer
from demo.errors import DemoError
from demo.layout import Value, toml
from demo.ports import LOOPBACK, free_port
from demo.ready import is_ready
from demo.run import make_is_gone, port
from demo.screen import Screen

NAMES = ("a", "b", "c")
DEVICE = "drone-1"
_STEP_S = 0.1
_SERVER = (sys.executable, "-m", "ingest_server")
_AGENT = (sys.executable, "-m", "edge_agent")


class Site:
    """All of it, in one folder."""

    def __init__(
        self, folder: Path, media: Path, screen: Screen, is_stopped: Callable[[], bool]
    ) -> None:
        self._folder, self._media, self._screen = folder, media, screen
        self._is_stopped = is_stopped
        self._crews = [Crew(), Crew()]
        """What the servers stand on; the servers and what speaks to them: those end first."""

    def run(self, port: int) -> None:
        """Start everything, tell what ends and comes back until stopped, stop everything.

        Raises:
            DemoError: something is not installed, or does not start.
        """
        port = free_port(port)
        try:
            self._start(port)
            while not self._is_stopped():
                self._look()
                time.sleep(_STEP_S)
        finally:
            self._screen.say("stopping ...")
            for crew in reversed(self._crews):
                crew.stop()

    def _start(self, port: int) -> None:
        database, store = Postgres(self._folder / "postgres"), Store(self._folder / "s3")
        self._add(0, "database", database.command, database.is_ready)
        self._add(0, "store", store.command, store.is_ready)
        ports = []
        for name in NAMES:
            ports.append(free_port())
            config = self._write_server(name, ports[-1], database, store)
            self._add(
                1, f"server {name}", [*_SERVER, "run", "--config", config], is_ready(ports[-1])
            )
        self._add(1, "balancer", balancer(self._folder, port, ports), is_ready(port))
        agent = self._write_agent(port)
        self._add(1, "agent", [*_AGENT, "run", "--config", agent], lambda: True)
        config = self._folder / f"{NAMES[0]}.toml"
        for line in (
            f"  drop recordings into   {self._media}",
            f"  three servers          {', '.join(f'http://{LOOPBACK}:{one}' for one in ports)}",
            f"  the balancer           http://{LOOPBACK}:{port}/",
            f"  they arrive in         s3://{BUCKET}/field at {store.endpoint}",
            f"  full logs              {self._folder}",
            "",
            f"  what has arrived:      {' '.join(_SERVER)} list --config {config}",
            f"  what the agent does:   {' '.join(_AGENT)} status --config {agent}",
            "  In a second terminal:  make demo   (records ten seconds of video)",
            f"  Kill a server:         pkill -9 -f {config}   (it is started again; the others go on)",
            "  Ctrl-C here stops everything.",
        ):
            self._screen.say(line)

    def _add(self, crew: int, name: str, command: Command, asks: Callable[[], bool]) -> None:
        """Start a program and wait until it is ready, or the run is stopped."""
        if self._is_stopped():
            return
        log = self._folder / f"{name.replace(' ', '-')}.log"
        member = Member(name, command, log, is_ready=asks, stop_s=9.0)
        self._crews[crew].add(member, time.monotonic())
        while not member.is_ready and not self._is_stopped():
            self._look()
            time.sleep(_STEP_S)

    def _look(self) -> None:
        for crew in self._crews:
            for line in crew.look(time.monotonic()):
                self._screen.tell(line)

    def _write_server(self, name: str, port: int, database: Postgres, store: Store) -> Path:
        path = self._folder / f"{name}.toml"
        tables: dict[str, dict[str, Value]] = {
            "server": {
                "listen": f"{LOOPBACK}:{port}",
                "data_dir": self._folder / name,
                "stop_timeout_s": 1.0,
            },
            "storage": {
                "state": database.url,
                "blobs": f"s3://{BUCKET}/field",
                "endpoint": store.endpoint,
                "credentials_file": store.credentials,
            },
            "limits": {"min_free": "64MB"},
            "log": {"format": "json"},
        }
        path.write_text(toml({}, tables), encoding="utf-8")
        return path

    def _write_agent(self, port: int) -> Path:
        token = self._folder / "token"
        token.write_text(_new_token(self._folder / f"{NAMES[0]}.toml"))
        token.chmod(0o600)
        path = self._folder / "agent.toml"
        tables: dict[str, dict[str, Value]] = {
            "watch": {"folder": self._media, "settle_seconds": 2.0},
            "server": {"url": f"http://{LOOPBACK}:{port}", "token_file": token},
            "upload": {"backoff_cap_seconds": 5.0},
            "log": {"format": "json"},
        }
        top: dict[str, Value] = {"device_id": DEVICE, "state_dir": self._folder / "agent"}
        path.write_text(toml(top, tables), encoding="utf-8")
        return path


def _new_token(config: Path) -> str:
    command = [*_SERVER, "token", "add", DEVICE, "--config", str(config)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise DemoError(f"The server gave no token to {DEVICE}:\n{done.stderr.strip()}")
    return done.stdout.splitlines()[-1].strip()


def main(arguments: list[str] | None = None) -> int:
    """Run until a signal; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.scale", description=__doc__)
    parser.add_argument("--media", type=Path, default=Path("media"), help="watched folder")
    parser.add_argument("--port", type=port, default=8080, help="of the balancer (default: 8080)")
    chosen = parser.parse_args(arguments)
    signals = 0
    is_gone = make_is_gone()

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1

    for number in (SIGINT, SIGTERM, SIGHUP):
        signal(number, stop)

    def is_stopped() -> bool:
        return signals > 0 or is_gone() or screen.is_gone

    screen, media = Screen(), chosen.media.resolve()
    media.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="edge-uploader-"))
    folder.chmod(0o711)  # the database's user passes through
    try:
        Site(folder, media, screen, is_stopped).run(chosen.port)
    except DemoError as error:
        # Ctrl-C goes to what is run on the way, too, which then comes to nothing: as was wished.
        if not is_stopped():
            print(error, file=sys.stderr)
            return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    screen.say("everything has stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
