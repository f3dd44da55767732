"""An upload made of others: their stored bytes are copied, none come from a client.

What is written so is bounded by what was sent: each upload is copied `MAX_COPIES` times at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial

from ingest_server.base.turns import Places
from ingest_server.core.errors import Refused, disk_refusals
from ingest_server.core.record import refuse_unless_open
from ingest_server.storage.interface import Transaction
from ingest_server.uploads.copying import copy_into
from ingest_server.uploads.receive import BodyReceiver
from ingest_server.uploads.store import UploadStore
from upload_protocol.ranges import ByteRange

MAX_COPIES = 4
"""How often a whole upload is copied, into all others together. A client that lost an answer asks for
the file again, and may want a part twice; whatever it asks for, no more than this is written for each
byte that it has sent."""

COPIES = "copies"
"""The note of how often an upload was, beside it."""
COUNTED = "copies-counted"
"""The note, beside an upload made of others, of how many of its parts have been counted as copied."""


@dataclass(slots=True)
class _Progress:
    """How many parts are copied or have been begun, now or when it was tried before."""

    begun: int

    def is_at(self, number: int) -> None:
        self.begun = max(self.begun, number)


class Concatenation:
    """Copies whole uploads into another."""

    def __init__(self, store: UploadStore, receiver: BodyReceiver) -> None:
        self._store = store
        self._receiver = receiver
        # Else one that gives way would take back the count of what the other goes on to copy.
        self._filling = Places(1)

    def fill(self, device: str | None, upload_id: str, sources: Sequence[str]) -> None:
        """Copy *sources*, one behind the other, to the start of an upload; durable on return.

        Raises:
            Refused: one of them is unknown, not whole, or not open any more, or was copied as often as
                may be, or the disk is full or failed; of which no byte was written is not counted then.
        """
        for source in dict.fromkeys(sources):
            refuse_unless_open(self._store.find(device, source))
            with self._store.live.hold(source) as live:
                live.seal()  # what still comes counts
        with self._filling.of(upload_id):
            counted = self._store.state.run(lambda rows: _count(rows, upload_id, sources))
            progress, start = _Progress(counted), 0
            try:
                for number, source in enumerate(sources, 1):
                    found = self._store.find(None, source)
                    if found.length is None or found.received.prefix != found.length:
                        raise Refused("ranges-missing", f"the upload {source} is not whole yet")
                    if found.length:
                        where = ByteRange(start, start + found.length)
                        self._copy(source, upload_id, where, partial(self._go_on, progress, number))
                    start += found.length
                    progress.is_at(number)
            except Refused as refused:
                if refused.code == "superseded":
                    # Another service copies the rest, and has seen it counted.
                    progress.is_at(len(sources))
                raise
            finally:
                if progress.begun < len(sources):
                    with suppress(Refused):  # why it failed is what counts
                        self._store.state.run(
                            lambda rows: _uncount(rows, upload_id, sources, progress.begun)
                        )

    def _go_on(self, progress: _Progress, number: int) -> None:
        """Note that a piece of a source is about to be copied.

        Raises:
            Refused: the server stops.
        """
        self._store.refuse_when_stopping()
        progress.is_at(number)

    def _copy(
        self, source: str, upload_id: str, where: ByteRange, begin: Callable[[], None]
    ) -> None:
        """Copy what is missing; *begin* is called before each piece is written."""
        record = self._store.find(None, upload_id)
        with (
            self._store.live.hold(upload_id) as live,
            disk_refusals(),
            closing(self._store.blobs.open_part(source)) as part,
        ):
            for gap in record.received.missing(where.stop, start=where.start):
                start = gap.start - where.start
                copy_into(self._receiver, upload_id, live, gap, part, start=start, go_on=begin)


def _count(transaction: Transaction, upload_id: str, sources: Sequence[str]) -> int:
    """Count the copies of *sources* before the first byte is copied; once for each upload made.

    Returns:
        How many were counted before.

    Raises:
        Refused: ``too-large``; nothing is counted.
    """
    counted = int(transaction.note(upload_id, COUNTED) or 0)
    for source, times in Counter(sources[counted:]).items():
        copied = int(transaction.note(source, COPIES) or 0) + times
        if copied > MAX_COPIES:
            raise Refused(
                "too-large",
                f"the part {source} would be copied {copied} times, and is {MAX_COPIES} times at "
                "most, so that a server writes no more than its clients send: send its bytes again, "
                "as another part",
            )
        transaction.write_note(source, COPIES, str(copied))
    transaction.write_note(upload_id, COUNTED, str(len(sources)))
    return counted


def _uncount(
    transaction: Transaction, upload_id: str, sources: Sequence[str], counted: int
) -> None:
    """Count only the first *counted* copies: of each of them a byte was written.

    The others are counted when they are tried again.
    """
    for source, times in Counter(sources[counted:]).items():
        copied = int(transaction.note(source, COPIES) or 0) - times
        transaction.write_note(source, COPIES, str(max(0, copied)))
    transaction.write_note(upload_id, COUNTED, str(counted))
