"""Our own two programs on the link."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import device
from benchmarks.linkem import SERVER_IP
from benchmarks.links_cases import Plan
from tests.support.processes import DEVICE, toml

PORT = 8080


class IngestServer:
    """``ingest-server run`` in the link's far namespace."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "server"
        self.config = folder / "server.toml"
        listen = {"listen": f"{SERVER_IP}:{PORT}", "data_dir": self.data}
        limits = {"min_free": "32MiB", "max_open_uploads_per_device": 1000}
        self.config.write_text(
            toml({"server": listen, "limits": limits, "log": {"format": "json"}})
        )
        self.token = folder / "token"
        self.token.write_text(self._run("token", "add", DEVICE).splitlines()[-1])
        self.token.chmod(0o600)
        self.command = f"exec {sys.executable} -m ingest_server run --config {self.config}"

    @property
    def published(self) -> Path:
        return self.data / "published"

    def _run(self, *arguments: str) -> str:
        program: list[str | Path] = [
            sys.executable,
            "-m",
            "ingest_server",
            *arguments,
            "--config",
            self.config,
        ]
        done: subprocess.CompletedProcess[str] = subprocess.run(
            program, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout


def plan(folder: Path, files: list[Path], congestion_control: str) -> Plan:
    """Return how ``edge-agent upload`` sends *files* to a fresh server."""
    server = IngestServer(folder)
    config = folder / "agent.toml"
    tables: dict[str, dict[str, Any]] = {
        "": {"device_id": DEVICE, "state_dir": folder / "agent"},
        "watch": {"folder": files[0].parent, "settle_seconds": 0.1},
        "server": {"url": f"http://{SERVER_IP}:{PORT}", "token_file": server.token},
        "upload": {"congestion_control": congestion_control},
        "log": {"format": "json", "level": "debug"},
    }
    config.write_text(toml(tables))
    program = [device.python(), "-m", "edge_agent", "upload", "--config", config, *files]
    command = f"exec {shlex.join(map(str, program))}"
    return Plan(server.command, PORT, command, server.published)
