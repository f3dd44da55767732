"""Bodies of requests on their way out: at the allowed rate, hashed in the same pass, and shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.errors import AbortedError, StoreError
from edge_agent.base.view import Current
from edge_agent.core.progress import eta_s
from edge_agent.core.recording import Recording
from edge_agent.media.source import PIECE_BYTES
from edge_agent.send.lane_counter import LaneCounter
from edge_agent.send.lane_lock import LaneLock
from edge_agent.send.lane_rates import LaneRates
from edge_agent.send.permission import Permission
from edge_agent.send.roster import Roster
from edge_agent.send.throttle import Throttle
from edge_agent.send.upload_progress import Unit, UploadProgress
from upload_protocol.ranges import ByteRange

WORKER = "sender"

_SHOW_S = 0.25
"""Progress is shown this often, however small the pieces are."""

_QUICK_BYTES_PER_S = 4_000_000
"""Of all lanes: below it pieces are smaller, because they are also the moments at which a lane looks
around."""


class ThrottledBody:
    """Makes the bodies of requests, and shows the oldest recording that is being sent.

    Bodies are read without the lanes' lock, several at a time; all else is called with it held.
    """

    def __init__(
        self,
        activity: Activity,
        clock: Clock,
        *,
        lock: LaneLock,
        roster: Roster,
        permission: Permission,
        counter: LaneCounter,
        throttle: Throttle,
        rates: LaneRates,
    ) -> None:
        self._activity = activity
        self._clock = clock
        self._lock = lock
        self._roster = roster
        self._permission = permission
        self._counter = counter
        self._throttle = throttle
        self._rates = rates
        self._shown_s = 0.0
        self._sending: dict[int, tuple[int, str]] = {}

    def begin(self, lane: int, recording: Recording) -> None:
        self._sending[lane] = (recording.seq, recording.id)

    def end(self, lane: int) -> None:
        self._sending.pop(lane, None)

    def weight(self, lane: int) -> float:
        """Return how fast *lane* is, compared with the mean of the lanes that send."""
        return self._rates.weight(lane, tuple(self._sending))

    def pieces(self, unit: Unit, where: ByteRange) -> Iterator[bytes]:
        """Yield the bytes of *where* at the allowed rate, hashing them in the same pass.

        Raises:
            AbortedError: the agent stops.
            SourceError: the file is not the one that was to be sent.
        """
        recording, source, progress = unit.recording, unit.source, unit.progress
        at = where.start
        for piece in source.pieces(where, piece_bytes=self._piece_bytes()):
            self._throttle.wait_for(len(piece))
            if self._roster.is_refusing:
                raise AbortedError("stopped while sending")
            at += len(piece)
            if at == where.stop:
                # After the last read and before the last byte leaves: a body that is complete is one
                # whose bytes were all of the same content.
                source.check(recording.identity)
            progress.digest.follow(source, at - len(piece), piece, stop=progress.front())
            unit.flight.sent += len(piece)
            self._throttle.count(len(piece))
            yield piece
            self._look_around_at_times(recording, progress)
        if progress.digest.upto >= where.stop:  # else it is read once more, for the digest
            source.release_cache(where)

    def _piece_bytes(self) -> int:
        sending = tuple(self._sending)
        share = max(1, PIECE_BYTES // max(1, len(sending)))
        kept_even = self._throttle.piece_bytes(share)
        if kept_even is not None:
            return kept_even
        is_quick = (self._rates.total(sending) or 0) > _QUICK_BYTES_PER_S
        return PIECE_BYTES if is_quick else PIECE_BYTES // 4

    def _look_around_at_times(self, recording: Recording, progress: UploadProgress) -> None:
        now_s = self._clock.now_s()
        if now_s - self._shown_s < _SHOW_S and not self._permission.is_spent:
            return
        self._shown_s = now_s
        self._activity.beat(WORKER, now_s)
        self.show(recording, progress)
        # In the middle of a body: what the store has to say, it says to the next unit of work.
        with self._lock, suppress(StoreError):
            self._permission.may_send(self._clock.now_s())
            self._counter.review(self._clock.now_s())

    def show(self, recording: Recording, progress: UploadProgress) -> None:
        """Show how far *recording* is, if it is the oldest of those that are being sent."""
        sending = tuple(self._sending.items())
        if min((one for _, one in sending), default=(0, recording.id))[1] != recording.id:
            return
        acknowledged = progress.held.total
        in_flight = progress.in_flight
        length = recording.identity.length
        rate = self._throttle.within(self._rates.total(lane for lane, _ in sending))
        self._activity.sending(
            Current(
                recording_id=recording.id,
                name=recording.name,
                length=length,
                acknowledged=acknowledged,
                in_flight=min(in_flight, max(0, length - acknowledged)),
                attempt=progress.attempts,
                started_s=progress.started_s,
            ),
            rate_bytes_per_s=rate,
            eta_s=eta_s(max(0, length - acknowledged - in_flight), rate),
        )
