"""Digests of the blocks of an unfinished upload: what repair compares with its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import closing

from ingest_server.base.settings import GIB, KIB, MIB
from ingest_server.core.errors import Refused, disk_refusals
from ingest_server.core.record import end_of, refuse_unless_open
from ingest_server.uploads.fair_pool import FairPool
from ingest_server.uploads.hashing import block_digests
from ingest_server.uploads.store import UploadStore, stopped
from upload_protocol.messages import BlockDigests
from upload_protocol.ranges import ByteRange

MIN_BLOCK = 4 * KIB
MAX_BLOCK = 64 * MIB
MAX_BLOCKS = 4096
BYTES_PER_ANSWER = GIB
"""Bytes hashed for one answer: some seconds of a disk, not minutes."""
BUSY_RETRY_S = 5.0
"""When to ask again for what has not begun: whoever reads whole files needs minutes, or hours."""


def check_asked(size: int, start: int, limit: int) -> None:
    """Refuse what nobody needs and would keep the disk busy.

    Raises:
        Refused: ``malformed-request``.
    """
    if MIN_BLOCK <= size <= MAX_BLOCK and 0 <= start < 2**53 and 1 <= limit <= MAX_BLOCKS:
        return
    raise Refused(
        "malformed-request",
        f"size from {MIN_BLOCK} to {MAX_BLOCK}, start from 0, limit from 1 to {MAX_BLOCKS}",
    )


class Blocks:
    """Reads blocks from the disk, for one caller of an upload at a time."""

    def __init__(
        self, store: UploadStore, readers: FairPool, *, wait_s: Callable[[], float]
    ) -> None:
        """Join the parts.

        Args:
            wait_s: how long a request waits until its reading begins, and how long that goes on, in seconds.
        """
        self._store = store
        self._readers = readers
        self._wait_s = wait_s

    def read(
        self,
        device: str | None,
        upload_id: str,
        *,
        size: int,
        start: int,
        limit: int,
        has_left: Callable[[], bool] = bool,
    ) -> BlockDigests:
        """Return the digests of what is fully received among the blocks from *start* on.

        A slow disk gives fewer than were asked for, at least one: whoever asks again, since an answer
        took too long, would begin anew each time.

        Args:
            device: whose the upload has to be; None: anybody's.
            upload_id: the upload.
            size: of a block, in bytes.
            start: the first block.
            limit: how many at most.
            has_left: whether the caller has gone; asked before each block, which nobody else needs.

        Raises:
            Refused: it is unknown, or takes no bytes; somebody else reads blocks of it, its bytes change meanwhile, whole files are
                read first, or the caller has left.
        """
        record = self._store.find(device, upload_id)
        check_asked(size, start, limit)
        refuse_unless_open(record)
        with self._store.live.hold(record.id) as live:
            if not live.reading_blocks.acquire(blocking=False):
                raise Refused("server-busy", "blocks of it are being read", retry_after_s=2)
            try:
                live.seal()
                reading = self._readers.submit(
                    record.device, lambda: self._read(record.id, size, start, limit, has_left)
                )
                return self._outcome(reading)
            except CancelledError:
                raise stopped() from None
            except Refused as refused:
                raise refused.again() from refused
            finally:
                live.reading_blocks.release()

    def _outcome(self, reading: Future[BlockDigests]) -> BlockDigests:
        """Return what was read, once it was begun in time: then it takes some seconds at most."""
        try:
            return reading.result(self._wait_s())
        except FutureTimeoutError:  # not begun, or about to end by itself
            if reading.cancel():
                raise Refused(
                    "server-busy", "whole files are being read first", retry_after_s=BUSY_RETRY_S
                ) from None
        return reading.result()

    def _read(
        self, upload_id: str, size: int, start: int, limit: int, has_left: Callable[[], bool]
    ) -> BlockDigests:
        record = self._store.state.get(upload_id)
        length = end_of(record.received) if record.length is None else record.length
        stop = min(-(-length // size), start + min(limit, max(1, BYTES_PER_ANSWER // size)))
        whole = [
            number
            for number in range(start, stop)
            if record.received.covers(ByteRange(number * size, min((number + 1) * size, length)))
        ]
        with disk_refusals(), closing(self._store.blobs.open_part(upload_id)) as part:
            wanted = _while_there(self._in_time(whole), has_left)
            found = block_digests(part, size, wanted, length, self._store.is_stopping)
        if self._store.state.get(upload_id).rewrites != record.rewrites:
            raise Refused("server-busy", "bytes were replaced meanwhile", retry_after_s=1)
        if len(found) < len(whole):
            return BlockDigests(size, found, whole[len(found)])
        return BlockDigests(size, found, stop if stop * size < length else None)

    def _in_time(self, numbers: Iterable[int]) -> Iterator[int]:
        """Yield the first, and then those that are begun soon enough."""
        now_s = self._store.clock.now_s
        ends_s = now_s() + self._wait_s()
        for index, number in enumerate(numbers):
            if index and now_s() >= ends_s:
                return
            yield number


def _while_there(numbers: Iterable[int], has_left: Callable[[], bool]) -> Iterator[int]:
    for number in numbers:
        if has_left():
            raise Refused("request-timeout", "whoever asked for digests of blocks has left")
        yield number
