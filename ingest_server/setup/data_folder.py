"""Where the folder may be that recordings go to."""

from __future__ import annotations

from pathlib import Path

from edge_host.setup.errors import SetupError
from edge_host.setup.unseen import HOMES, UNSEEN, hidden_by

_RUN = Path("/run")
_SYSTEM = frozenset({"etc", "usr", "boot", "bin", "sbin", "lib", "lib32", "lib64"})
_SHARED = frozenset(map(Path, ("/", "/var", "/var/lib", "/srv", "/opt", "/mnt", "/media")))
"""Where a folder of its own belongs, and which are not the server's as a whole."""


def real_folder(folder: Path) -> Path:
    """Return the folder without links in its path.

    Raises:
        SetupError: the service does not see that place, or others live in it.
    """
    found = folder.resolve()
    where = f"--data-dir {folder}" + (f" (that is {found})" if found != folder else "")
    if (top := hidden_by(folder, *HOMES, *UNSEEN)) is not None:
        raise SetupError(f"{where}: a service does not see {top}. Name another place.")
    if found.is_relative_to(_RUN):
        raise SetupError(
            f"{where}: {_RUN} is in memory, and empty after a restart. Name another place."
        )
    if (found.parts[1:2] and found.parts[1] in _SYSTEM) or found in _SHARED:
        raise SetupError(
            f"{where} is the system's: name a folder for recordings alone, such as /srv/recordings."
        )
    return found
