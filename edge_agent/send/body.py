"""Bytes on their way out, of all lanes: at the allowed rate, hashed in the same pass, and shown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from edge_agent.base.activity import Activity, Current, Reason, Wait
from edge_agent.base.clock import Clock
from edge_agent.base.errors import AbortedError
from edge_agent.core.pacing import Pace
from edge_agent.core.progress import Rate, eta_s
from edge_agent.core.recording import Recording
from edge_agent.media.source import PIECE_BYTES, Source
from edge_agent.send.upload_progress import Flight, UploadProgress
from upload_protocol.ranges import ByteRange

WORKER = "sender"

_SHOW_S = 0.25
"""Progress is shown this often, however small the pieces are."""

_LATELY_S = 3.0

_QUICK_BYTES_PER_S = 4_000_000
"""Of all lanes: below it pieces are smaller, because they are also the moments at which a lane looks
around."""

_NAMED_PAUSE_S = 0.5
"""A pause of the rate limit that is longer is named; shorter ones are just slow sending."""


class ThrottledBody:
    """Makes the bodies of requests, and shows the oldest recording that is being sent.

    Bodies are read outside the gate, several at a time; all else is called with the gate held.
    """

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
        self._lock = threading.Lock()
        self._pace: Pace | None = None
        self._shown_s = 0.0
        self._held_back_s = float("-inf")
        self._sending: dict[int, tuple[int, str]] = {}
        self._rates: dict[int, Rate] = {}
        self.on_tick: Callable[[], None] = lambda: None
        """Called now and then while bytes go out, without the gate."""
        self.most = 1
        """Lanes that there may be."""
        self.window_rates: dict[int, float] = {}
        """What lanes can move per second by their windows, where that is known."""
        self.rtt_s = 0.0
        """The shortest that was seen; 0: not known."""
        self.sent = 0
        """Bytes handed to the system, by all lanes, ever."""

    # --- rates ------------------------------------------------------------------------------

    def limit(self, bytes_per_s: float | None) -> None:
        """Keep to *bytes_per_s* from the next piece on; None: as fast as it goes."""
        with self._lock:
            if bytes_per_s is None:
                self._pace = None
            elif self._pace is None or self._pace.bytes_per_s != bytes_per_s:
                self._pace = Pace(bytes_per_s)

    @property
    def is_held_back(self) -> bool:
        """Whether the rate limit, and not the link, made a body wait lately."""
        return self._clock.now_s() - self._held_back_s < _LATELY_S

    def rate_of(self, lane: int) -> Rate:
        """Return the rate of *lane*'s acknowledged bytes, to be added to."""
        return self._rates.setdefault(lane, Rate())

    def expected_rate(self, lane: int) -> float | None:
        """Return what *lane* moves per second; before its first answer, the mean of the others."""
        own = self._lane_rate(lane)
        if own is not None:
            return own
        known = [rate for one in self._rates if (rate := self._lane_rate(one)) is not None]
        return sum(known) / len(known) if known else None

    def weight(self, lane: int) -> float:
        """Return how fast *lane* is, compared with the mean of the lanes that send."""
        own = self._lane_rate(lane)
        rates = [
            rate for one in {lane, *self._sending} if (rate := self._lane_rate(one)) is not None
        ]
        if own is None or not any(rates):
            return 1.0
        return own * len(rates) / sum(rates)

    def _lane_rate(self, lane: int) -> float | None:
        """Return what *lane* moved lately, or can move now if that is less."""
        measured = self._rates[lane].bytes_per_s if lane in self._rates else None
        if measured is None:
            return None
        return min(measured, self.window_rates.get(lane, measured))

    def _total_rate(self) -> float | None:
        known = [
            rate
            for lane in tuple(self._sending)
            if lane in self._rates and (rate := self._rates[lane].bytes_per_s) is not None
        ]
        return sum(known) if known else None

    # --- bodies -----------------------------------------------------------------------------

    def begin(self, lane: int, recording: Recording) -> None:
        self._sending[lane] = (recording.seq, recording.id)

    def end(self, lane: int) -> None:
        self._sending.pop(lane, None)

    def body(
        self,
        recording: Recording,
        source: Source,
        delivery: UploadProgress,
        flight: Flight,
        where: ByteRange,
    ) -> Iterator[bytes]:
        """Yield the bytes of *where* at the allowed rate, hashing them in the same pass."""
        source.check(recording.identity)
        at = where.start
        for piece in source.pieces(where, piece_bytes=self._piece_bytes()):
            self._keep_pace(len(piece))
            if self._is_stopping():
                raise AbortedError("stopped while sending")
            at += len(piece)
            if at == where.stop:
                # After the last read and before the last byte leaves: a body that is complete is one
                # whose bytes were all of the same content.
                source.check(recording.identity)
            delivery.digest.follow(source, at - len(piece), piece, stop=delivery.front())
            flight.sent += len(piece)
            with self._lock:
                self.sent += len(piece)
            yield piece
            self._show_at_times(recording, delivery)
        if delivery.digest.upto >= where.stop:  # else it is read once more, for the digest
            source.release_cache(where)

    def _piece_bytes(self) -> int:
        with self._lock:
            if self._pace is None:
                is_quick = (self._total_rate() or 0) > _QUICK_BYTES_PER_S
                return PIECE_BYTES if is_quick else PIECE_BYTES // 4
            return self._pace.piece_bytes(max(1, PIECE_BYTES // max(1, len(self._sending))))

    def _keep_pace(self, wanted: int) -> None:
        with self._lock:
            pace = self._pace
            if pace is None:
                return
            now_s = self._clock.now_s()
            delay_s = pace.delay_s(wanted, now_s)
        if delay_s <= 0:
            return
        self._held_back_s = now_s
        if delay_s > _NAMED_PAUSE_S:
            detail = f"the rate is limited to {pace.bytes_per_s:.0f} bytes/s"
            self._activity.block(Wait(Reason.BANDWIDTH, detail, now_s + delay_s))
        self._pause(delay_s)
        self._activity.block(None)

    # --- showing ----------------------------------------------------------------------------

    def _show_at_times(self, recording: Recording, delivery: UploadProgress) -> None:
        now_s = self._clock.now_s()
        if now_s - self._shown_s >= _SHOW_S:
            self._shown_s = now_s
            self._activity.beat(WORKER, now_s)
            self.show(recording, delivery)
            self.on_tick()

    def show(self, recording: Recording, delivery: UploadProgress) -> None:
        """Show how far *recording* is, if it is the oldest of those that are being sent."""
        if min(tuple(self._sending.values()), default=(0, recording.id))[1] != recording.id:
            return
        acknowledged = delivery.held.total
        in_flight = delivery.in_flight
        length = recording.identity.length
        rate = self._total_rate()
        self._activity.sending(
            Current(
                recording_id=recording.id,
                name=recording.name,
                length=length,
                acknowledged=acknowledged,
                in_flight=min(in_flight, max(0, length - acknowledged)),
                attempt=delivery.attempts,
                started_s=delivery.started_s,
            ),
            rate_bytes_per_s=rate,
            eta_s=eta_s(max(0, length - acknowledged - in_flight), rate),
        )
