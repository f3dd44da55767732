"""What hands that only read have in common, whatever store they are of."""

from __future__ import annotations

import errno

from ingest_server.storage.interface import Part


class ReadOnly(Part):
    """A hand that only reads."""

    def pwrite(self, data: memoryview, offset: int) -> None:  # noqa: ARG002 # it is not taken
        """Refuse: it was opened to be read.

        Raises:
            OSError: always.
        """
        raise PermissionError(errno.EACCES, "a published file is not written to")

    def copy_from(self, source: Part, length: int, *, start: int, offset: int) -> None:
        self.pwrite(memoryview(source.pread_all(length, start)), offset)

    def write_out(self, length: int, offset: int) -> None:
        """Nothing waits."""

    def sync(self) -> None:
        """Nothing waits."""

    def cut(self, length: int) -> None:
        if length < self.length:
            self.pwrite(memoryview(b""), length)
