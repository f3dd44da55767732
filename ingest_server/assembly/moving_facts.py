"""The first step of a move: the facts of one data folder come to where they belong, all of them or none.

No server runs on the folder meanwhile. The order, each step durable before the next: the store of files is told from
all others -> every row is in the other database, not committed -> the folder is marked as moved -> commit. A
crash before the last leaves an empty database, and the step is done again. Where the facts stay, the row that
tells of files elsewhere comes first, then the mark.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_host.clock import SystemClock, rfc3339
from ingest_server.assembly.bytes_place import bucket_of
from ingest_server.assembly.data_folder import (
    DATABASE,
    FLEET,
    folder_id,
    open_as_it_is,
    open_state,
    postgres_state,
)
from ingest_server.assembly.relocated import Mark
from ingest_server.config import ServerConfig
from ingest_server.core.errors import ServerError, StateError, StorageError
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.postgres.text import without_password
from ingest_server.storage.sql.relocation import Relocation, Source, begin
from ingest_server.storage.sql.writes import SqlTransaction
from ingest_server.storage.sqlite.carrying import Table, tables
from ingest_server.storage.sqlite.fleet import SqliteFleet

if TYPE_CHECKING:
    from ingest_server.storage.s3.blobs import S3Blobs

_OURS_ALONE = frozenset({"relocation", "carried", "uptime", "commits"})
"""Tables of the database that are not carried row by row."""

Watcher = Callable[[str, int], None]
"""Is told of each table that is through, and how many rows it had."""


def carries_facts(old: ServerConfig, new: ServerConfig) -> bool:
    """Whether the facts come to another database.

    Raises:
        ServerError: in a way that is not supported.
    """
    if old.storage.blobs is not None:
        raise ServerError(
            "The configuration of now has its files in a bucket already. Only a server whose files are in its "
            "data_dir is moved: name its configuration with --config"
        )
    folder, before = old.server.data_dir.absolute(), new.storage.before
    if new.storage.blobs is not None and (before is None or before.resolve() != folder.resolve()):
        raise ServerError(
            f'The new configuration has to say where files are until they are copied. Set before = "{folder}" in '
            "its [storage]"
        )
    if new.storage.state == old.storage.state:
        if new.storage.blobs is None:
            raise ServerError(
                "Both configurations name the same places: set [storage] state, blobs, or both, in the new one"
            )
        if new.storage.state is None and new.server.data_dir.resolve() != folder.resolve():
            raise ServerError(
                f"The facts stay in {old.server.data_dir / DATABASE}: [server] data_dir has to be the same in "
                "both configurations"
            )
        return False
    if old.storage.state is not None:
        raise ServerError(
            "The facts are in PostgreSQL already. Bring them to another database with its own tools "
            "(pg_dump), and let both configurations name that one"
        )
    return True


def count_rows(old: ServerConfig) -> int:
    """Return how many rows are to be carried."""
    return sum(table.count for table, _ in all_tables(old.server.data_dir))


def try_database(new: ServerConfig) -> None:
    """Try whether the facts could come to the database that *new* names; nothing is changed there.

    Raises:
        ServerError: they could not; it says what to do.
    """
    postgres_state()
    from ingest_server.storage.postgres.carrying import try_out

    try_out(new.storage.state or "")


def move_facts(old: ServerConfig, new: ServerConfig, watch: Watcher) -> None:
    """Do it; durable on return, and the folder is marked.

    Raises:
        ServerError: a server runs, or a place cannot be used; it says what to do.
    """
    carries, folder = carries_facts(old, new), old.server.data_dir
    with held(folder):
        mark = Mark(
            secrets.token_hex(16),
            _place_of(old, new),
            without_password(new.storage.state or "") if carries else None,
            new.storage.blobs,
            rfc3339(SystemClock().now_utc()),
        )
        if carries:
            _carry(old, new, mark, watch)
        else:
            _stay(old, mark)


@contextmanager
def held(folder: Path) -> Iterator[FileBlobs]:
    """Let no server use *folder* as long as the body runs, which gets its files.

    Raises:
        ServerError: one does; or the disk failed.
    """
    holding = FileBlobs(folder)
    try:
        holding.prepare()
    except StorageError as error:
        if "another ingest-server" not in str(error):
            raise
        raise ServerError(
            f"A server runs on {folder}. Stop it, and run this again. Devices wait, and go on where they were "
            "once a server answers; --dry-run says how long the facts take"
        ) from error
    try:
        yield holding
    except OSError as error:
        raise ServerError(f"The facts were not moved: {error}. Run this again") from error
    finally:
        holding.close()


def _place_of(old: ServerConfig, new: ServerConfig) -> str:
    """Return what the files' place will be known by; of a bucket, that nobody has used."""
    if new.storage.blobs is None:
        return folder_id(old.server.data_dir)
    with closing(bucket_of(new)) as bucket:
        bucket.prepare()
        refuse_used(bucket)
        return bucket.identify()


def refuse_used(bucket: S3Blobs) -> None:
    """Refuse a prefix below which there are files.

    Raises:
        StorageError: there are.
    """
    if next(bucket.published_names(), None) is not None or bucket.part_ids():
        raise StorageError(
            f"{bucket.place} has files already. Nothing was changed: name a prefix that nobody has used"
        )


def _carry(old: ServerConfig, new: ServerConfig, mark: Mark, watch: Watcher) -> None:
    postgres_state()
    from ingest_server.storage.postgres.carrying import Carrying, carry

    folder, url = old.server.data_dir, new.storage.state or ""
    with closing(
        open_state(folder, begins=False)
    ) as state:  # brought up to date, and looked through
        state.check(SystemClock().now_s)
        uptime_s = state.uptime_s()
    _bring_up_to_date(folder / FLEET)

    def work(into: Carrying) -> None:
        into.refuse_used()
        for table, name in all_tables(folder):
            watch(name, into.take(table, name))
        into.write("UPDATE uptime SET seconds = ?", uptime_s)
        into.write("INSERT INTO folder (only_row, id) VALUES (1, ?)", mark.place)
        if mark.blobs is not None:
            into.write(
                "INSERT INTO relocation (only_row, id, folder) VALUES (1, ?, ?)",
                mark.id,
                str(folder.absolute()),
            )
        mark.write(folder)

    carry(url, work)


def _bring_up_to_date(fleet: Path) -> None:
    try:
        if fleet.exists():
            SqliteFleet(fleet, begins_anew=False).close()
    except StateError as error:
        raise ServerError(
            f"{error}. What devices have reported is in it, and nothing of uploads: start the server once as it "
            "was, which begins a new one, or move the file away"
        ) from error


def all_tables(folder: Path) -> Iterator[tuple[Table, str]]:
    """Yield the tables of both files, and what each is called in the other database."""
    for table in tables(folder / DATABASE, _OURS_ALONE):
        yield table, table.name
    if (folder / FLEET).exists():
        for table in tables(folder / FLEET):
            yield table, "device_events" if table.name == "events" else table.name


def _stay(old: ServerConfig, mark: Mark) -> None:
    folder = old.server.data_dir
    with closing(open_as_it_is(old)) as state:
        source = Relocation(state).source()
        if source is None and not state.take_folder(folder_id(folder)):
            raise ServerError(
                f"The database knows the files of another folder than {folder}. Nothing was changed"
            )
        source = source or Source(mark.id, str(folder.absolute()))

        def job(transaction: SqlTransaction) -> None:
            begin(transaction, source)
            if old.storage.state is not None:
                transaction.write("UPDATE folder SET id = ?", mark.place)

        state.run(job)
    replace(mark, id=source.id).write(folder)
