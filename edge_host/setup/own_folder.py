"""A folder that a service writes to: its user's, also where it was there before setup came."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from edge_host.setup.as_user import User
from edge_host.setup.errors import SetupError
from edge_host.setup.machine import Machine, gid_of, has_user, uid_of

_OF_THE_FILE_SYSTEM = {"lost+found"}


def have_it_writable(machine: Machine, folder: Path, user: str, *, mode: int) -> None:
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
            f"{folder}: the user {user} may not write there, and something is in it. If it is this program's own data:"
            f" chown -R {user}: {folder}. Otherwise name an empty folder."
        )
    machine.do(
        None, str(folder), f"{folder}/ belongs to {user}", partial(_give, folder, user, mode)
    )
    if not (machine.rehearses or _is_writable(folder, user)):
        raise SetupError(
            f"{folder}: the user {user} may not go there. Let others pass through the folders above it (chmod o+x), or"
            " name another place. A disk that is mounted read-only gives the same."
        )


def _is_writable(folder: Path, user: str) -> bool:
    wanted = os.R_OK | os.W_OK | os.X_OK
    return User.named(user, []).does(partial(os.access, folder, wanted))


def _give(folder: Path, user: str, mode: int) -> None:
    os.chown(folder, uid_of(user), gid_of(user))
    folder.chmod(mode)
