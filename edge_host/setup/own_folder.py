"""A folder that a service writes to: its user's, also where it was there before setup came."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from edge_host.setup.as_user import User
from edge_host.setup.errors import SetupError
from edge_host.setup.machine import Machine, gid_of, has_user, uid_of

_OF_THE_FILE_SYSTEM = {"lost+found"}
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def have_it_writable(machine: Machine, folder: Path, user: str, *, mode: int) -> None:
    """Have the folder be the user's: a disk that was just mounted is root's, and empty.

    Args:
        folder: without links in its path. What is given away is that folder and no other: where a link has come
            into its path since it was looked at, nothing is.

    Raises:
        SetupError: it is another's, with something in it; or the user does not get there.
    """
    if machine.rehearses and not (folder.is_dir() and has_user(user)):
        return
    if _is_writable(folder, user):
        return
    with _opened(folder) as fd:
        if any(one not in _OF_THE_FILE_SYSTEM for one in os.listdir(fd)):
            raise SetupError(
                f"{folder}: the user {user} may not write there, and something is in it. If it is this program's own"
                f" data: chown -R {user}: {folder}. Otherwise name an empty folder."
            )
        machine.do(
            None, str(folder), f"{folder}/ belongs to {user}", partial(_give, fd, user, mode)
        )
    if not (machine.rehearses or _is_writable(folder, user)):
        raise SetupError(
            f"{folder}: the user {user} may not go there. Let others pass through the folders above it (chmod o+x), or"
            " name another place. A disk that is mounted read-only gives the same."
        )


def _is_writable(folder: Path, user: str) -> bool:
    wanted = os.R_OK | os.W_OK | os.X_OK
    return User.named(user, []).does(partial(os.access, folder, wanted))


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Open it from the root on, one part after the other, through no link: somebody else may own what is above it."""
    fd = os.open("/", os.O_PATH | _FOLDER)
    try:
        parts = folder.parts[1:]
        for at, part in enumerate(parts, start=1):
            flags = os.O_RDONLY if at == len(parts) else os.O_PATH
            try:
                below = os.open(part, flags | _FOLDER, dir_fd=fd)
            except NotADirectoryError as error:
                here = Path("/", *parts[:at])
                raise SetupError(
                    f"{folder}: {here} is no folder, or has become a link while setup ran. Nothing there was changed."
                    f" See who may write to {here.parent}, and run this again."
                ) from error
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def _give(fd: int, user: str, mode: int) -> None:
    os.fchown(fd, uid_of(user), gid_of(user))
    os.fchmod(fd, mode)
