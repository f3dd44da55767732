"""The way back from a move, as long as nothing would be lost by it.

What has come since is told by the facts and the files themselves: by no clock, which may have been set back since,
or be another machine's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest_server.assembly.bytes_place import bucket_of
from ingest_server.assembly.data_folder import folder_id, open_as_it_is, open_state
from ingest_server.assembly.moving_facts import held
from ingest_server.assembly.relocated import Mark, remove_mark
from ingest_server.config import ServerConfig
from ingest_server.core.errors import ServerError
from ingest_server.core.record import UNFINISHED, State
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.sql.relocation import end
from ingest_server.storage.sql.state import SqlState
from ingest_server.storage.sql.writes import SqlTransaction
from ingest_server.storage.sqlite.transactions import SqliteState
from upload_protocol.messages import Receipt

if TYPE_CHECKING:
    from ingest_server.storage.postgres.transactions import PostgresState

PAGE = 1000
_UPLOADS = "Uploads have begun or ended"


def undo(old: ServerConfig, new: ServerConfig, mark: Mark) -> None:
    """Let the folder be used as it was, where nothing has come to the new places meanwhile.

    Raises:
        ServerError: something has, or a server runs.
    """
    folder = old.server.data_dir
    with held(folder) as files, closing(open_as_it_is(new)) as state:
        try:
            if mark.state is None:
                what = _only_in_the_bucket(new, state, files)
            else:
                what = _unknown_before(folder, state)
        except OSError as error:
            raise ServerError(
                f"What has come since {mark.at} cannot be looked at: {error}. Nothing was changed. Run this again"
            ) from error
        if what is not None:
            raise ServerError(
                f"{what} since {mark.at}, which {folder} knows nothing of. Nothing was changed. How to go back "
                "by hand is in docs/migrate.md"
            )
        if mark.state is None:
            name = folder_id(folder)

            def job(transaction: SqlTransaction) -> None:
                end(transaction)
                if old.storage.state is not None:
                    transaction.write("UPDATE folder SET id = ?", name)

            state.run(job)
        remove_mark(folder)


def _only_in_the_bucket(
    new: ServerConfig, state: SqliteState | PostgresState, files: FileBlobs
) -> str | None:
    """Return what has happened by which bytes are in the bucket, or in one of a rule, and not in the folder."""
    own = bucket_of(new)
    from ingest_server.storage.s3.places import S3Places  # there, now that the own place is

    with closing(S3Places(own, new.places, state)) as places:
        for upload_id, told, receipt, verified_at in _each(state, "state, receipt, verified_at"):
            if State(told) in UNFINISHED and files.part_length(upload_id) is None:
                return _UPLOADS
            if verified_at is not None:
                target = Receipt.from_json(json.loads(receipt)).published_as
                if not files.is_taken(target) and places.is_taken(target):
                    return _UPLOADS
    return None


def _unknown_before(folder: Path, state: SqlState) -> str | None:
    """Return what has happened by which the facts are others than those of the folder."""
    with closing(open_state(folder, begins=False)) as before:
        pairs = zip_longest(*(_each(one, "state, received") for one in (before, state)))
        if any(was != now for was, now in pairs):
            return _UPLOADS
        for what, names in (
            ("Tokens were made or revoked", "SELECT token_id FROM tokens"),
            ("Users were added or removed", "SELECT name FROM users"),
        ):
            if set(before.rows(names)) != set(state.rows(names)):
                return what
    return None


def _each(state: SqlState, columns: str) -> Iterator[tuple[Any, ...]]:
    """Yield the id and more of each upload, in the order of the ids: hex, so that no collation has another."""
    last = ""
    while page := state.rows(
        f"SELECT id, {columns} FROM uploads WHERE id > ? ORDER BY id LIMIT ?", last, PAGE
    ):
        yield from page
        last = page[-1][0]
