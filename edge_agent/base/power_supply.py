"""What the kernel says of the device's power supplies."""

from __future__ import annotations

from pathlib import Path

from edge_agent.core.power import Supply

_SUPPLIES = Path("/sys/class/power_supply")
_BATTERIES = frozenset({"Battery", "UPS"})
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
    found = (_supply(folder / name) for name in names[:_MOST])
    return tuple(one for one in found if one is not None)


def _supply(folder: Path) -> Supply | None:
    """Return what is in *folder*; None: it is not there, or feeds a mouse or a headset."""
    kind = _text(folder / "type")
    if kind is None or _text(folder / "scope") == "Device":
        return None
    if kind not in _BATTERIES:
        online = _number(folder / "online")
        return Supply(False, is_online=None if online is None else online > 0)
    if _number(folder / "present") == 0:
        return None
    percent = _number(folder / "capacity")
    full = _number(folder / "energy_full") or _number(folder / "charge_full")
    return Supply(
        True,
        status=_text(folder / "status"),
        percent=percent if percent is not None and 0 <= percent <= 100 else None,
        full=full if full is not None and full > 0 else None,
    )


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
