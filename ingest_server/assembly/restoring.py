"""The way back from a database that is gone, damaged or older than what was committed."""

from __future__ import annotations

import shutil
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

from edge_host.clock import SystemClock
from edge_host.durable import sync
from ingest_server.assembly.data_folder import DATABASE, has_content
from ingest_server.core.errors import ServerError, StateError, StateLostError
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.sqlite.commit_count import ENDING, forget, gone_back
from ingest_server.storage.sqlite.copies import Copies, refuse_unfit
from ingest_server.storage.sqlite.transactions import SqliteState

_WITH_IT = ("", "-wal", "-shm", ENDING)
"""What belongs to a database: the file, and what is kept beside it. In this order it is put aside."""


def restore(data_dir: Path, source: Path | None, *, begins_empty: bool) -> tuple[SqliteState, str]:
    """Put a copy in the place of a database that is gone, damaged or older, which is kept aside.

    An older one that can be read stays where no copy knows more.

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
            aside = _put_aside(path)
            return SqliteState.open(path), f"nothing: it is new{_kept(aside)}"
        if source is None and _has_gone_back(path) and Copies(path).know_less():
            _keep_log(path)
            forget(path)
            return SqliteState.open(path), f"what {path} itself still knows"
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
            aside = _put_aside(path)
            unfinished.rename(path)
            sync(data_dir)
            return SqliteState.open(path), f"{copy}{_kept(aside)}"
    finally:
        holding.close()
    raise ServerError(
        f"There is no copy of {path} that can be used. Name one of your own with --from FILE, or begin "
        "without: ingest-server restore --empty. Published files stay; devices need new tokens, and "
        "send unfinished uploads from the start."
    )


def _has_gone_back(path: Path) -> bool:
    return not SqliteState.is_unbegun(path) and gone_back(path) is not None


def _keep_log(path: Path) -> None:
    """Keep a copy of the log: SQLite takes from it what it can read, and removes it."""
    log = path.with_name(f"{path.name}-wal")
    if has_content(log):
        _copy(log, _aside(path, _next_aside(path), "-wal"))
        sync(path.parent)


def _refuse_sound(path: Path) -> None:
    """Refuse to replace a database that can be read and has not gone back.

    Raises:
        ServerError: it is such a one; or nobody knows, since it is another's or a newer version's.
    """
    if SqliteState.is_unbegun(path) or _has_gone_back(path):
        return
    try:
        with closing(SqliteState.open(path)) as state:
            state.check(SystemClock().now_s)
    except StateLostError:
        return
    raise ServerError(
        f"{path} can be read: there is nothing to restore. To go back to a copy all the same, move it "
        "away first, with its -wal and -shm."
    )


def _kept(aside: Path | None) -> str:
    return "" if aside is None else f". What was there before is {aside} now"


def _put_aside(path: Path) -> Path | None:
    """Keep what is in the way under a name of its own, which is returned; durable on return. None: nothing was.

    What belongs to the old database would spoil a copy: it is out of the way before that comes.
    """
    number = _next_aside(path)
    for end in _WITH_IT:
        with suppress(FileNotFoundError):
            path.with_name(f"{path.name}{end}").rename(_aside(path, number, end))
    sync(path.parent)
    aside = _aside(path, number, "")
    return aside if aside.exists() else None


def _next_aside(path: Path) -> int:
    return next(n for n in count(1) if not any(_aside(path, n, end).exists() for end in _WITH_IT))


def _aside(path: Path, number: int, end: str) -> Path:
    return path.with_name(f"{path.name}.damaged-{number}{end}")


def _copy(copy: Path, to: Path) -> None:
    _remove(to)
    shutil.copyfile(copy, to)
    to.chmod(0o640)  # it holds the hashes of tokens
    sync(to)


def _remove(path: Path) -> None:
    for end in _WITH_IT:
        path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
