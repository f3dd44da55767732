"""Published files read again and compared with their receipts; what has rotted is set apart.

Works beside a running server. A file that is not what its receipt says goes to ``quarantine/``, with
an event in the outbox: its name under ``published/`` promises a recording that is not there any
more. The receipt stays as it is, and is not given again. If a device still has the recording and
sends it again, it is published anew. What was read is kept: a file that is intact counts as that for
`[retention] scrub_days`, and the server need not read it again before it gives the receipt again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby

from edge_host.clock import Clock, rfc3339
from ingest_server.core import events
from ingest_server.storage.interface import Blobs, Part, Reading, StateStore, Transaction
from ingest_server.uploads.hashing import READ_BYTES
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt


class Fault(StrEnum):
    """What is wrong with a file."""

    CORRUPT = "corrupt"
    """Other bytes than the receipt says."""
    UNREADABLE = "unreadable"
    """The disk does not give it back, or it is no regular file; left where it is."""
    MISSING = "missing"
    """Moved or deleted by somebody since, or set apart earlier: no new fault of the disk."""
    REMOVED = "removed"
    """Removed by the server, as `[retention]` says, while this worked."""
    UNKNOWN = "unknown"
    """There, but no upload published it: a database restored from an older copy, or a person."""


KEPT_AT_ONCE = 256
"""Readings for one transaction: one for each would wait for the disk as often."""

FAULTS = frozenset({Fault.CORRUPT, Fault.UNREADABLE})
"""What needs a person."""


@dataclass(frozen=True, slots=True)
class FaultyFile:
    """One file that is not as its receipt says."""

    path: str
    """Below the published folder."""
    verdict: Fault
    detail: str
    upload_id: str | None = None
    device: str | None = None
    quarantined_as: str | None = None
    """Where it is now, below the data folder; None: where it was."""


@dataclass(slots=True)
class Report:
    """What has been looked at; it grows while `Scrub.run` works."""

    files: int = 0
    length: int = 0
    """Bytes of all files to look at."""
    files_done: int = 0
    length_done: int = 0
    is_whole: bool = False
    """Whether it came to the end."""
    findings: list[FaultyFile] = field(default_factory=list)

    @property
    def intact(self) -> int:
        """Return how many files are what their receipts say."""
        known = sum(one.verdict is not Fault.UNKNOWN for one in self.findings)
        return self.files_done - known

    @property
    def has_faults(self) -> bool:
        return any(one.verdict in FAULTS for one in self.findings)


Watcher = Callable[[Report, str], None]
"""Told after each piece read and each finding, with the path at work."""


class Scrub:
    """Verifies the published files of one data folder."""

    def __init__(
        self, state: StateStore, blobs: Blobs, clock: Clock, *, sets_apart: bool = True
    ) -> None:
        """Take what `run` works on; *blobs* holds the published folder already."""
        self._state = state
        self._blobs = blobs
        self._clock = clock
        self._kept: list[Reading] = []
        self._sets_apart = sets_apart

    def run(self, watcher: Watcher, report: Report) -> None:
        """Read every published file and fill *report*.

        What is corrupt is in quarantine, and its event in the outbox, durably, when *watcher* is
        told of it.

        Raises:
            Refused: the database failed.
        """
        receipts = sorted(self._state.receipts(), key=_path)
        published = [(path, list(found)) for path, found in groupby(receipts, key=_path)]
        report.files = len(published)
        report.length = sum(found[-1].length for _, found in published)
        for path, found in published:
            finding = self._look(path, found, watcher, report)
            report.files_done += 1
            if finding is not None:
                report.findings.append(finding)
            watcher(report, path)
            if len(self._kept) >= KEPT_AT_ONCE:
                self._keep()
        self._keep()
        known = {path for path, _ in published}
        for path in self._blobs.published_names():
            if path not in known and not self._is_known(path):
                detail = "no upload of this database published it"
                report.findings.append(FaultyFile(path, Fault.UNKNOWN, detail))
                watcher(report, path)
        report.is_whole = True

    def _is_known(self, path: str) -> bool:
        """Whether it came while this worked, or is half published."""
        return self._state.has_target(path)

    def _is_removed(self, upload_id: str) -> bool:
        record = self._state.find(upload_id)
        return record is not None and record.removed_at is not None

    def _look(
        self, path: str, receipts: list[Receipt], watcher: Watcher, report: Report
    ) -> FaultyFile | None:
        newest = max(receipts, key=lambda one: one.verified_at)

        def finding(verdict: Fault, detail: str, quarantined_as: str | None = None) -> FaultyFile:
            return FaultyFile(
                path, verdict, detail, newest.upload_id, newest.device, quarantined_as
            )

        due = report.length_done + receipts[-1].length
        try:
            length, digest, identity = self._read(path, watcher, report)
            # A file taken out and sent again has a receipt for each time.
            fitting = [one for one in receipts if (one.length, one.digest) == (length, digest)]
            if identity is not None:
                read = max(fitting, key=lambda one: one.verified_at) if fitting else newest
                self._note(read.upload_id, digest, identity)
            if fitting:
                return None
            if self._is_another(path, length, digest):
                return None  # published while this worked, under a name that was free again
            if identity is None or not self._is_still(path, identity):
                return finding(Fault.UNREADABLE, "it changed since it was read: run this again")
            detail = (
                f"it has {length} bytes instead of {newest.length}"
                if length != newest.length
                else f"it has {digest} instead of {newest.digest}"
            )
            return self._corrupt(finding, path, newest, detail)
        except (FileNotFoundError, NotADirectoryError):
            return finding(*self._why_missing(path, newest.upload_id))
        except OSError as error:
            return finding(Fault.UNREADABLE, error.strerror or str(error))
        finally:
            report.length_done = due

    def _why_missing(self, path: str, upload_id: str) -> tuple[Fault, str]:
        if self._is_removed(upload_id):
            return Fault.REMOVED, "it was kept as long as [retention] says"
        try:
            self._blobs.check_identity(path)
            is_apart = self._blobs.is_in_quarantine(path)
        except OSError as error:  # of a store that was emptied nothing was taken away
            return Fault.UNREADABLE, error.strerror or str(error)
        return (
            Fault.MISSING,
            "it is in quarantine" if is_apart else "somebody has moved or deleted it",
        )

    def _is_another(self, path: str, length: int, digest: Digest) -> bool:
        """Whether these bytes are what an upload has published there by now, or is about to."""
        published = self._state.receipts(path)
        return any((one.length, one.digest) == (length, digest) for one in published) or (
            self._state.is_being_published(path, besides="")
        )

    def _is_still(self, path: str, identity: str) -> bool:
        now = self._blobs.identity(path)
        return now is not None and self._blobs.is_unwritten(identity, now)

    def _corrupt(
        self, finding: Callable[..., FaultyFile], path: str, receipt: Receipt, detail: str
    ) -> FaultyFile:
        if not self._sets_apart:
            return finding(Fault.CORRUPT, detail)
        self._keep()  # before its name goes: no receipt may be given again from here on
        try:
            return finding(Fault.CORRUPT, detail, self._set_apart(path, receipt, detail))
        except OSError as error:
            return finding(Fault.CORRUPT, f"{detail}; it cannot be moved ({error.strerror})")

    def _note(self, upload_id: str, digest: Digest, identity: str) -> None:
        uptime_s = self._state.uptime_s()  # at most a minute old: the reading is older by that
        now = rfc3339(self._clock.now_utc())
        self._kept.append(Reading(upload_id, identity, digest, "", uptime_s, now))

    def _keep(self) -> None:
        kept, self._kept = self._kept, []

        def save(transaction: Transaction) -> None:
            for reading in kept:
                transaction.save_reading(reading)

        if kept:
            self._state.run(save)

    def _read(self, path: str, watcher: Watcher, report: Report) -> tuple[int, Digest, str | None]:
        """Return length, digest and identity of a file; None: it has changed meanwhile."""
        with closing(self._blobs.open_published(path)) as part:
            identity = part.identity()
            part.forget_cached()
            hasher, length = hashlib.sha256(), 0
            for piece in _pieces(part):
                hasher.update(piece)
                length += len(piece)
                report.length_done += len(piece)
                watcher(report, path)
            part.forget_cached()  # nor push out what the server needs
            is_same = part.identity() == identity
            return length, Digest(hasher.digest()), identity if is_same else None

    def _set_apart(self, path: str, receipt: Receipt, detail: str) -> str:
        """Move it; a crash in between leaves both names, and the next run tells of it again."""
        moved = self._blobs.copy_to_quarantine(path)
        self._state.tell(
            events.CORRUPTED, receipt.upload_id, quarantined_as=moved, path=path, detail=detail
        )
        self._blobs.withdraw(path)
        return moved


def _pieces(part: Part) -> Iterator[bytes]:
    offset = 0
    while piece := part.pread(READ_BYTES, offset):
        yield piece
        offset += len(piece)


def _path(receipt: Receipt) -> str:
    return receipt.published_as
