"""The database of a data folder, never begun anew beside what it knew; the way back is `restoring`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from edge_host.durable import sync
from ingest_server.assembly.bytes_place import refuse_lost_facts
from ingest_server.assembly.relocated import refuse_half_moved, refuse_moved
from ingest_server.config import ServerConfig
from ingest_server.core.errors import ServerError, StateLostError
from ingest_server.storage.files.parts import LOST, PARTS
from ingest_server.storage.files.published import PUBLISHED, QUARANTINE
from ingest_server.storage.interface import StateStore
from ingest_server.storage.sqlite.commit_count import ENDING, gone_back, noted
from ingest_server.storage.sqlite.copies import Copies
from ingest_server.storage.sqlite.transactions import SqliteState

if TYPE_CHECKING:
    from ingest_server.storage.postgres.transactions import PostgresState

DATABASE = "state.db"
FOLDER_ID = "folder.id"
"""Which of all folders this is: facts in another place are about one of them."""
FLEET = "fleet.db"
"""What devices report: nothing of an upload is in it."""


def open_state(data_dir: Path, *, begins: bool = True, read_only: bool = False) -> SqliteState:
    """Open the database; a new one only where there is nothing yet.

    Args:
        begins: whether a new one may be begun, as a command that only looks does not.
        read_only: an older one is refused, and not brought up to date, as a dry run does.

    Raises:
        StateLostError: it is gone, damaged or older than what was committed, and there is data that it knew.
        StateError: it cannot be opened.
        ServerError: there is none, and none may be begun.
    """
    path = data_dir / DATABASE
    is_unbegun = SqliteState.is_unbegun(path)
    if is_unbegun and (known := _what_it_knew(data_dir)) is not None:
        raise StateLostError(
            f"The database {path} is {'empty' if path.exists() else 'gone'}, but {known} is there, "
            "which it knew. Nothing was changed: a new one would know no token and no upload. To go on "
            "from a copy of it, run: ingest-server restore"
        )
    if not is_unbegun and (back := gone_back(path)) is not None:
        raise StateLostError(
            f"The database {path} has gone back: at least {back.noted} commits were made to it, and it knows "
            f"{back.counted}. It is an older copy, or its log {path.name}-wal was lost or damaged. Nothing was "
            "changed: tokens and uploads are missing in it. To go on from what knows most, this or a copy "
            "beside it, run: ingest-server restore"
        )
    if is_unbegun and (read_only or not begins):
        raise ServerError(
            f"No server has run with {data_dir}: there is no {DATABASE} in it. See [server] data_dir, or "
            "--data-dir."
        )
    return SqliteState.open(path, read_only)


def open_facts(config: ServerConfig, *, begins: bool = True, read_only: bool = False) -> StateStore:
    """Open what has the facts: the data folder's database, or the one that [storage] names.

    Args:
        begins: whether a new one may be begun in the data folder.
        read_only: nothing is changed, as in a dry run.

    Raises:
        StateLostError: it is gone, damaged or empty, and there is data that it knew.
        StateError: it cannot be opened.
        ServerError: there is none, and none may be begun; or the program for it is not installed.
    """
    refuse_moved(config)
    state = _opened(config, begins=begins, read_only=read_only)
    try:
        refuse_half_moved(config, state)
    except BaseException:
        state.close()
        raise
    return state


def _opened(config: ServerConfig, *, begins: bool, read_only: bool) -> SqliteState | PostgresState:
    data_dir, url = config.server.data_dir, config.storage.state
    is_elsewhere = config.storage.blobs is not None
    if url is None:
        if is_elsewhere and SqliteState.is_unbegun(data_dir / DATABASE):
            refuse_lost_facts(config)
        return open_state(data_dir, begins=begins, read_only=read_only)
    postgres = postgres_state()
    if is_elsewhere:
        if postgres.is_unbegun(url):
            refuse_lost_facts(config)
        return postgres.open(url, read_only)
    if postgres.is_unbegun(url) and (known := _what_it_knew(data_dir, besides=())) is not None:
        raise StateLostError(
            f"The database that [storage] state names is empty, but {known} is there, which another one "
            "knew. Nothing was changed: the new one would know no token and no upload. Name the database "
            "that belongs to this data_dir, or an empty data_dir"
        )
    facts = postgres.open(url, read_only)
    try:
        if not read_only and not facts.take_folder(folder_id(data_dir)):
            raise StateLostError(
                f"The database that [storage] state names knows the files of another folder than {data_dir}. "
                "Nothing was changed. Mount that folder there if it is away, or name it as [server] data_dir. "
                "Several servers over one database share their files in a bucket: [storage] blobs"
            )
    except BaseException:
        facts.close()
        raise
    return facts


def postgres_state() -> type[PostgresState]:
    """Return what speaks to PostgreSQL.

    Raises:
        ServerError: the program for it is not installed.
    """
    try:
        from ingest_server.storage.postgres.transactions import PostgresState
    except ModuleNotFoundError as error:
        raise ServerError(
            f"[storage] state names a PostgreSQL database, and {error.name} is not installed: install "
            "edge-uploader with the extra [scale]"
        ) from error
    return PostgresState


def open_as_it_is(config: ServerConfig, *, read_only: bool = False) -> SqliteState | PostgresState:
    """Open what has the facts, whatever they say of where the files are.

    Args:
        read_only: nothing is changed, as in a dry run.

    Raises:
        ServerError: there are none, or they cannot be opened.
    """
    if config.storage.state is None:
        return open_state(config.server.data_dir, begins=False, read_only=read_only)
    return postgres_state().open(config.storage.state, read_only)


def folder_id(data_dir: Path) -> str:
    """Return what tells this data folder from any other; made, durably, where there is none yet."""
    path = data_dir / FOLDER_ID
    try:
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        made = secrets.token_hex(16)
        data_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        unfinished = path.with_name(f"{FOLDER_ID}.new")
        with unfinished.open("w", encoding="ascii") as file:
            file.write(f"{made}\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        sync(data_dir)
        return made


def has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _what_it_knew(data_dir: Path, *, besides: Iterable[str] = (DATABASE,)) -> Path | None:
    """Return something that only a server with a database can have left there.

    Args:
        besides: what proves nothing.
    """
    path = data_dir / DATABASE
    if DATABASE not in besides and has_content(path):
        return path
    # Beside a database that was made and never filled, a -wal has what a power cut took of its first
    # transaction: nothing was told to anybody before that was in the database itself.
    wal = [] if has_content(path) else [path.with_name(f"{DATABASE}-wal")]
    for one in chain(Copies(path).all(), wal):
        if has_content(one):
            return one
    if DATABASE in besides and noted(path):
        return path.with_name(f"{path.name}{ENDING}")
    for name in (PARTS, PUBLISHED, QUARANTINE):
        with suppress(FileNotFoundError), os.scandir(data_dir / name) as found:
            # A volume of its own has a folder lost+found from the first.
            if any(one.name != LOST and not one.name.startswith(".") for one in found):
                return data_dir / name
    return None
