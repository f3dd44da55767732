"""What the configuration says about the fleet, in this room's words."""

from __future__ import annotations

from dataclasses import dataclass

HOUR_S = 3600.0


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
