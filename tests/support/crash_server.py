"""The server as a program, with one of its promises broken on purpose where that is asked for.

    python -m tests.support.crash_server SABOTAGE run --config FILE

A test of durability that does not fail for these proves nothing.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable

from ingest_server import cli
from ingest_server.storage.files.part_file import PartFile
from ingest_server.storage.sqlite.connections import Connections
from ingest_server.uploads.writers import Writer


def no_fdatasync() -> None:
    """Record bytes that are only in the page cache."""
    PartFile.sync = lambda self: None  # type: ignore[method-assign] # the sabotage


def row_before_data() -> None:
    """Commit the range first and make its bytes durable afterwards, before the answer."""
    sync, seal = PartFile.sync, Writer._seal
    PartFile.sync = lambda self: None  # type: ignore[method-assign] # the sabotage

    def other_way_round(self: Writer) -> None:
        seal(self)
        if not self._is_closed and self._part is not None:
            sync(self._part)  # type: ignore[arg-type]  # here each is a file

    Writer._seal = other_way_round  # type: ignore[method-assign] # the sabotage


def no_folder_fsync() -> None:
    """Make files durable, and never their names."""
    fsync = os.fsync

    def files_only(fd: int) -> None:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            fsync(fd)

    os.fsync = files_only  # type: ignore[assignment]  # nobody here has but a number


def wal_normal() -> None:
    """Commit without waiting for the disk, as SQLite does by default in WAL mode elsewhere."""
    connect = Connections.connect

    def sloppy(self: Connections):
        connection = connect(self)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    Connections.connect = sloppy  # type: ignore[method-assign] # the sabotage


SABOTAGES: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "no-fdatasync": no_fdatasync,
    "row-before-data": row_before_data,
    "no-folder-fsync": no_folder_fsync,
    "wal-normal": wal_normal,
}

if __name__ == "__main__":
    SABOTAGES[sys.argv[1]]()
    sys.exit(cli.main(sys.argv[2:]))
