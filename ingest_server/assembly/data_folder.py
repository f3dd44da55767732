"""The database of a data folder, never begun anew beside what it knew, and the way back to a copy."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from edge_host.clock import SystemClock
from ingest_server.assembly.bytes_place import refuse_lost_facts
from ingest_server.assembly.relocated import refuse_half_moved, refuse_moved
from ingest_server.config import ServerConfig
from ingest_server.core.errors import ServerError, StateError, StateLostError
from ingest_server.storage.files.parts import LOST, PARTS, FileBlobs
from ingest_server.storage.files.published import PUBLISHED, QUARANTINE, sync_folder
from ingest_server.storage.interface import StateStore
from ingest_server.storage.sqlite.copies import Copies, refuse_unfit
from ingest_server.storage.sqlite.transactions import SqliteState

if TYPE_CHECKING:
    from ingest_server.storage.postgres.transactions import PostgresState

DATABASE = "state.db"
FOLDER_ID = "folder.id"
"""Which of all folders this is: facts in another place are about one of them."""
FLEET = "fleet.db"
"""What devices report: nothing of an upload is in it."""
_WITH_IT = ("", "-wal", "-shm")
"""What belongs to a database: the file, and what SQLite keeps beside it."""


def open_state(data_dir: Path, *, begins: bool = True) -> SqliteState:
    """Open the database; a new one only where there is nothing yet.

    Args:
        begins: whether a new one may be begun, as a command that only looks does not.

    Raises:
        StateLostError: it is gone or damaged, and there is data that it knew.
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
    if is_unbegun and not begins:
        raise ServerError(
            f"No server has run with {data_dir}: there is no {DATABASE} in it. See [server] data_dir, or "
            "--data-dir."
        )
    return SqliteState.open(path)


def open_facts(config: ServerConfig, *, begins: bool = True) -> StateStore:
    """Open what has the facts: the data folder's database, or the one that [storage] names.

    Args:
        begins: whether a new one may be begun in the data folder.

    Raises:
        StateLostError: it is gone, damaged or empty, and there is data that it knew.
        StateError: it cannot be opened.
        ServerError: there is none, and none may be begun; or the program for it is not installed.
    """
    refuse_moved(config)
    state = _opened(config, begins=begins)
    try:
        refuse_half_moved(config, state)
    except BaseException:
        state.close()
        raise
    return state


def _opened(config: ServerConfig, *, begins: bool) -> SqliteState | PostgresState:
    data_dir, url = config.server.data_dir, config.storage.state
    is_elsewhere = config.storage.blobs is not None
    if url is None:
        if is_elsewhere and SqliteState.is_unbegun(data_dir / DATABASE):
            refuse_lost_facts(config)
        return open_state(data_dir, begins=begins)
    postgres = postgres_state()
    if is_elsewhere:
        if postgres.is_unbegun(url):
            refuse_lost_facts(config)
        return postgres.open(url)
    if postgres.is_unbegun(url) and (known := _what_it_knew(data_dir, besides=())) is not None:
        raise StateLostError(
            f"The database that [storage] state names is empty, but {known} is there, which another one "
            "knew. Nothing was changed: the new one would know no token and no upload. Name the database "
            "that belongs to this data_dir, or an empty data_dir"
        )
    facts = postgres.open(url)
    try:
        if not facts.take_folder(folder_id(data_dir)):
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


def open_as_it_is(config: ServerConfig) -> SqliteState | PostgresState:
    """Open what has the facts, whatever they say of where the files are.

    Raises:
        ServerError: there are none, or they cannot be opened.
    """
    if config.storage.state is None:
        return open_state(config.server.data_dir, begins=False)
    return postgres_state().open(config.storage.state)


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
        sync_folder(data_dir)
        return made


def restore(data_dir: Path, source: Path | None, *, begins_empty: bool) -> tuple[SqliteState, str]:
    """Put a copy in the place of a database that is gone or damaged, which is kept aside.

    Durable on return; after a crash in between it is asked for again.

    Args:
        source: the copy; None: the newest that is whole.
        begins_empty: with a new database instead.

    Returns:
        The database, and where it comes from, in words.

    Raises:
        ServerError: there is no need, no copy, or a server runs.
    """
    path = data_dir / DATABASE
    holding = FileBlobs(data_dir)
    holding.prepare()  # no server runs beside this
    try:
        _refuse_sound(path)
        if begins_empty:
            _put_aside(path)
            return SqliteState.open(path), "nothing: it is new"
        for copy in [source] if source is not None else Copies(path).all():
            unfinished = path.with_name(f"{DATABASE}.restoring")
            try:
                _copy(copy, unfinished)
                refuse_unfit(unfinished)
            except (OSError, StateError) as error:
                _remove(unfinished)
                if source is not None:
                    raise ServerError(f"{copy} cannot be used: {error}") from error
                continue
            _put_aside(path)
            unfinished.rename(path)
            sync_folder(data_dir)
            return SqliteState.open(path), str(copy)
    finally:
        holding.close()
    raise ServerError(
        f"There is no copy of {path} that can be used. Name one of your own with --from FILE, or begin "
        "without: ingest-server restore --empty. Published files stay; devices need new tokens, and "
        "send unfinished uploads from the start."
    )


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _what_it_knew(data_dir: Path, *, besides: Iterable[str] = (DATABASE,)) -> Path | None:
    """Return something that only a server with a database can have left there.

    Args:
        besides: what proves nothing.
    """
    path = data_dir / DATABASE
    if DATABASE not in besides and _has_content(path):
        return path
    # Beside a database that was made and never filled, a -wal has what a power cut took of its first
    # transaction: nothing was told to anybody before that was in the database itself.
    wal = [] if _has_content(path) else [path.with_name(f"{DATABASE}-wal")]
    for one in chain(Copies(path).all(), wal):
        if _has_content(one):
            return one
    for name in (PARTS, PUBLISHED, QUARANTINE):
        with suppress(FileNotFoundError), os.scandir(data_dir / name) as found:
            # A volume of its own has a folder lost+found from the first.
            if any(one.name != LOST and not one.name.startswith(".") for one in found):
                return data_dir / name
    return None


def _refuse_sound(path: Path) -> None:
    """Refuse to replace a database that can be read.

    Raises:
        ServerError: it can; or nobody knows, since it is another's or a newer version's.
    """
    if SqliteState.is_unbegun(path):
        return
    try:
        state = SqliteState.open(path)
        try:
            state.check(SystemClock().now_s)
        finally:
            state.close()
    except StateLostError:
        return
    raise ServerError(
        f"{path} can be read: there is nothing to restore. To go back to a copy all the same, move it "
        "away first, with its -wal and -shm."
    )


def _put_aside(path: Path) -> None:
    """Keep what is in the way under a name of its own; durable on return.

    What belongs to the old database would spoil a copy: it is out of the way before that comes.
    """
    number = next(n for n in count(1) if not any(_aside(path, n, end).exists() for end in _WITH_IT))
    for end in _WITH_IT:
        with suppress(FileNotFoundError):
            path.with_name(f"{path.name}{end}").rename(_aside(path, number, end))
    sync_folder(path.parent)


def _aside(path: Path, number: int, end: str) -> Path:
    return path.with_name(f"{path.name}.damaged-{number}{end}")


def _copy(copy: Path, to: Path) -> None:
    _remove(to)
    shutil.copyfile(copy, to)
    to.chmod(0o640)  # it holds the hashes of tokens
    fd = os.open(to, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove(path: Path) -> None:
    for end in _WITH_IT:
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
