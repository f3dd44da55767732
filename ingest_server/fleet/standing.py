"""How a device stood when the database was last written, for whoever reads it beside the server."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ingest_server.fleet.presence import NEVER, OFFLINE, presence
from ingest_server.fleet.rows import Build, DeviceStanding, build_of, standing_of, trouble
from ingest_server.fleet.values import inner, number, text
from ingest_server.storage.interface import KnownDevice

WRITE_S = 20.0
"""How often the server writes it. What is read may lack the reports of that long; a crash takes them, and the
devices are asked for them again."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What a device reported last, as far as it is written down."""

    device: str
    presence: str
    last_seen: str | None
    standing: DeviceStanding
    build: Build

    @property
    def trouble(self) -> int:
        """What devices are sorted by, worst first."""
        return trouble(self.presence, self.standing, is_stuck=False)

    def document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "presence": self.presence,
            "last_seen": self.last_seen,
            "version": self.build.version,
            **asdict(self.standing),
        }


def reported(known: KnownDevice, now: datetime) -> Reported:
    """Return what *known* says at the time *now*."""
    facts = inner(json.loads(known.facts))
    last_seen = text(facts.get("last_seen"), 40)
    has_left = facts.get("presence") == OFFLINE
    return Reported(
        known.device,
        OFFLINE
        if has_left
        else _presence(last_seen, float(number(facts.get("next_s")) or 60.0), now),
        last_seen,
        standing_of(inner(json.loads(known.state or b"{}"))),
        build_of(inner(json.loads(known.info or b"{}"))),
    )


def _presence(last_seen: str | None, next_s: float, now: datetime) -> str:
    try:
        silent_s = (now - datetime.fromisoformat(last_seen or "")).total_seconds()
    except (ValueError, TypeError):
        return NEVER
    return presence(max(0.0, silent_s - WRITE_S), next_s)
