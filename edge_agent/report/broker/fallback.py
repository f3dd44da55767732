"""Which brokers speak MQTT 3.1.1 only, as far as is remembered; pure."""

from __future__ import annotations

from typing import Any

from edge_agent.report.timing import Timing


def fallback_note(broker: str, *, boot_id: str, now_s: float, timing: Timing) -> dict[str, Any]:
    """Return what to remember of a broker that does not speak MQTT 5.

    By the monotonic clock within one boot and by a count of starts across boots: wall time may be
    wrong on a board without a battery.
    """
    return {
        "broker": broker,
        "boot_id": boot_id,
        "until_s": now_s + timing.fallback_s,
        "starts_left": 20,
    }


def remembers_fallback(note: object, broker: str, *, boot_id: str, now_s: float) -> bool:
    """Return whether *note* still says that *broker* wants MQTT 3.1.1."""
    if not isinstance(note, dict) or note.get("broker") != broker:
        return False
    if note.get("boot_id") == boot_id:
        return bool(now_s < note.get("until_s", 0))
    return bool(note.get("starts_left", 0) > 0)
