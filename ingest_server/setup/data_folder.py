"""Where the folder may be that recordings go to."""

from __future__ import annotations

from pathlib import Path

from edge_host.setup.errors import SetupError

_UNSEEN = frozenset({"home", "root", "tmp", "dev", "proc", "sys", "run"})
"""Where the service sees nothing, or something else."""
_SYSTEM = frozenset({"etc", "usr", "boot", "bin", "sbin", "lib", "lib32", "lib64"})
_SHARED = frozenset(map(Path, ("/", "/var", "/var/lib", "/srv", "/opt", "/mnt", "/media")))
"""Where a folder of its own belongs, and which are not the server's as a whole."""


def refuse_unfit(folder: Path) -> None:
    """Refuse a place that the service does not see, or that others live in.

    Raises:
        SetupError: it is one.
    """
    found = folder.resolve()
    where = f"--data-dir {folder}" + (f" (that is {found})" if found != folder else "")
    top = found.parts[1] if len(found.parts) > 1 else ""
    if top in _UNSEEN:
        raise SetupError(f"{where}: a service does not see /{top}. Name another place.")
    if top in _SYSTEM or found in _SHARED:
        raise SetupError(
            f"{where} is the system's: name a folder for recordings alone, such as /srv/recordings."
        )
