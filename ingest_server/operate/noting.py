"""What is noted of a person's commands: who did what, in the server's audit file."""

from __future__ import annotations

from edge_host.clock import SystemClock
from ingest_server.auth import audit
from ingest_server.auth.audit import Audit
from ingest_server.config import ServerConfig


def audit_of(config: ServerConfig) -> Audit | None:
    """Return where it is noted; without a file the log is the server's, not this program's."""
    path = config.log.audit_file
    audit.now_asking("cli")
    return None if path is None else Audit(path, SystemClock().now_utc)


def note(config: ServerConfig, action: str, *, object_: str, device: str | None = None) -> None:
    """Note what was done to *object_*, where the server has an audit file."""
    noted = audit_of(config)
    if noted is not None:
        noted.note(action, device=device, object_=object_)
