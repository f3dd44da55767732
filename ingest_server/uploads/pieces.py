"""Bytes that are handed out piece by piece, while what they are of may still change.

A reader never gets bytes of two contents, nor more than it may have, without seeing that it was cut:
each piece is looked at again after it was read, and now and then the reader is.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import structlog

from ingest_server.core.errors import Refused
from ingest_server.storage.interface import Part

log = structlog.get_logger()

PIECE_BYTES = 128 * 1024
"""Read and sent at once; a reader that takes nothing keeps one in memory."""
ASKED_EACH = 16
"""Pieces after which it is asked again whether its reader may still have it."""


class Pieces:
    """The bytes of one part, open to be read."""

    def __init__(
        self, part: Part, upload_id: str, stands: Callable[[], bool], *, fallen: str, event: str
    ) -> None:
        """*part* is closed with this.

        Args:
            stands: whether what was just read is still what is handed out.
            fallen: what is said where it is not.
            event: in the log, of a reader that was cut.
        """
        self._part = part
        self._upload_id = upload_id
        self._stands = stands
        self._fallen = fallen
        self._event = event

    def close(self) -> None:
        self._part.close()

    def pieces(self, start: int, stop: int, question: Callable[[], None]) -> Iterator[bytes]:
        """Yield the bytes ``[start, stop)``.

        Args:
            question: raises `Refused` once whoever reads may not have more.

        Raises:
            ConnectionAbortedError: no more may be given; the reader is to see that it was cut.
        """
        count = 0
        self._part.expect(start, stop)
        while start < stop:
            if count % ASKED_EACH == 0:
                self._ask(question)
            count += 1
            data = self._part.pread(min(PIECE_BYTES, stop - start), start)
            if not data or not self._stands():
                raise self._cut(self._fallen)
            start += len(data)
            yield data

    def _ask(self, question: Callable[[], None]) -> None:
        try:
            question()
        except Refused as refused:
            raise self._cut(refused.detail) from refused

    def _cut(self, why: str) -> ConnectionAbortedError:
        log.warning(self._event, upload_id=self._upload_id, error=why)
        return ConnectionAbortedError(errno.ECONNABORTED, why)
