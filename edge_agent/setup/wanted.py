"""What the configuration of a new device says."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from edge_host.setup.configuration import Tables
from edge_host.setup.errors import SetupError
from upload_protocol.headers import is_device_id

HEADING = "Made by edge-agent setup. Every other key has its default: see config.example.toml."
_OF_AN_IMAGE = frozenset(
    {"raspberrypi", "localhost", "debian", "ubuntu", "armbian", "dietpi", "orangepi"}
)
"""What images call every machine."""


@dataclass(frozen=True, slots=True)
class Wanted:
    device_id: str
    folder: Path
    url: str
    token_file: Path
    ca_file: Path | None
    deletes: bool | None
    """None: nothing is said about it, which is that nothing is deleted."""

    @property
    def tables(self) -> Tables:
        server = {"url": self.url, "token_file": str(self.token_file)}
        if self.ca_file is not None:
            server["ca_file"] = str(self.ca_file)
        tables = {
            "": {"device_id": self.device_id},
            "watch": {"folder": str(self.folder)},
            "server": server,
        }
        if self.deletes is None:
            return tables
        return tables | {"retention": {"delete": "after_verified" if self.deletes else "never"}}


def device_id(given: str | None, serial: str) -> str:
    """Return this device's name: as given, else after the machine's.

    Raises:
        SetupError: the given one is none.
    """
    if given is not None:
        if not is_device_id(given):
            raise SetupError(
                f"--device-id {given!r}: 1 to 63 of a-z, 0-9, _ and -, starting with a letter or digit."
            )
        return given
    host = socket.gethostname().partition(".")[0].lower()
    host = re.sub(r"[^a-z0-9_-]+", "-", host).strip("-_")[:48]
    if host and host not in _OF_AN_IMAGE:
        return host
    tail = re.sub(r"[^a-z0-9]", "", serial.lower())[-8:]
    return f"{host or 'device'}-{tail}" if tail else host or "device"
