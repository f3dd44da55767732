"""Which version of the agent this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """Return the installed version; ``0+source`` where the source runs without being installed."""
    try:
        return version("edge-uploader")
    except PackageNotFoundError:
        return "0+source"
