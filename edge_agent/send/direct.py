"""Bytes sent straight to the server's store, where the server offers that, and through the server where it fails.

It only helps: whatever goes wrong on that way, the same bytes go through the server next, and the other way is
tried again after a while. What broke off at a store is lost whole, unlike at the server. So only bytes go there that a
good link carries in a moment: slow links send small requests, and those go through the server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.errors import ConflictError, NotDirectError, NotOurServerError
from edge_agent.core.plan import MIB, within_borders
from edge_agent.media.source import Source
from edge_agent.send.body import ThrottledBody
from edge_agent.send.clients.interface import CanSendDirect, LaneClient
from edge_agent.send.lane_lock import LaneLock
from edge_agent.send.upload_progress import Unit, UploadProgress
from upload_protocol.digests import Digest
from upload_protocol.direct import MAX_PARTS, Part, SentPart
from upload_protocol.messages import UploadStatus
from upload_protocol.ranges import ByteRange

_LEAST_BYTES = MIB
"""Two more round trips to the server are not worth less."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 60.0, 3600.0

log = structlog.get_logger()


class DirectWay:
    """Whether the store is worth a try; of one link, called with the lanes' lock held."""

    def __init__(self, activity: Activity, clock: Clock) -> None:
        self._activity = activity
        self._clock = clock
        self._failures = 0
        self._until_s = 0.0

    def is_open(self) -> bool:
        return self._clock.now_s() >= self._until_s

    def failed(self, error: NotDirectError) -> None:
        """Take in that bytes have to go through the server, and say so, for longer each time."""
        wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        self._until_s = self._clock.now_s() + wait_s
        level = log.warning if self._failures == 1 else log.info
        level("direct.failed", error=str(error), failures=self._failures, wait_s=wait_s)
        self._activity.note_direct(
            f"recordings go through the server, and not straight to its store ({error}); that is tried again"
        )

    def worked(self) -> None:
        """Take in that the server has what was sent straight to its store."""
        if self._failures:
            log.info("direct.restored", failures=self._failures)
        self._failures = 0
        self._activity.note_direct(None)

    def rest(self) -> None:
        """Nothing is sent: what was said of a store that would be tried again by now may be over."""
        if self.is_open():
            self._activity.note_direct(None)


class DirectSending:
    """What one lane sends to the store. Called with the lanes' lock held; requests and reads open it."""

    def __init__(
        self, client: LaneClient, way: DirectWay, *, lock: LaneLock, body: ThrottledBody
    ) -> None:
        self._client = client
        self.way = way
        self._lock = lock
        self._body = body

    def takes(self, progress: UploadProgress, where: ByteRange) -> bool:
        """Return whether *where* is to go straight to the store: what the server has, and a repair, does not."""
        return (
            progress.direct_part_bytes is not None
            and isinstance(self._client, CanSendDirect)
            and where.length >= _LEAST_BYTES
            and not progress.held.within(where)
            and not progress.to_replace.within(where)
            and self.way.is_open()
        )

    def send(self, unit: Unit, where: ByteRange) -> UploadStatus | None:
        """Send *where* part by part, each reported once the store has it; return what the server said last.

        None, or a status without all of it: the rest goes through the server, which is asked first.

        Raises:
            TransportError: of a request to the server, as ever. What it was not told of the store is told later.
            SourceError: the file is not the one that was to be sent.
        """
        client, progress, source = self._client, unit.progress, unit.source
        border, upload_id = progress.direct_part_bytes, unit.recording.upload_id
        if border is None or upload_id is None or not isinstance(client, CanSendDirect):
            return None
        status: UploadStatus | None = None
        try:
            with self._lock.opened():
                parts = _hashed(source, within_borders(where, border)[:MAX_PARTS])
                signed = client.sign_parts(upload_id, parts)
            source.check(unit.recording.identity)
            for part in signed:
                body = self._body.pieces(unit, part.range)
                with self._lock.opened():
                    client.put_part(part, body)
                progress.unreported += (part.sent,)
                with self._lock.opened():
                    status = client.report_parts(upload_id, [part.sent])
                progress.unreported = _without(progress.unreported, part.range)
                if not status.received.covers(part.range):
                    raise NotDirectError("the server has not recorded what its store has")
        except NotDirectError as error:
            self.way.failed(error)
        except NotOurServerError as error:
            # Something on the way, or another version, does not know of this.
            self.way.failed(NotDirectError(str(error)))
        else:
            self.way.worked()
        return status

    def tell_of_unreported(self, upload_id: str, progress: UploadProgress) -> None:
        """Report what the store has and the server does not know, before the server is asked what it has.

        Raises:
            TransportError: of a request to the server; it is told later.
        """
        left = progress.unreported
        if not left or not isinstance(self._client, CanSendDirect):
            return
        try:
            with self._lock.opened():
                self._client.report_parts(upload_id, left)
        except (NotDirectError, ConflictError, NotOurServerError) as error:
            log.info("direct.not_recorded", upload_id=upload_id, error=str(error))
        for one in left:
            progress.unreported = _without(progress.unreported, one.range)


def _without(parts: tuple[SentPart, ...], where: ByteRange) -> tuple[SentPart, ...]:
    return tuple(one for one in parts if one.range != where)


def _hashed(source: Source, ranges: Sequence[ByteRange]) -> list[Part]:
    parts = []
    for where in ranges:
        found = hashlib.sha256()
        for piece in source.pieces(where):
            found.update(piece)
        parts.append(Part(where, Digest(found.digest())))
    return parts
