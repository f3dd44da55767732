"""Whether a published file may still be vouched for: the one place that answers that.

A name, a length and a time of change say nothing of the bytes. What counts is a `Reading`: the
digest that the whole file had, and the identity of the file that had it. The identity ends with the
time of the inode's last change, which no program can set back. It stands for the bytes as long as
it is unchanged, and for a disk that rots silently only since this start or for some days more.

Nothing here trusts one clock. Days count by the wall clock *and* by the time that the server has
run, so that neither a clock that went back nor a server that was off makes a reading younger.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from enum import Enum, auto

import structlog

from edge_host.clock import rfc3339
from ingest_server.core import events
from ingest_server.core.errors import disk_refusals
from ingest_server.storage.interface import Reading, Transaction
from ingest_server.uploads.hashing import digest_of
from ingest_server.uploads.store import UploadStore
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

TRIES = 3
"""How often a file that changes while it is read is read again: somebody may set its mode."""

log = structlog.get_logger()


class Standing(Enum):
    """What is known of a published file, held against its receipt."""

    SOUND = auto()
    """It has been read, and is the file that was read."""
    DOUBTFUL = auto()
    """Nobody knows before it is read."""
    CHANGED = auto()
    """It is not what the receipt says."""
    GONE = auto()
    """Somebody has taken it away, as consumers of the folder do; it was sound when last seen."""


class Standings:
    """Knows, or reads, what published files are."""

    def __init__(self, store: UploadStore, *, trusted_for_s: Callable[[], float]) -> None:
        """Join the parts; each object is one run of the server.

        Args:
            trusted_for_s: how long a reading of an earlier run counts, in seconds.
        """
        self._state = store.state
        self._blobs = store.blobs
        self._clock = store.clock
        self._uptime = store.uptime
        self._is_stopping = store.is_stopping
        self._trusted_for_s = trusted_for_s
        self._run = secrets.token_hex(8)
        # One file is read once, however many ask for it; and one disk feeds one reader best.
        self._reading = threading.Lock()
        self._noted: dict[str, Reading] = {}
        """Readings on their way into the database."""

    def of(self, receipt: Receipt) -> Standing:
        """Return what is known of the receipt's file, without reading it.

        Raises:
            Refused: its store is not the one any more that it was.
        """
        path = receipt.published_as
        reading = self._last(receipt.upload_id)
        is_anothers = self._state.is_published_over(receipt)
        was_changed = reading is not None and reading.digest != receipt.digest
        if reading is not None and self._blobs.identity(path) == reading.identity:
            if was_changed:
                return Standing.CHANGED
            return Standing.SOUND if self._counts(reading) else Standing.DOUBTFUL
        if is_anothers or not self._blobs.is_taken(path):
            with disk_refusals():  # of a store that was emptied nothing was taken away
                self._blobs.check_identity(path)
            return Standing.CHANGED if was_changed else Standing.GONE
        return Standing.DOUBTFUL

    def identity_of(self, receipt: Receipt) -> str | None:
        """Return which file had the receipt's digest when it was last read whole; None: none."""
        reading = self._last(receipt.upload_id)
        return None if reading is None or reading.digest != receipt.digest else reading.identity

    def check(self, receipt: Receipt) -> Standing:
        """Return what the file is, read whole where that is needed; never doubtful.

        What was found is durable on return. A file that has changed is told, once, and left.

        Raises:
            Refused: the server stops, or the database failed.
        """
        found = self.of(receipt)
        if found is not Standing.DOUBTFUL:  # then nobody waits for what another has to read
            return found
        with self._reading:
            found = self.of(receipt)
            if found is not Standing.DOUBTFUL:
                return found
            try:
                return self._read(receipt)
            except (FileNotFoundError, NotADirectoryError):
                return Standing.GONE
            except OSError as error:
                log.error(  # noqa: TRY400 - a sentence, not a trace
                    "file.unreadable",
                    upload_id=receipt.upload_id,
                    path=receipt.published_as,
                    error=f"{error.strerror or error}: nothing is vouched for that cannot be "
                    "read; look at the disk, and run `ingest-server verify`",
                )
                return Standing.CHANGED

    def note(self, upload_id: str, digest: Digest, identity: str, *, is_final: bool) -> None:
        """Keep what the server itself has just hashed and published.

        Not waited for, nor worth a commit of its own: what a power cut takes of it is read again
        when it is needed.

        Args:
            is_final: the store has done its last to the file; before, only this run may know.
        """
        reading = self._reading_of(upload_id, digest, identity)
        self._noted[upload_id] = reading
        if not is_final:
            return

        def save(transaction: Transaction) -> None:
            if transaction.reading(upload_id) is None:  # else `verify` has read it since
                transaction.save_reading(reading)

        def saved(_: Future[None]) -> None:
            self._noted.pop(upload_id, None)

        self._state.submit_along(save).add_done_callback(saved)

    def forget(self, upload_id: str) -> None:
        """Drop what was noted of a file that is not published after all."""
        self._noted.pop(upload_id, None)

    def note_link(self, source: Receipt, made: Receipt, sharing: Iterable[Receipt]) -> None:
        """Let the reading of *source* stand for its new name too, as old as it is; durable.

        Args:
            sharing: may be further names of it; a new one changes all of them.
        """
        reading = self._last(source.upload_id)
        if reading is None:
            return
        others = [one for one in sharing if self._last_identity(one) == reading.identity]
        found = []
        for receipt in (source, made, *others):
            identity = self._blobs.identity(receipt.published_as)
            if identity is not None and self._blobs.is_unwritten(reading.identity, identity):
                found.append(replace(reading, upload_id=receipt.upload_id, identity=identity))

        def save(transaction: Transaction) -> None:
            for one in found:
                transaction.save_reading(one)

        self._state.run(save)

    def _last_identity(self, receipt: Receipt) -> str | None:
        reading = self._last(receipt.upload_id)
        return None if reading is None else reading.identity

    def _last(self, upload_id: str) -> Reading | None:
        noted = self._noted.get(upload_id)  # first: it goes once the database has it
        return self._state.reading(upload_id) or noted

    def _counts(self, reading: Reading) -> bool:
        if reading.run == self._run:
            return True
        limit_s = self._trusted_for_s()
        try:
            age = self._clock.now_utc() - datetime.fromisoformat(reading.read_at)
        except (ValueError, TypeError):
            return False
        ran_s = self._uptime.now_s() - reading.read_s
        return 0 <= age.total_seconds() < limit_s and ran_s < limit_s

    def _read(self, receipt: Receipt) -> Standing:
        for _ in range(TRIES):
            with closing(self._blobs.open_published(receipt.published_as)) as part:
                identity = part.identity()
                part.forget_cached()
                digest = digest_of(part, self._is_stopping)
                is_same = identity is not None and identity == part.identity()
            if identity is not None and is_same:
                reading = self._reading_of(receipt.upload_id, digest, identity)
                return self._keep(receipt, reading)
        log.warning(
            "file.busy",
            path=receipt.published_as,
            error="it was changed each time it was read: it is not vouched for",
        )
        return Standing.CHANGED

    def _keep(self, receipt: Receipt, reading: Reading) -> Standing:
        is_sound = reading.digest == receipt.digest
        detail = f"it has {reading.digest} instead of {receipt.digest}"

        def keep(transaction: Transaction) -> None:
            before = transaction.reading(receipt.upload_id)
            transaction.save_reading(reading)
            record = transaction.find(receipt.upload_id)
            is_known = before is not None and before.digest == reading.digest
            if record is not None and not is_sound and not is_known:
                transaction.tell(events.CORRUPTED, record, path=receipt.published_as, detail=detail)

        self._state.run(keep)
        if is_sound:
            return Standing.SOUND
        log.error(
            "file.corrupted",
            upload_id=receipt.upload_id,
            device_id=receipt.device,
            path=receipt.published_as,
            error=f"{detail}: somebody has changed it, or the disk has; it is left where it is, no "
            "receipt is given for it any more, and its device is asked for the bytes again",
        )
        return Standing.CHANGED

    def _reading_of(self, upload_id: str, digest: Digest, identity: str) -> Reading:
        return Reading(
            upload_id,
            identity,
            digest,
            self._run,
            self._uptime.now_s(),
            rfc3339(self._clock.now_utc()),
        )
