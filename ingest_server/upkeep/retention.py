"""Published files that have been kept as long as the operator wants are removed here.

Nothing is removed on the word of one clock. A file goes when its ``verified_at`` is old enough by
the wall clock *and* the server has run that long since: a clock that jumped far ahead makes nothing
old, and for a day after it went back nobody believes it. Only what this server published,
and what is still that file, is touched. The mark is durable before the name goes; what a crash
leaves in between is finished by the next sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from edge_host.clock import rfc3339
from ingest_server.core.record import UploadRecord
from ingest_server.storage.interface import Queries, Removal, Transaction
from ingest_server.uploads.publish import Publisher
from ingest_server.uploads.standing import Standing, Standings
from ingest_server.uploads.store import UploadStore
from upload_protocol.messages import Receipt

SWEEP_S = 3600.0
"""Between sweeps: each looks at every file that is due and that somebody else has taken away."""
DOUBT_S = 86400.0
"""How long, by the server's own running, a clock that went back stops every removal. Not longer: it
makes files younger and never older, and one file that was verified in a wrong 2100 must not let a
disk fill up until then."""
AT_ONCE = 500
"""Most removals of one sweep, some seconds of a disk; the rest comes a minute later."""
PAGE = 500

log = structlog.get_logger()


def is_old(verified_at: str, now: datetime, keep_s: float) -> bool:
    """Return whether *verified_at* is at least *keep_s* before *now*; never for what is no time."""
    try:
        return (now - datetime.fromisoformat(verified_at)).total_seconds() >= keep_s
    except (ValueError, TypeError):
        return False


@dataclass(frozen=True, slots=True)
class _Limits:
    """How old a file must be, by either clock."""

    now: datetime
    keep_s: float
    verified_by: str
    ended_by_s: float


class Retention:
    """Removes old published files."""

    def __init__(
        self,
        store: UploadStore,
        publisher: Publisher,
        standings: Standings,
        removed: Callable[[Receipt, bool], None],
    ) -> None:
        """Join the parts.

        Args:
            removed: told of each file after its name is gone, durably; and of one that was marked
                and, after a crash, was not that file any more (False).
        """
        self._state = store.state
        self._blobs = store.blobs
        self._clock = store.clock
        self._uptime = store.uptime
        self._is_stopping = store.is_stopping
        self._publisher = publisher
        self._standings = standings
        self._removed = removed
        self._next_s = self._clock.now_s()

    def is_due(self) -> bool:
        return self._clock.now_s() >= self._next_s

    def sweep(self, keep_s: float) -> int:
        """Remove what is older than *keep_s*, oldest first; 0 keeps everything.

        What an earlier run marked and did not get to is finished in any case.

        Returns:
            How many files are gone now.

        Raises:
            Refused: the database failed.
        """
        self._next_s = self._clock.now_s() + SWEEP_S
        left = self._state.removals()
        count = sum(self._finish(one) for one in left)
        limits = self._limits(keep_s) if keep_s > 0 else None
        if limits is not None:
            count += self._remove_due(limits)
        return count

    def _limits(self, keep_s: float) -> _Limits | None:
        now = self._clock.now_utc()
        newest = self._state.newest_verified_at(since_s=self._uptime.now_s() - DOUBT_S)
        if newest is not None and rfc3339(now) < newest:
            log.warning(
                "retention.refused",
                now=rfc3339(now),
                newest=newest,
                error="the clock is before a time that it showed when a file was verified: nothing "
                "is removed until it is past that, or for a day; set the clock",
            )
            return None
        verified_by = rfc3339(now - timedelta(seconds=keep_s))
        return _Limits(now, keep_s, verified_by, self._uptime.now_s() - keep_s)

    def _remove_due(self, limits: _Limits) -> int:
        count, after = 0, ("", "")
        while True:
            due = self._state.due_for_removal(
                limits.verified_by, limits.ended_by_s, after=after, limit=PAGE
            )
            for record, receipt in due:
                if self._is_stopping():
                    return count
                if is_old(receipt.verified_at, limits.now, limits.keep_s):
                    count += self._remove(record.id, receipt, limits)
                if count >= AT_ONCE:
                    self._next_s = self._clock.now_s()
                    return count
                after = (receipt.verified_at, record.id)
            if len(due) < PAGE:
                return count

    def _remove(self, upload_id: str, receipt: Receipt, limits: _Limits) -> bool:
        path = receipt.published_as
        try:
            identity = self._blobs.identity(path)
        except (
            OSError
        ) as error:  # a bucket of a rule may be away, and files of others are due as well
            log.warning("retention.failed", path=path, error=str(error))
            return False
        if identity is None or self._standings.check(receipt) is not Standing.SOUND:
            return False  # moved, replaced or changed by somebody: theirs
        removal = Removal(path, upload_id, identity)

        def mark(transaction: Transaction) -> bool:
            record = _still_there(transaction, upload_id)
            if record is None or transaction.is_used_since(path, record):
                return False
            transaction.mark_removed(record, removal, rfc3339(limits.now))
            return True

        return self._state.run(mark) and self._finish(removal)

    def _finish(self, removal: Removal) -> bool:
        """Take the name away, if it is still that file's, and forget that it was to be done."""
        try:
            with self._publisher.paused(removal.path):
                is_gone = self._blobs.remove_published(removal.path, removal.identity)
        except OSError as error:  # still marked: the next sweep tries again
            log.warning("retention.failed", path=removal.path, error=str(error))
            return False
        record = self._state.find(removal.upload_id)
        self._state.run(lambda transaction: transaction.end_removal(removal.path))
        if record is not None and record.receipt is not None:
            self._removed(record.receipt, is_gone)
            log.info(
                "file.removed",
                upload_id=record.id,
                device_id=record.device,
                path=removal.path,
                verified_at=record.receipt.verified_at,
                was_there=is_gone,
            )
        return is_gone


def _still_there(queries: Queries, upload_id: str) -> UploadRecord | None:
    record = queries.find(upload_id)
    return record if record is not None and record.removed_at is None else None
