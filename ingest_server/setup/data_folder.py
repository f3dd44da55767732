"""The folder that recordings go to: where it may be, and that the service can write there."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from edge_host.setup.as_user import User
from edge_host.setup.errors import SetupError
from edge_host.setup.machine import Machine, gid_of, has_user, uid_of

_UNSEEN = frozenset({"home", "root", "tmp", "dev", "proc", "sys", "run"})
"""Where the service sees nothing, or something else."""
_SYSTEM = frozenset({"etc", "usr", "boot", "bin", "sbin", "lib", "lib32", "lib64"})
_SHARED = frozenset(map(Path, ("/", "/var", "/var/lib", "/srv", "/opt", "/mnt", "/media")))
"""Where a folder of its own belongs, and which are not the server's as a whole."""
_OF_THE_FILE_SYSTEM = {"lost+found"}


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


def have_it_writable(machine: Machine, folder: Path, user: str) -> None:
    """Have the folder be the user's: a disk that was just mounted is root's, and empty.

    Raises:
        SetupError: it is another's, with something in it; or the user does not get there.
    """
    if machine.rehearses and not (folder.is_dir() and has_user(user)):
        return
    if _is_writable(folder, user):
        return
    if any(one not in _OF_THE_FILE_SYSTEM for one in os.listdir(folder)):
        raise SetupError(
            f"--data-dir {folder}: the user {user} may not write there, and something is in it. If it is this"
            f" server's data: chown -R {user}: {folder}. Otherwise name an empty folder."
        )
    machine.do(None, str(folder), f"{folder}/ belongs to {user}", partial(_give, folder, user))
    if not (machine.rehearses or _is_writable(folder, user)):
        raise SetupError(
            f"--data-dir {folder}: the user {user} may not go there. Let others pass through the folders above it"
            " (chmod o+x), or name another place. A disk that is mounted read-only gives the same."
        )


def _is_writable(folder: Path, user: str) -> bool:
    wanted = os.R_OK | os.W_OK | os.X_OK
    return User.named(user, []).does(partial(os.access, folder, wanted))


def _give(folder: Path, user: str) -> None:
    os.chown(folder, uid_of(user), gid_of(user))
    folder.chmod(0o750)
