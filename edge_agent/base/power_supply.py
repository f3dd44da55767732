"""What the kernel says of the device's power supplies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge_agent.core.power import Supply

_SUPPLIES = Path("/sys/class/power_supply")
_BATTERIES = frozenset({"Battery", "UPS"})
_FULL = ("energy_full", "charge_full")
"""In µWh or µAh, by the gauge."""
_MOST = 32
_MOST_BYTES = 256


def look(folder: Path = _SUPPLIES) -> tuple[Supply, ...]:
    """Return all supplies of the device itself; one that cannot be read says nothing.

    Raises:
        OSError: the folder cannot be read. That there is none means that there are no supplies.
    """
    try:
        names = sorted(one.name for one in folder.iterdir())
    except FileNotFoundError:
        return ()
    found = [one for name in names[:_MOST] if (one := _supply(folder / name)) is not None]
    if len({unit for one, unit in found if one.full is not None}) > 1:
        # What is in µWh and what in µAh weigh nothing together.
        return tuple(replace(one, full=None) for one, _ in found)
    return tuple(one for one, _ in found)


def _supply(folder: Path) -> tuple[Supply, str] | None:
    """Return what is in *folder*, and the unit of `full`; None: it is not there, or feeds a headset."""
    kind = _text(folder / "type")
    if kind is None or _text(folder / "scope") == "Device":
        return None
    if kind not in _BATTERIES:
        online = _number(folder / "online")
        return Supply(False, is_online=None if online is None else online > 0), ""
    if _number(folder / "present") == 0:
        return None
    percent = _number(folder / "capacity")
    unit = next((one for one in _FULL if _number(folder / one)), _FULL[0])
    full = _number(folder / unit)
    battery = Supply(
        True,
        status=_text(folder / "status"),
        percent=percent if percent is not None and 0 <= percent <= 100 else None,
        full=full if full is not None and full > 0 else None,
    )
    return battery, unit


def _text(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return None  # a gauge that does not answer just now


def _number(file: Path) -> int | None:
    try:
        return int(_text(file) or "")
    except ValueError:
        return None
