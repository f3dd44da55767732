"""Uploads in memory whose bytes are put as objects that never change, as an S3 store keeps them.

What a hand has at a `sync` becomes objects: whole parts, each at its place ``n * part_bytes``, and
pieces of what fills none. Of two objects over one byte the one of the newer claim counts. To publish,
each part is one whole object: where there is none it is made of pieces, and only those bytes are put
twice. A part that is too small is refused, but for the last.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass

from ingest_server.storage.interface import Claim, Part
from ingest_server.storage.memory.blobs import MemoryBlobs, StoredBytes

PART_BYTES = 5 * 1024 * 1024
"""The least size of a part that S3 takes."""


@dataclass(frozen=True, slots=True)
class _Object:
    epoch: int
    start: int
    data: bytes

    @property
    def stop(self) -> int:
        return self.start + len(self.data)


class WriteOnceBlobs(MemoryBlobs):
    """Bytes are where they were put, for ever; newer ones hide older ones."""

    def __init__(self, part_bytes: int = PART_BYTES) -> None:
        super().__init__()
        self.part_bytes = part_bytes
        self.bytes_put = 0
        """Of all objects, those made to publish among them."""
        self._uploads: dict[str, list[_Object]] = {}

    def create_part(self, upload_id: str, place: str = "") -> None:  # noqa: ARG002 # it is one place
        """Make room for the bytes of a new upload.

        Raises:
            FileExistsError: the upload has some.
        """
        with self._lock:
            if upload_id in self._uploads:
                raise FileExistsError(upload_id)
            self._uploads[upload_id] = []

    def open_part(self, upload_id: str, claim: Claim | None = None) -> Part:
        with self._lock:
            self.objects(upload_id)
            return _Hand(self, upload_id, 0 if claim is None else claim.epoch)

    def part_length(self, upload_id: str) -> int | None:
        with self._lock:
            found = self._uploads.get(upload_id)
            return None if found is None else max((one.stop for one in found), default=0)

    def remove_part(self, upload_id: str) -> None:
        self._uploads.pop(upload_id, None)

    def part_ids(self) -> list[str]:
        return list(self._uploads)

    def put(self, upload_id: str, put: _Object) -> None:
        """Keep one object beside those that are there."""
        with self._lock:
            self.objects(upload_id).append(put)
            self.bytes_put += len(put.data)

    def keep_until(self, upload_id: str, length: int) -> None:
        with self._lock:
            self._uploads[upload_id] = [
                _Object(one.epoch, one.start, one.data[: length - one.start])
                for one in self.objects(upload_id)
                if one.start < length
            ]

    def objects(self, upload_id: str) -> list[_Object]:
        """Return what is stored of an upload.

        Raises:
            FileNotFoundError: there is no such upload, or its bytes were removed.
        """
        try:
            return self._uploads[upload_id]
        except KeyError:
            raise FileNotFoundError(upload_id) from None

    def read(self, upload_id: str, start: int, stop: int) -> bytes:
        """Return the newest bytes, up to *stop* or the end."""
        with self._lock:
            return _overlaid(self.objects(upload_id), start, stop)

    def whole(self, upload_id: str) -> bytes:
        """Return the file that the parts of an upload make up.

        Raises:
            OSError: a part before the last one is smaller than a store of objects takes.
        """
        with self._lock:
            parts = list(self._parts(upload_id))
            if any(len(one) < self.part_bytes for one in parts[:-1]):
                raise OSError(errno.EINVAL, "a part that is not the last is too small")
            return b"".join(parts)

    def _parts(self, upload_id: str) -> Iterator[bytes]:
        length = self.part_length(upload_id) or 0
        objects = self.objects(upload_id)
        for start in range(0, length, self.part_bytes):
            stop = min(start + self.part_bytes, length)
            over = [one for one in objects if one.start < stop and one.stop > start]
            newest = max(over, key=lambda one: one.epoch, default=None)
            data = _overlaid(objects, start, stop)
            if newest is None or (newest.start, newest.stop) != (start, stop):
                self.bytes_put += len(data)
            yield data


class _Hand(StoredBytes):
    def __init__(self, blobs: WriteOnceBlobs, upload_id: str, epoch: int) -> None:
        self._identity = f"{upload_id}:"
        self._blobs = blobs
        self._upload_id = upload_id
        self._epoch = epoch
        self._waiting: list[_Object] = []

    def pread(self, length: int, offset: int) -> bytes:
        durable = self._blobs.read(self._upload_id, offset, offset + length)
        kept = _Object(-1, offset, durable)
        return _overlaid([kept, *self._waiting], offset, offset + length)

    def pwrite(self, data: memoryview, offset: int) -> None:
        if data:
            self._waiting.append(_Object(self._epoch, offset, bytes(data)))

    def sync(self) -> None:
        waiting, self._waiting = self._waiting, []
        for start, stop in _runs(waiting):
            data = _overlaid(waiting, start, stop)
            at = start
            while at < stop:
                end = min(stop, (at // self._blobs.part_bytes + 1) * self._blobs.part_bytes)
                piece = data[at - start : end - start]
                self._blobs.put(self._upload_id, _Object(self._epoch, at, piece))
                at = end

    def cut(self, length: int) -> None:
        self._blobs.keep_until(self._upload_id, length)

    @property
    def length(self) -> int:
        return self._blobs.part_length(self._upload_id) or 0


def _overlaid(objects: list[_Object], start: int, stop: int) -> bytes:
    """Return the bytes of *objects* from *start* to *stop* or their end, the newest on top."""
    end = min(stop, max((one.stop for one in objects), default=0))
    found = bytearray(max(0, end - start))
    for one in sorted(objects, key=lambda one: one.epoch):  # stable: of one claim the later ones
        first, last = max(start, one.start), min(end, one.stop)
        if first < last:
            found[first - start : last - start] = one.data[first - one.start : last - one.start]
    return bytes(found)


def _runs(objects: list[_Object]) -> list[tuple[int, int]]:
    """Return where *objects* lie, those that touch as one."""
    runs: list[tuple[int, int]] = []
    for one in sorted(objects, key=lambda one: one.start):
        if runs and one.start <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(runs[-1][1], one.stop))
        else:
            runs.append((one.start, one.stop))
    return runs
