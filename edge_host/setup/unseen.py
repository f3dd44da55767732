"""What a service does not see of this machine, as both units ask for it in their sandbox."""

from __future__ import annotations

from pathlib import Path

UNSEEN = tuple(map(Path, ("/tmp", "/var/tmp", "/dev", "/proc", "/sys")))  # noqa: S108 # named to be refused
"""PrivateTmp=, PrivateDevices=, ProtectProc=, ProtectKernelTunables=: there it has its own, or less."""
HOMES = tuple(map(Path, ("/home", "/root", "/run/user")))
"""What ProtectHome=yes hides: the server's unit has that; the agent's sees them, and writes to none."""


def hidden_by(path: Path, *unseen: Path) -> Path | None:
    """Return which of *unseen* the path leads through, as it is written or without its links; None: none."""
    ways = (path, path.resolve())
    return next((top for top in unseen if any(way.is_relative_to(top) for way in ways)), None)
