"""Bytes on their way out: at the allowed rate, hashed in the same pass, and shown as they go."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edge_agent.activity import Activity, Current, Reason, Wait
from edge_agent.clock import Clock
from edge_agent.core.pacing import Pace
from edge_agent.core.progress import Rate, eta_s
from edge_agent.delivery import Delivery
from edge_agent.errors import AbortedError
from edge_agent.recording import Recording
from edge_agent.source import PIECE_BYTES, Source
from upload_protocol.ranges import ByteRange

WORKER = "sender"

_SHOW_S = 0.25
"""Progress is shown this often, however small the pieces are."""

_NAMED_PAUSE_S = 0.5
"""A pause of the rate limit that is longer is named; shorter ones are just slow sending."""


class Outflow:
    """Makes the bodies of requests."""

    def __init__(
        self,
        activity: Activity,
        clock: Clock,
        *,
        pause: Callable[[float], object],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._activity = activity
        self._clock = clock
        self._pause = pause
        self._is_stopping = is_stopping
        self._pace: Pace | None = None
        self._shown_s = 0.0
        self.rate = Rate()
        """Of acknowledged bytes, over all requests of the lane."""

    def limit(self, bytes_per_s: float | None) -> None:
        """Keep to *bytes_per_s* from the next piece on; None: as fast as it goes."""
        if bytes_per_s is None:
            self._pace = None
        elif self._pace is None or self._pace.bytes_per_s != bytes_per_s:
            self._pace = Pace(bytes_per_s)

    def body(
        self, recording: Recording, source: Source, delivery: Delivery, where: ByteRange
    ) -> Iterator[bytes]:
        """Yield the bytes of *where* at the allowed rate, hashing them in the same pass."""
        source.check(recording.identity)
        at = where.start
        size = PIECE_BYTES if self._pace is None else self._pace.piece_bytes(PIECE_BYTES)
        for piece in source.pieces(where, piece_bytes=size):
            self._keep_pace(len(piece))
            if self._is_stopping():
                raise AbortedError("stopped while sending")
            at += len(piece)
            if at == where.stop:
                # After the last read and before the last byte leaves: a body that is complete is one
                # whose bytes were all of the same content.
                source.check(recording.identity)
            delivery.digest.feed(at - len(piece), piece)
            delivery.sent += len(piece)
            yield piece
            self._show_at_times(recording, delivery, in_flight=at - where.start)
        source.release_cache(where)

    def _keep_pace(self, wanted: int) -> None:
        if self._pace is None:
            return
        now_s = self._clock.now_s()
        delay_s = self._pace.delay_s(wanted, now_s)
        if delay_s <= 0:
            return
        if delay_s > _NAMED_PAUSE_S:
            detail = f"the rate is limited to {self._pace.bytes_per_s:.0f} bytes/s"
            self._activity.block(Wait(Reason.BANDWIDTH, detail, now_s + delay_s))
        self._pause(delay_s)
        self._activity.block(None)

    def _show_at_times(self, recording: Recording, delivery: Delivery, *, in_flight: int) -> None:
        now_s = self._clock.now_s()
        if now_s - self._shown_s >= _SHOW_S:
            self._activity.beat(WORKER, now_s)
            self.show(recording, delivery, in_flight=in_flight)

    def show(self, recording: Recording, delivery: Delivery, *, in_flight: int) -> None:
        self._shown_s = self._clock.now_s()
        acknowledged = delivery.held.total
        rate = self.rate.bytes_per_s
        length = recording.identity.length
        self._activity.sending(
            Current(
                recording_id=recording.id,
                name=recording.name,
                length=length,
                acknowledged=acknowledged,
                in_flight=in_flight,
                attempt=delivery.attempts,
                started_s=delivery.started_s,
            ),
            rate_bytes_per_s=rate,
            eta_s=eta_s(max(0, length - acknowledged - in_flight), rate),
        )
