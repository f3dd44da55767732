"""Filling a part of an upload with stored bytes of the same store, instead of with a client's.

Copied by the kernel, which shares the blocks where the filesystem can. The running hash does not see
the bytes: verifying reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from ingest_server.base.settings import MIB
from ingest_server.storage.interface import Part
from ingest_server.uploads.live import Live
from ingest_server.uploads.receive import BodyReceiver
from upload_protocol.ranges import ByteRange

COPY_BYTES = 8 * MIB
"""Copied at once, and durable before the next: in between, a copy can be superseded or broken off. Whoever takes
over waits for that, as for a seal, and some stores are a network away."""


class _Nobody:
    """The sender of bytes that are here already."""

    def interrupt(self) -> None:
        pass


_NOBODY = _Nobody()


def copy_into(
    receiver: BodyReceiver,
    upload_id: str,
    live: Live,
    gap: ByteRange,
    source: Part,
    *,
    start: int,
    go_on: Callable[[], None],
) -> None:
    """Copy *source*, from *start* on, to a *gap* of an upload; durable and recorded on return.

    Args:
        receiver: what writers are made by.
        upload_id: the upload.
        live: of the upload.
        gap: where nothing is recorded.
        source: a hand of the same store.
        start: where its bytes for the *gap* begin.
        go_on: called before each piece; what it raises ends the copy, and what was copied stays.

    Raises:
        Refused: superseded, the upload takes no bytes, or they are more than its device may have.
        OSError: one of both cannot be read or written.
    """
    allowance = receiver.allowance()
    with closing(
        receiver.writer(upload_id, gap, _NOBODY, live, allowance, is_held=False, counts=False)
    ) as writer:
        live.enter(writer)
        try:
            writer.begin()
            while writer.position < gap.stop:
                size = min(COPY_BYTES, gap.stop - writer.position)
                allowance.renew(size)
                go_on()
                writer.copy(source, start + writer.position - gap.start, size)
                writer.seal()
            writer.finish()
        finally:
            live.leave(writer)
