"""What a move to a database and a bucket would carry, and how long it takes: ``ingest-server migrate --dry-run``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from edge_host.clock import Clock
from ingest_server.assembly.bytes_place import bucket_of
from ingest_server.assembly.data_folder import open_as_it_is
from ingest_server.assembly.moving_facts import (
    carries_facts,
    count_rows,
    refuse_used,
    try_database,
)
from ingest_server.assembly.moving_files import look_at_source, tried_rate
from ingest_server.config import ServerConfig
from ingest_server.operate.text import counted, size
from ingest_server.storage.sql.relocation import Relocation

ROWS_PER_S = 5000
"""That PostgreSQL took of a small machine, so that a bigger one is sooner ready than was said."""


class Outlook:
    """Looks at both sides of a move."""

    def __init__(
        self,
        old: ServerConfig,
        new: ServerConfig,
        clock: Clock,
        *,
        complain: Callable[[str], None],
    ) -> None:
        self._old = old
        self._new = new
        self._clock = clock
        self._complain = complain

    def tell(self, rate: int | None, *, is_begun: bool) -> int:
        """Print what a move would carry, and how long that takes; nothing is changed.

        Args:
            rate: bytes per second; None: as fast as is seen to go.
            is_begun: whether the facts are moved already.

        Returns:
            The exit code.
        """
        old, new = self._old, self._new
        if not is_begun:
            self._tell_facts()
        if new.storage.blobs is None:
            print("Files:  stay where they are.")
            return 0
        with closing(open_as_it_is(new if is_begun else old, read_only=True)) as state:
            relocation = Relocation(state)
            waiting = relocation.waiting()
            with closing(look_at_source(new.storage.before or old.server.data_dir)) as before:
                unfinished = relocation.unfinished(before.part_ids())
                arrived = sum(before.part_length(one) or 0 for one in unfinished)
        with closing(bucket_of(new)) as bucket:
            bucket.prepare()
            if not is_begun:
                refuse_used(bucket)
            for missing in bucket.try_out():
                self._complain(missing)
            rate = rate or tried_rate(bucket, self._clock)
        seconds = waiting.length * 2 / rate  # sent, and read back
        print(
            f"Files:  {counted(waiting.files, 'file')}, {size(waiting.length)}, to {new.storage.blobs}: about "
            f"{_span(seconds)} at {size(rate)}/s, sent and read back together."
        )
        print(
            f"Open:   {counted(len(unfinished), 'upload')}, of which {size(arrived)} arrived. They end where "
            "they began, and are copied then."
        )
        print("Nothing was changed.")
        return 0

    def _tell_facts(self) -> None:
        old, new = self._old, self._new
        if not carries_facts(old, new):
            print("Facts:  stay where they are; the server has to stand still for some seconds.")
            return
        try_database(new)
        rows = count_rows(old)
        print(
            f"Facts:  {counted(rows, 'row')}: the server has to stand still for about "
            f"{_span(rows / ROWS_PER_S)}."
        )


def _span(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(1, round(seconds))} s"
