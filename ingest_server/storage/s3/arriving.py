"""One request's hand on an upload whose bytes are pieces."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from ingest_server.storage.interface import Claim, Part
from ingest_server.storage.s3.bucket import Bucket, Listed
from ingest_server.storage.s3.pieces import (
    MIB,
    PART_BYTES,
    Piece,
    cut_at_borders,
    end_of,
    first_name_at,
    name_of,
    overlaid,
)
from ingest_server.storage.s3.reading import ObjectReader
from upload_protocol.ranges import ByteRange


class Pieces:
    """What a store has of one upload."""

    def __init__(self, bucket: Bucket, folder: str) -> None:
        """*folder*: what the keys of its pieces begin with."""
        self._bucket = bucket
        self.folder = folder

    def all(self) -> list[Piece]:
        return list(self._found(""))

    def around(self, start: int, stop: int) -> list[Piece]:
        """Return the pieces that may have bytes of ``[start, stop)``."""
        found = []
        for one in self._found(self.folder + first_name_at(start)):
            if one.start >= stop:
                break
            found.append(one)
        return found

    def has_from(self, start: int) -> bool:
        """Whether a piece begins at *start* or later."""
        after = f"{self.folder}{start:015}-"
        return any(Piece.of(one) for one in self._bucket.listed(self.folder, after=after))

    def _found(self, after: str) -> Iterator[Piece]:
        for stored in self._bucket.listed(self.folder, after=after):
            piece = Piece.of(stored)
            if piece is not None:
                yield piece

    def put(self, data: bytes | bytearray, start: int, order: tuple[int, int], nonce: str) -> Piece:
        """Store one piece; durable on return."""
        stop = start + len(data)
        key = self.folder + name_of(start, stop, *order, nonce)
        self._bucket.put(key, data)
        return Piece(start, stop, order, Listed(key, len(data), ""))


class ArrivingObject(Part):
    """Takes what is written into memory until `sync` puts it: as much as is sealed at once."""

    def __init__(self, bucket: Bucket, upload_id: str, folder: str, claim: Claim | None) -> None:
        self._bucket = bucket
        self._upload_id = upload_id
        self._pieces = Pieces(bucket, folder)
        self._epoch = 0 if claim is None else claim.epoch
        self._nonce = secrets.token_hex(4)
        self._count = 0
        self._waiting: list[tuple[int, bytearray]] = []
        """Runs that were written and not synced, in the order in which they came."""
        self._still: list[Piece] | None = None
        """All pieces, once nobody writes any more."""
        self._reader: ObjectReader | None = None
        self._expected = ByteRange(0, 1)
        """What was recorded, all of it, when it was set."""
        self._seen: tuple[ByteRange, list[Piece]] | None = None
        """Which pieces have the bytes of a part of it."""

    def expect(self, start: int, stop: int) -> None:
        """As `Part` says: each part of the upload is listed once for all reads in it."""
        self._seen = None
        self._expected = ByteRange(start, stop) if start < stop else ByteRange(0, 1)

    def pread(self, length: int, offset: int) -> bytes:
        found = bytearray(self._durable(length, offset))
        for start, data in self._waiting:
            first, last = max(start, offset), min(start + len(data), offset + length)
            if first < last:
                if last - offset > len(found):
                    found += bytes(last - offset - len(found))
                found[first - offset : last - offset] = data[first - start : last - start]
        return bytes(found)

    def _durable(self, length: int, offset: int) -> bytes:
        stop = offset + length
        pieces = self._around(offset, stop)
        if end_of(pieces) < stop and not self._goes_on_from(stop):
            stop = end_of(pieces)
        if stop <= offset:
            return b""
        return b"".join(
            bytes(run.stop - run.start)
            if run.piece is None
            else self._read(run.piece, run.start, run.stop)
            for run in overlaid(pieces, offset, stop)
        )

    def _around(self, offset: int, stop: int) -> list[Piece]:
        if self._still is not None:
            return self._still
        if not _lies_in(self._expected, offset, stop):
            return self._pieces.around(offset, stop)
        # Nothing that is recorded is hidden by what is not, so pieces that are listed later change nothing.
        if self._seen is None or not _lies_in(self._seen[0], offset, stop):
            end = max(stop, (offset // PART_BYTES + 1) * PART_BYTES)
            seen = ByteRange(offset, min(end, self._expected.stop))
            self._seen = seen, self._pieces.around(seen.start, seen.stop)
        return self._seen[1]

    def _goes_on_from(self, stop: int) -> bool:
        return self._still is None and self._pieces.has_from(stop)

    def _read(self, piece: Piece, start: int, stop: int) -> bytes:
        if self._reader is None or self._reader.stored.key != piece.stored.key:
            self._close_reader()
            self._reader = ObjectReader(self._bucket, piece.stored)
        return self._reader.read(start - piece.start, stop - piece.start)

    def pwrite(self, data: memoryview, offset: int) -> None:
        if not data:
            return
        last_start, last = self._waiting[-1] if self._waiting else (0, bytearray())
        if last and last_start + len(last) == offset:
            last += data
        else:
            last = bytearray(data)
            self._waiting.append((offset, last))
        if sum(len(waiting) for _, waiting in self._waiting) >= PART_BYTES + MIB:
            # A writer whose digest is still to be checked does not sync: memory is not for a whole file.
            self.sync()

    def copy_from(self, source: Part, length: int, *, start: int, offset: int) -> None:
        """As `Part` says; put part by part, so that no more than one is in memory.

        Raises:
            OSError: *source* ends before, or the store failed.
        """
        for first, last in cut_at_borders(offset, offset + length):
            self.pwrite(memoryview(source.pread_all(last - first, start + first - offset)), first)
            self.sync()

    def write_out(self, length: int, offset: int) -> None:
        """Nothing is put twice: a piece is as large as it can be."""

    def sync(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._seen = None  # which lacks what is put now
        for start, data in waiting:
            stop = start + len(data)
            for first, last in cut_at_borders(start, stop):
                is_whole = (first, last) == (start, stop)
                piece = data if is_whole else data[first - start : last - start]
                self._count += 1
                self._pieces.put(piece, first, (self._epoch, self._count), self._nonce)

    def cut(self, length: int) -> None:
        """As `Part` says. Nobody writes any more: what there is now is not looked for again."""
        kept, gone = [], []
        for one in self._pieces.all():
            if one.stop > length:
                gone.append(one.stored.key)
            if one.stop <= length:
                kept.append(one)
            elif one.start < length:
                data = self._read(one, one.start, length)
                kept.append(self._pieces.put(data, one.start, one.order, secrets.token_hex(4)))
        self._bucket.delete_all(gone)
        self._still = kept

    @property
    def length(self) -> int:
        pieces = self._pieces.all() if self._still is None else self._still
        return end_of(pieces)

    def identity(self) -> str | None:
        return f"{self._upload_id}:"

    def forget_cached(self) -> None:
        """Let the next bytes be asked for anew."""
        self._seen = None
        self._close_reader()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def close(self) -> None:
        self.forget_cached()


def _lies_in(where: ByteRange, start: int, stop: int) -> bool:
    return where.start <= start and stop <= where.stop
