"""What the configuration says about the fleet, in this room's words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

HOUR_S = 3600.0
USUAL_DISCOVERY_PREFIX = "homeassistant"


@dataclass(frozen=True, slots=True)
class FleetSettings:
    max_devices: int = 10_000
    """One more that reports is refused, until an operator forgets one."""
    silent_s: float = 24 * HOUR_S
    """Silence of which people are told; 0: of none."""
    pending_s: float = 24 * HOUR_S
    """Age of the oldest recording that waits, of which people are told; 0: of none."""
    tells_failed: bool = True
    """Whether people are told that a recording failed on its device."""
    stall_s: float = 0.25 * HOUR_S
    """Without a byte acknowledged while something is sent: then it is stuck."""

    def told(self) -> dict[str, Any]:
        """Return of what people are told, in the words of the configuration."""
        return {
            "silent_hours": self.silent_s / HOUR_S,
            "pending_hours": self.pending_s / HOUR_S,
            "tell_failed": self.tells_failed,
        }

    def is_silent(self, silent_s: float | None) -> bool:
        """Whether people are told of a device that was not heard of for *silent_s*; None: it never was."""
        return silent_s is not None and 0 < self.silent_s < silent_s


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """A broker that devices report to as well."""

    url: str
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    topic_prefix: str = "edgeup"
    discovery_prefix: str | None = USUAL_DISCOVERY_PREFIX
    """Where Home Assistant looks for devices; None: it is told of none."""
