"""Where the demo keeps what, and the configuration files it writes there."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from demo.errors import DemoError
from demo.ports import LOOPBACK

DEVICE = "drone-1"
PERSON = "demo"
"""Who may sign in at the page."""
TOPIC_PREFIX = "edgeup"

Value = str | int | float | bool | Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one folder; all absolute."""

    var: Path
    media: Path

    @property
    def logs(self) -> Path:
        """Folder of the programs' full logs."""
        return self.var / "log"

    @property
    def server_data(self) -> Path:
        """The server's ``data_dir``."""
        return self.var / "server"

    @property
    def published(self) -> Path:
        """Where verified files appear."""
        return self.server_data / "published"

    @property
    def agent_state(self) -> Path:
        """The agent's ``state_dir``."""
        return self.var / "agent"

    @property
    def token(self) -> Path:
        """The agent's token."""
        return self.var / "device-token"

    @property
    def page_password(self) -> Path:
        """The password of `PERSON`."""
        return self.var / "page-password"

    @property
    def server_config(self) -> Path:
        """Configuration of the server."""
        return self.var / "server.toml"

    @property
    def agent_config(self) -> Path:
        """Configuration of the agent."""
        return self.var / "agent.toml"

    def make_folders(self) -> None:
        """Create what is not there.

        Raises:
            DemoError: it cannot be created.
        """
        try:
            for folder in (self.var, self.media, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{error.filename} cannot be created: {error.strerror}. Start it in a folder of yours."
            raise DemoError(msg) from error

    def lock(self) -> TextIO:
        """Take the folder for this process; held until the file is closed.

        Raises:
            DemoError: another launcher has it.
        """
        file = (self.var / "lock").open("a+", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            file.close()
            msg = (
                f"A demo runs here already (process {owner}). Drop files into {self.media}, "
                "or end the other one with Ctrl-C first."
            )
            raise DemoError(msg) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        return file

    def owner(self) -> int:
        """Return the process that has the folder.

        Raises:
            DemoError: none has it, or it has only just begun.
        """
        try:
            with (self.var / "lock").open(encoding="ascii") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(file.read())
        except (OSError, ValueError):
            pass
        raise DemoError(f"No demo runs with {self.var}: start one with `make run`.")

    def write_server_config(self, port: int) -> None:
        """Write the server's configuration: tokens as in real life, a demo's patience at the end."""
        tables: dict[str, dict[str, Value]] = {
            "server": {
                "listen": f"{LOOPBACK}:{port}",
                "data_dir": self.server_data,
                "stop_timeout_s": 1.0,
            },
            "auth": {"mode": "token"},
            "limits": {"min_free": "256MB"},
            "log": {"format": "json"},
        }
        self.server_config.write_text(toml({}, tables), encoding="utf-8")

    def write_agent_config(
        self, server_port: int, mqtt_port: int, max_rate: str | None, settle_seconds: float
    ) -> None:
        """Write the agent's configuration."""
        tables: dict[str, dict[str, Value]] = {
            "watch": {"folder": self.media, "settle_seconds": settle_seconds},
            "server": {"url": f"http://{LOOPBACK}:{server_port}", "token_file": self.token},
            # So little patience suits one machine; a field device keeps the defaults.
            "upload": {"backoff_cap_seconds": 5.0},
            "mqtt": {
                "url": f"mqtt://{LOOPBACK}:{mqtt_port}",
                "topic_prefix": TOPIC_PREFIX,
                # For the live line; a fleet's telemetry has a byte budget.
                "state_interval_seconds": 2.0,
            },
            "log": {"format": "json"},
        }
        if max_rate is not None:
            tables["upload"]["max_rate"] = max_rate
        top: dict[str, Value] = {"device_id": DEVICE, "state_dir": self.agent_state}
        self.agent_config.write_text(toml(top, tables), encoding="utf-8")


def toml(top: Mapping[str, Value], tables: Mapping[str, Mapping[str, Value]]) -> str:
    """Return *top* and *tables* as TOML."""
    lines = [f"{key} = {_value(value)}" for key, value in top.items()]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    return "\n".join(lines).lstrip("\n") + "\n"


def _value(value: Value) -> str:
    # A JSON string is a TOML basic string, as long as nothing is written as a surrogate pair.
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
