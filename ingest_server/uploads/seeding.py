"""An upload that begins with a copy of what its device has published of the same file before.

The copy is vouched for by nobody: its bytes are like those that a client sends, its block digests tell
the client what differs, and the whole file is hashed before it is published. So the published file
need not be read first, and one that was damaged costs the blocks that are damaged.

What is written so is bounded by what was sent, over any number of files that are made of each other
(`MOST_COPIED`). It only helps: what is not copied, the client sends.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from functools import partial

import structlog

from ingest_server.core.errors import Refused, refused_by_disk
from ingest_server.core.record import SUPERSEDES, State, UploadRecord
from ingest_server.storage.interface import Part, Transaction
from ingest_server.uploads.copying import copy_into
from ingest_server.uploads.earlier import Earlier
from ingest_server.uploads.fair_pool import FairPool
from ingest_server.uploads.pending import Pending
from ingest_server.uploads.receive import BodyReceiver
from ingest_server.uploads.store import UploadStore, stopped
from upload_protocol.messages import MAX_METADATA_BYTES, Extends, Receipt, metadata_bytes

log = structlog.get_logger()

MOST_COPIED = 16
"""How many bytes are copied, into all files that are made of a first one and of each other, for each
byte that this one has. It was sent whole; when that is used up, the next is sent whole, too."""

FIRST = "made-of"
"""The note, beside an upload that began with a copy, of the first of those files."""
COPIED = "made-of-it"
"""The note, beside that first one, of how many bytes were copied."""

COPIERS = 2
"""Copies at once: each keeps a disk busy, for some seconds before it is another's turn."""

_FULL = {errno.ENOSPC, errno.EDQUOT}


class Seeding:
    """Copies published files into uploads, one of each device at a time."""

    def __init__(
        self,
        store: UploadStore,
        receiver: BodyReceiver,
        earlier: Earlier,
        *,
        wait_s: Callable[[], float],
    ) -> None:
        """Join the parts.

        Args:
            wait_s: how long a request waits for its turn, and then copies, in seconds.
        """
        self._store = store
        self._receiver = receiver
        self._earlier = earlier
        self._wait_s = wait_s
        self._turns = FairPool(COPIERS, 1, "copy")

    def stop(self) -> None:
        """Wait for what runs: it looks for the stop itself."""
        self._turns.stop()

    def fill(
        self, record: UploadRecord, extends: Extends, has_left: Callable[[], bool]
    ) -> Pending | None:
        """Copy what the device has published as *extends* to the start of an open upload.

        What was copied is durable and recorded on return. Another device's file is as unknown as none.

        Args:
            record: the upload.
            extends: the earlier file.
            has_left: whether the caller has gone; asked before each piece, which nobody else needs.

        Returns:
            `Pending` if there is more to copy: nobody works on it before the same is asked again.

        Raises:
            Refused: the upload's length is less than that; the disk or the quota is full; the server
                stops; the caller has left, or a newer request took over.
        """
        if record.length is not None and record.length < extends.length:
            raise Refused(
                "inconsistent-length",
                f"a file of {record.length} bytes cannot begin with {extends.length} others",
            )
        if record.state is not State.OPEN or not record.received.missing(extends.length):
            return None
        source = self._source(record, extends)
        if source is None:
            return None
        copying = self._turns.submit(
            record.device, partial(self._copy, record.id, source, has_left)
        )
        try:
            try:
                is_through = copying.result(self._wait_s())
            except FutureTimeoutError:
                is_through = False if copying.cancel() else copying.result()
        except CancelledError:
            raise stopped() from None
        except Refused as refused:
            raise refused.again() from refused
        return None if is_through else Pending(retry_after_s=1.0)

    def _source(self, record: UploadRecord, extends: Extends) -> Receipt | None:
        """Return the file to copy; that it was copied once more is durable then."""
        alike = self._earlier.of_bytes(record, extends.length, extends.digest)
        if not alike:
            return None
        there = [receipt for _, receipt in alike if self._earlier.may_be_there(receipt)]
        # One content under several names was sent once.
        oldest = min(alike, key=lambda pair: (pair[1].verified_at, pair[1].upload_id))
        names = [receipt.upload_id for _, receipt in (oldest, *alike)]
        supersedes = (there or [alike[0][1]])[0].published_as
        length = extends.length if there else 0
        noted = partial(
            _note, upload_id=record.id, supersedes=supersedes, names=names, length=length
        )
        return there[0] if self._store.state.run(noted) else None

    def _copy(self, upload_id: str, source: Receipt, has_left: Callable[[], bool]) -> bool:
        """Copy what is missing; return whether there is nothing more to be done."""
        try:
            part = self._store.blobs.open_published(source.published_as)
        except OSError:
            return True  # taken away since, or no file of ours
        try:
            if part.identity() is not None:
                self._copy_from(part, upload_id, source.length, has_left)
        except _OutOfTimeError:
            return False
        except OSError as error:
            if error.errno in _FULL:
                raise refused_by_disk(error) from error
            # Which of both files failed cannot be told; where it is the other one, its client is told so.
            log.warning(
                "upload.not_seeded",
                upload_id=upload_id,
                path=source.published_as,
                error=f"{error.strerror or error}: what could not be copied is sent by its device; "
                "run `ingest-server verify`",
            )
        finally:
            part.close()
        return True

    def _copy_from(
        self, source: Part, upload_id: str, length: int, has_left: Callable[[], bool]
    ) -> None:
        until_s = self._store.clock.now_s() + self._wait_s()
        pieces = 0

        def go_on() -> None:
            nonlocal pieces
            if self._store.is_stopping():
                raise stopped()
            if has_left():
                raise Refused("request-timeout", "whoever asked for the copy has left")
            if pieces and self._store.clock.now_s() >= until_s:
                raise _OutOfTimeError
            pieces += 1

        with self._store.live.hold(upload_id) as live:
            for gap in self._store.state.get_open(upload_id).received.missing(length):
                copy_into(
                    self._receiver, upload_id, live, gap, source, start=gap.start, go_on=go_on
                )


class _OutOfTimeError(Exception):
    """The request has worked for long enough."""


def _note(
    transaction: Transaction, *, upload_id: str, supersedes: str, names: Sequence[str], length: int
) -> bool:
    """Note what an upload is a later content of, and, before its first byte is, that this is copied.

    Counted once for each upload.

    Args:
        transaction: what it is written in.
        upload_id: the upload.
        supersedes: the published file.
        names: ids of all uploads that published those bytes, the oldest first.
        length: of the bytes; 0: they are not there any more.

    Returns:
        Whether they may be copied.
    """
    if transaction.note(upload_id, FIRST) is not None:
        return True
    record = transaction.get_open(upload_id)
    metadata = {**record.metadata, SUPERSEDES: supersedes}
    if metadata != record.metadata and metadata_bytes(metadata) <= MAX_METADATA_BYTES:
        transaction.save(replace(record, metadata=metadata))
    notes = (transaction.note(one, FIRST) for one in names)
    first_id = next((one for one in notes if one is not None), names[0])
    first = transaction.find(first_id)
    copied = int(transaction.note(first_id, COPIED) or 0) + length
    if not length or first is None or copied > MOST_COPIED * (first.length or 0):
        return False
    transaction.write_note(first_id, COPIED, str(copied))
    transaction.write_note(upload_id, FIRST, first_id)
    return True
