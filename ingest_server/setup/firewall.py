"""What a person has to tell the firewall; none is changed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_UFW = Path("/etc/ufw/ufw.conf")
_COMMAND_S = 10.0


def hint(port: int) -> str:
    """Return a sentence with the command for the firewall that runs here."""
    try:
        if "ENABLED=yes" in _UFW.read_text(encoding="utf-8"):
            return f"ufw runs here; let devices in: ufw allow {port}/tcp"
    except (OSError, UnicodeDecodeError):
        pass
    if shutil.which("firewall-cmd") and _says("firewall-cmd", "--state"):
        return (
            f"firewalld runs here; let devices in: firewall-cmd --permanent --add-port={port}/tcp &&"
            " firewall-cmd --reload"
        )
    return f"If a firewall stands between, let TCP port {port} in."


def _says(*command: str) -> bool:
    try:
        return (
            subprocess.run(command, capture_output=True, timeout=_COMMAND_S, check=False).returncode
            == 0
        )
    except (OSError, subprocess.SubprocessError):
        return False
