"""Objects read as files are: at any offset, and onwards from there in one answer."""

from __future__ import annotations

import errno

from ingest_server.storage.read_only import ReadOnly
from ingest_server.storage.s3.bucket import Bucket, Listed, Stream
from ingest_server.storage.s3.store_errors import TakenError

SKIPPED_BYTES = 256 * 1024
"""Read past rather than asked for anew."""


class ObjectReader:
    """One object; who reads on gets it from the answer that is under way."""

    def __init__(self, bucket: Bucket, stored: Listed) -> None:
        self.stored = stored
        self._bucket = bucket
        self._stream: Stream | None = None
        self._at = 0

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)``, all of which the object has.

        Raises:
            OSError: the store does not give them.
        """
        for is_last in (False, True):
            try:
                self._go_to(start)
                assert self._stream is not None  # noqa: S101 - `_go_to` has made it
                data = self._stream.read(stop - start)
                if len(data) == stop - start:
                    self._at = stop
                    return data
            except (FileNotFoundError, TakenError):
                raise
            except OSError:
                if is_last:
                    raise
            self.close()  # the answer broke off: what is left is asked for anew, once
        raise OSError(errno.EIO, "the store's answer ended early", self.stored.key)

    def _go_to(self, start: int) -> None:
        if self._stream is not None and self._at <= start <= self._at + SKIPPED_BYTES:
            self._stream.read(start - self._at)
        else:
            self.close()
            key, size = self.stored.key, self.stored.size
            self._stream = self._bucket.stream(key, start, size, self.stored.etag)
        self._at = start

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class PublishedObject(ReadOnly):
    """A hand on one published object, as it was when this was opened: a newer one is an error."""

    def __init__(self, bucket: Bucket, stored: Listed, identity: str) -> None:
        self._reader = ObjectReader(bucket, stored)
        self._identity = identity

    def pread(self, length: int, offset: int) -> bytes:
        stop = min(offset + length, self.length)
        return self._reader.read(offset, stop) if offset < stop else b""

    @property
    def length(self) -> int:
        return self._reader.stored.size

    def identity(self) -> str | None:
        return self._identity

    def forget_cached(self) -> None:
        """Let the next bytes be asked for anew."""
        self._reader.close()

    def close(self) -> None:
        self._reader.close()
