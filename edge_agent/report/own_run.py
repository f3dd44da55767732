"""Who tells: this device, in this run of its system and in this one of the agent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OwnRun:
    """Said in every document, so that who reads them knows a restart, and a second agent of the same name."""

    device_id: str
    boot_id: str
    run_id: str
    """Of this process and no other."""
