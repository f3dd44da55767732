"""Uploads in memory whose bytes are overwritten in place, as those of files are.

Unlike files it serves several services at once, so it is the store that keeps a superseded hand from
overwriting what a newer one wrote: each hand that writes is known by its claim.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest_server.core.errors import Refused
from ingest_server.storage.interface import Claim, Part
from ingest_server.storage.memory.blobs import MemoryBlobs, StoredBytes
from upload_protocol.ranges import ByteRange


@dataclass(slots=True)
class _Upload:
    data: bytearray = field(default_factory=bytearray)
    claims: list[Claim] = field(default_factory=list)
    """Of every hand that was ever opened to write."""


class OverwritingBlobs(MemoryBlobs):
    """Bytes are where they were written last."""

    def __init__(self) -> None:
        super().__init__()
        self._uploads: dict[str, _Upload] = {}

    def create_part(self, upload_id: str, place: str = "") -> None:  # noqa: ARG002 # it is one place
        """Make room for the bytes of a new upload.

        Raises:
            FileExistsError: the upload has some.
        """
        with self._lock:
            if upload_id in self._uploads:
                raise FileExistsError(upload_id)
            self._uploads[upload_id] = _Upload()

    def open_part(self, upload_id: str, claim: Claim | None = None) -> Part:
        with self._lock:
            upload = self._found(upload_id)
            if claim is not None:
                upload.claims.append(claim)
            return _Hand(self, upload_id, upload, claim)

    def part_length(self, upload_id: str) -> int | None:
        upload = self._uploads.get(upload_id)
        return None if upload is None else len(upload.data)

    def remove_part(self, upload_id: str) -> None:
        self._uploads.pop(upload_id, None)

    def part_ids(self) -> list[str]:
        return list(self._uploads)

    def whole(self, upload_id: str) -> bytes:
        return bytes(self._found(upload_id).data)

    def _found(self, upload_id: str) -> _Upload:
        try:
            return self._uploads[upload_id]
        except KeyError:
            raise FileNotFoundError(upload_id) from None


class _Hand(StoredBytes):
    def __init__(
        self, blobs: OverwritingBlobs, upload_id: str, upload: _Upload, claim: Claim | None
    ) -> None:
        self._identity = f"{upload_id}:"
        self._lock = blobs._lock
        self._upload = upload
        self._claim = claim

    def pread(self, length: int, offset: int) -> bytes:
        with self._lock:
            return bytes(self._upload.data[offset : offset + length])

    def pwrite(self, data: memoryview, offset: int) -> None:
        with self._lock:
            self._refuse_superseded(offset, len(data))
            found = self._upload.data
            found.extend(bytes(max(0, offset + len(data) - len(found))))
            found[offset : offset + len(data)] = data

    def _refuse_superseded(self, offset: int, length: int) -> None:
        mine = self._claim
        if mine is None or not length:
            return
        where = ByteRange(offset, offset + length)
        for one in self._upload.claims:
            if one.epoch > mine.epoch and one.where.intersects(where):
                raise Refused("superseded", "a newer request sends these bytes")

    def cut(self, length: int) -> None:
        with self._lock:
            del self._upload.data[length:]

    @property
    def length(self) -> int:
        return len(self._upload.data)
