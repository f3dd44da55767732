"""What a command of `ingest-server` works on: the configuration, and what that names, opened for it.

Beside a server that may be running, and as the owner of the data folder.
"""

from __future__ import annotations

import argparse
import os
import pwd
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from ingest_server.assembly.bytes_place import look_at_blobs
from ingest_server.assembly.data_folder import FLEET, open_facts
from ingest_server.assembly.relocated import refuse_moved
from ingest_server.config import DEFAULT_PATH, ServerConfig, load
from ingest_server.core.errors import ServerError
from ingest_server.front.address import ListenAddress, parse_address
from ingest_server.storage.interface import Blobs, FleetStore, StateStore
from ingest_server.storage.sqlite.fleet import SqliteFleet

ANSWER_S = 2.0
"""What a server on this machine needs at most to take a connection."""


class CommandData:
    """Opens what the options of one call name. Whoever opens something closes it.

    Args:
        complain: says one sentence to whoever gave the command, where it does not spoil the output.
    """

    def __init__(self, complain: Callable[[str], None]) -> None:
        self.complain = complain

    def config(self, options: argparse.Namespace) -> ServerConfig:
        """Read the configuration; what the options say goes before the file."""
        path: Path | None = options.config
        if path is None and DEFAULT_PATH.exists():
            path = DEFAULT_PATH
        return load(
            path,
            environ=os.environ,
            listen=getattr(options, "listen", None),
            data_dir=options.data_dir,
        )

    def has_no_file(self, options: argparse.Namespace) -> bool:
        """Return whether there is no file at all, and the built-in defaults hold."""
        return options.config is None and not DEFAULT_PATH.exists()

    def state(self, options: argparse.Namespace) -> StateStore:
        """Open the database as its owner, so that no file is left that the server cannot write."""
        data_dir = self.config(options).server.data_dir
        if self.has_no_file(options):
            self.complain(
                f"there is no {DEFAULT_PATH}; built-in defaults are used, data in {data_dir}."
            )
        begins = getattr(options, "begins", False)
        if begins:
            make_folder(data_dir)
        self.folder(options)
        read_only = getattr(options, "rehearses", False)
        return open_facts(self.config(options), begins=begins, read_only=read_only)

    def state_to_check(self, options: argparse.Namespace) -> StateStore:
        """Open the database as `state` does, also where the data folder has nothing to do with it."""
        config = self.config(options)
        if config.storage.state is None or config.storage.blobs is None:
            return self.state(options)
        return open_facts(config)  # nothing of it is in the data folder, which need not be there

    def fleet(self, options: argparse.Namespace) -> FleetStore | None:
        """Open what devices have reported, beside a server that may be running; None: none has."""
        if self.config(options).storage.state is not None:
            return self.state(options).fleet(closes=True)
        folder = self.folder(options)
        refuse_moved(self.config(options))
        path = folder / FLEET
        return SqliteFleet(path, begins_anew=False) if path.exists() else None

    def is_unserved(self, options: argparse.Namespace) -> bool:
        """Whether no server answers where it listens; nobody knows it where others may serve as well."""
        config = self.config(options)
        address = parse_address(config.server.listen)
        if config.storage.state is not None or not (address.port or address.path):
            return False
        try:
            _connected(address).close()
        except OSError:
            return True
        return False

    def folder(self, options: argparse.Namespace) -> Path:
        """Return the data folder, for a command that works on what is there, as its owner.

        Raises:
            ServerError: there is none, or it is closed to whoever gave the command.
        """
        data_dir = self.config(options).server.data_dir
        become_owner(data_dir)
        return data_dir

    def folder_to_restore(self, options: argparse.Namespace) -> Path:
        """Return the data folder whose database is to be replaced.

        Raises:
            ServerError: there is none, or the facts are elsewhere.
        """
        if self.config(options).storage.state is not None:
            raise ServerError(
                "The facts are in PostgreSQL ([storage] state), and so are its copies: restore it with its own "
                "tools, from a backup with the log up to now (pg_basebackup and archived WAL)."
            )
        return self.folder(options)

    def blobs(self, options: argparse.Namespace, state: StateStore) -> Blobs:
        """Look at the bytes, whose database is open, beside a server that may be running."""
        return look_at_blobs(self.config(options), state)


def _connected(address: ListenAddress) -> socket.socket:
    if not address.path:
        return socket.create_connection((address.host, address.port), ANSWER_S)
    found = socket.socket(socket.AF_UNIX)
    try:
        found.settimeout(ANSWER_S)
        found.connect(address.path)
    except BaseException:
        found.close()
        raise
    return found


def make_folder(data_dir: Path) -> bool:
    """Make the data folder where there is none, with the owner of the folder it lies in.

    Returns:
        Whether there was none.

    Raises:
        ServerError: it cannot be made.
    """
    try:
        if data_dir.is_dir():
            return False
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        data_dir.mkdir(mode=0o750, exist_ok=True)
        if os.geteuid() == 0:
            above = data_dir.parent.stat()
            os.chown(data_dir, above.st_uid, above.st_gid)
    except OSError as error:
        msg = f"The data folder {data_dir} cannot be made: {error.strerror}."
        raise ServerError(msg) from error
    return True


def enter(data_dir: Path) -> bool:
    """Go on as the owner of the data folder, so that no file is left that the server cannot write.

    Returns:
        Whether there is such a folder.

    Raises:
        ServerError: it is closed to us.
    """
    try:
        owner = data_dir.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ServerError(
            f"The data folder {data_dir} cannot be reached: {error.strerror}."
        ) from error
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)
    if not os.access(data_dir, os.R_OK | os.X_OK, effective_ids=True):
        raise ServerError(
            f"The data folder {data_dir} is closed to you. Run the command as root, or as the user that the "
            f"server runs as: {_name_of(owner.st_uid)}."
        )
    return stat.S_ISDIR(owner.st_mode)


def become_owner(data_dir: Path) -> None:
    """Go on as the owner of the data folder, which there has to be.

    Raises:
        ServerError: there is none, or it is closed to us.
    """
    if not enter(data_dir):
        raise ServerError(
            f"There is no data folder {data_dir}: see [server] data_dir and [storage] before, or --data-dir."
        )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"number {uid}"
