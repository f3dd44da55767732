"""An object with a published name, made of objects that are there: pieces of an upload, or another one.

Each attempt is an upload of parts of its own, so that two that run at once never mix: a number is put once, and
what its ETag named is what is completed. What an attempt leaves when it is cut off is given up by the next one.

A part is copied inside the store where one object has its bytes, else read and put. All parts are equal but
for the last, are numbered from 1 without a gap, and never too many.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import structlog

from ingest_server.storage.s3.bucket import Bucket, Listed
from ingest_server.storage.s3.pieces import PART_BYTES, Piece, PieceRun, overlaid, part_bytes_of
from ingest_server.storage.s3.store_errors import GoneUploadError, TakenError, UnknownCallError

AT_ONCE = 4
"""Parts of one file at work: a copy is a wait. Large parts are fewer, for each may have to be in memory."""

log = structlog.get_logger()


def at_once(part_bytes: int) -> int:
    """Return how many parts of that size are at work."""
    return max(1, AT_ONCE * PART_BYTES // part_bytes)


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes ``[start, stop)`` of an object."""

    stored: Listed
    start: int
    stop: int

    @classmethod
    def of(cls, run: PieceRun) -> Source:
        """Return where the bytes of *run* are.

        Raises:
            OSError: nowhere.
        """
        if run.piece is None:
            said = f"the store has lost the bytes {run.start} to {run.stop} of an upload"
            raise OSError(errno.EIO, said)
        shift = run.piece.start
        return cls(run.piece.stored, run.start - shift, run.stop - shift)


class Assembly:
    """Makes objects."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self.can_copy = True
        """As far as it has been tried."""

    def of_pieces(
        self, key: str, pieces: Sequence[Piece], length: int, facts: Mapping[str, str]
    ) -> None:
        """Make the object *key* of an upload's bytes; durable on return, as far as the store keeps that.

        Raises:
            TakenError: there is an object of that key.
            OSError: bytes are missing, or the store failed; the object may be there all the same.
        """
        size = part_bytes_of(length)
        parts = [
            [Source.of(run) for run in overlaid(pieces, start, min(start + size, length))]
            for start in range(0, length, size)
        ]
        self._make(key, parts, facts)

    def of_object(self, key: str, source: Listed, facts: Mapping[str, str]) -> None:
        """Make the object *key* with the bytes of another one; see `of_pieces`."""
        size = part_bytes_of(source.size)
        parts = [
            [Source(source, start, min(start + size, source.size))]
            for start in range(0, source.size, size)
        ]
        self._make(key, parts, facts)

    def of_chunks(self, key: str, chunks: Iterator[bytes], facts: Mapping[str, str]) -> None:
        """Make the object *key* of bytes as they come; see `of_pieces`.

        Args:
            chunks: all of one size that is fit for a part, but for the last. What it raises at its end keeps
                the object from being made.
        """
        first = next(chunks, b"")
        second = next(chunks, None)
        if second is None:
            self._bucket.put(key, first, is_new=True, facts=facts)
            return
        self.clear(key)
        made_as = self._bucket.begin(key, facts)
        try:
            numbered = enumerate(chain((first, second), chunks), 1)
            etags = [self._bucket.put_part(key, made_as, *one) for one in numbered]
            self._complete(key, made_as, etags)
        except BaseException:
            self._give_up(key, made_as)
            raise

    def _make(self, key: str, parts: list[list[Source]], facts: Mapping[str, str]) -> None:
        sizes = [sum(one.stop - one.start for one in part) for part in parts]
        if sum(sizes) <= PART_BYTES:
            whole = b"".join(self._read(part) for part in parts)
            self._bucket.put(key, whole, is_new=True, facts=facts)
            return
        self.clear(key)
        if self.can_copy:
            try:
                self._attempt(key, parts, facts, copies=True)
            except UnknownCallError:
                # Begun anew: some take a copy for a part without bytes, and let none be put in its place.
                self.can_copy = False
                log.warning("store.copies_nothing", error="each part is read and sent once more")
            else:
                return
        self._attempt(key, parts, facts, copies=False)

    def _attempt(
        self, key: str, parts: list[list[Source]], facts: Mapping[str, str], *, copies: bool
    ) -> None:
        part_bytes = max(sum(one.stop - one.start for one in part) for part in parts)
        made_as = self._bucket.begin(key, facts)
        try:
            with ThreadPoolExecutor(at_once(part_bytes), thread_name_prefix="parts") as pool:
                jobs = [
                    pool.submit(self._part, key, made_as, number, part, copies=copies)
                    for number, part in enumerate(parts, 1)
                ]
                try:
                    etags = [job.result() for job in jobs]
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
            self._complete(key, made_as, etags)
        except OSError:
            self._give_up(key, made_as)
            raise

    def _complete(self, key: str, made_as: str, etags: Sequence[str]) -> None:
        try:
            self._bucket.complete(key, made_as, etags)
        except (GoneUploadError, TakenError):
            # An answer that was lost, or another replica. Neither says that this object is there: that is
            # looked at, and its bytes are read, by whoever asked.
            if self._bucket.head(key) is None:
                raise
            raise TakenError(errno.EEXIST, "an object is there", key) from None

    def _part(
        self, key: str, made_as: str, number: int, sources: list[Source], *, copies: bool
    ) -> str:
        if len(sources) == 1 and copies:
            [one] = sources
            return self._bucket.copy_part(
                key, made_as, number, one.stored, start=one.start, stop=one.stop
            )
        return self._bucket.put_part(key, made_as, number, self._read(sources))

    def _read(self, sources: list[Source]) -> bytes:
        return b"".join(self._bucket.get(one.stored, one.start, one.stop) for one in sources)

    def clear(self, key: str) -> None:
        """Give up what earlier attempts at *key* have left."""
        for made_as in self._bucket.unfinished(key):
            self._give_up(key, made_as)

    def _give_up(self, key: str, made_as: str) -> None:
        try:
            self._bucket.give_up(key, made_as)
        except OSError as error:  # it takes up room, and the next attempt tries again
            log.warning("parts.left", key=key, error=str(error))
