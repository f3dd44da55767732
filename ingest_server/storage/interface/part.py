"""A hand on bytes: of an upload while it arrives, or of a published file."""

from __future__ import annotations

import errno
from typing import Protocol


class Part(Protocol):
    """One request's own hand on the bytes of one upload, or of a published file to be read.

    Used by one thread at a time. Bytes that were never written and lie before some that were are
    zeros.
    """

    def pread(self, length: int, offset: int) -> bytes:
        """Return *length* bytes from *offset*, fewer only at the end of the bytes.

        What this hand wrote is read back before it is durable too.
        """
        ...

    def expect(self, start: int, stop: int) -> None:  # noqa: ARG002 # most ask for nothing else
        """Be told that ``[start, stop)`` is recorded now and will be read piece by piece; a hint.

        What is replaced from here on may be missed by this hand: whoever reads so has to see it otherwise.
        """
        return

    def pread_all(self, length: int, offset: int) -> bytes:
        """Return *length* bytes from *offset*.

        Raises:
            OSError: there are fewer.
        """
        data = self.pread(length, offset)
        if len(data) < length:
            raise OSError(errno.EIO, f"the bytes end at byte {offset + len(data)}")
        return data

    def pwrite(self, data: memoryview, offset: int) -> None:
        """Take all of *data*; not durable before `sync`.

        Raises:
            Refused: ``superseded``, from a store that several services share.
        """
        ...

    def copy_from(self, source: Part, length: int, *, start: int, offset: int) -> None:
        """Write *length* bytes of *source*, a hand of the same store, from *start* at *offset*.

        Raises:
            OSError: *source* has fewer, or the store failed.
        """
        ...

    def write_out(self, length: int, offset: int) -> None:
        """Begin with bytes that were written, so that `sync` finds less to do; a hint."""
        ...

    def sync(self) -> None:
        """Make every byte written through this hand so far durable.

        Raises:
            FileNotFoundError: the upload was removed meanwhile; a store need not notice.
            OSError: some were lost, and which is unknown. Never to be repeated by this hand: a
                second call may succeed and prove nothing.
        """
        ...

    def cut(self, length: int) -> None:
        """Drop what lies past *length*; durable on return. No other hand writes meanwhile."""
        ...

    @property
    def length(self) -> int:
        """The offset after the last byte."""
        ...

    def identity(self) -> str | None:
        """Return what tells these bytes, unchanged, from any other; opaque, see `Blobs.identity`."""
        ...

    def forget_cached(self) -> None:
        """Let the next reads come from where the bytes are durable, not from a cache."""
        ...

    def close(self) -> None:
        """Let go of it. What was not synced may be lost."""
        ...
