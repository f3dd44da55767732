"""What follows from a failure: which wait, which state, which word to whom.

One table of consequences for all lanes. Nothing here sends or reads anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from edge_agent.base.activity import Activity, ProblemCode, Reason, Wait
from edge_agent.base.clock import Clock
from edge_agent.base.errors import (
    AbortedError,
    ClockError,
    ConflictError,
    LinkBackError,
    LinkDownError,
    NotOurServerError,
    ReceiptRefusedError,
    RejectedError,
    ServerBusyError,
    SourceChangedError,
    SourceError,
    SourceUnreadableError,
    SourceVanishedError,
    TransportError,
    UnauthorizedError,
    UploadLostError,
)
from edge_agent.core.backoff import BackoffPolicy
from edge_agent.core.recording import Recording
from edge_agent.core.upload import Event, State
from edge_agent.send.upload_progress import UploadProgress, UploadsUnderWay
from edge_agent.send.waits import Waits
from edge_agent.store.recordings import NewEvent, Store

log = structlog.get_logger()

_AUTH_FIRST_S, _AUTH_LONGEST_S, _AUTH_LOOK_S = 30.0, 300.0, 5.0
_CLOCK_LOOK_S = 2.0
_CLOCK_SET_S = 10.0
"""A clock that moved so far against the monotonic one was set; what NTP smooths is far less."""
_MAX_REPAIRS = 3
_LOST_AGAIN_S, _LOST_LONGEST_S = 30.0, 3600.0
"""Before an upload that was lost twice is begun once more; doubles each time. Each beginning sends the
whole recording, and bytes that the server takes and loses are no progress that ends a backoff."""
_LOSSES_KEPT = 1000
_UNREACHABLE_AFTER = 3
_LATELY_S = 2.0
"""A link over which another lane had an answer so lately is not down; this connection is."""
_YIELD_S = 1.0
"""Pause of the lane after a refusal that may concern one upload only, so that a queue of thousands
does not ask a full server thousands of times at once."""

_BUSY_REASONS = {
    "quota": Reason.QUOTA,
    "server_full": Reason.SERVER_FULL,
    "server_busy": Reason.SERVER_BUSY,
}

_NEW_UPLOAD_CODES = frozenset({"idempotency-key-reused", "inconsistent-length"})
"""Refusals that mean: this upload or this key belongs to other bytes. A new one mends it."""


class FailurePolicy:
    """Takes what went wrong with a recording and settles what becomes of it."""

    def __init__(
        self,
        store: Store,
        credential: Callable[[], bytes | None],
        activity: Activity,
        *,
        clock: Clock,
        holds: Waits,
        deliveries: UploadsUnderWay,
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._credential = credential
        self._clock = clock
        self._activity = activity
        self._holds = holds
        self._deliveries = deliveries
        self._jitter = jitter
        self._link_failures = 0
        self._counted_s = 0.0
        """When the last failure of the link was counted; a hold may have begun with it."""
        self._reached_s: float | None = None
        self._auth_failures = 0
        self._wrong_offset_s = 0.0
        self._refused_credential: bytes | None = None
        self._losses: dict[str, int] = {}
        """Recording -> how often the server lost its upload."""
        self._unreadable: dict[str, str] = {}
        """Recording -> why it cannot be read, as the log was told."""
        self.link_wait: Wait | None = None
        """The reason that stays while a link that is down is tried again, until somebody answers."""
        self.backoff = BackoffPolicy()
        self.must_probe = False
        """Something else than our server answered last: ask who is there before telling it more."""

    def reached(self) -> None:
        """The server did something for us: whatever was wrong with it or the link is over."""
        self._link_failures = 0
        self._reached_s = self._clock.now_s()
        if self.link_wait is not None:
            self.link_wait = None
            self._activity.block(None)
        self._holds.release_link()
        self._activity.problem(ProblemCode.SERVER_UNREACHABLE, present=False)
        self._activity.problem(ProblemCode.QUOTA, present=False)
        if self._auth_failures:
            self._auth_failures = 0
            self._activity.problem(ProblemCode.AUTH_FAILED, present=False)
            self._store.tell(NewEvent("auth.ok", {}))

    def link_returned(self) -> None:
        """The link was seen to work, by somebody who did not ask for anything of ours."""
        self._link_failures = 0
        self._holds.release_link()

    def look_at_login(self) -> float:
        """Return how often to look at a lane that waits for a login; a new token ends that at once."""
        if self._credential() != self._refused_credential:
            self._holds.lane = None
        return _AUTH_LOOK_S

    def look_at_clock(self) -> float:
        """Return how often to look at a lane that waits for the time; setting it ends that at once."""
        if abs(self._wall_offset_s() - self._wrong_offset_s) > _CLOCK_SET_S:
            self._holds.lane = None
        return _CLOCK_LOOK_S

    def on_source_error(self, recording: Recording, error: SourceError) -> float:
        recording = self._store.get(recording.id) or recording
        if isinstance(error, SourceChangedError):
            was_sent = recording.state is not State.STABLE or recording.upload_id is not None
            tell = [
                NewEvent("file.changed_during_upload", self._named(recording), subject=recording.id)
            ]
            # The upload stays: if the length is the same, the blocks that differ will mend it.
            self._store.advance(
                recording, Event.SOURCE_CHANGED, digest=None, tell=tell if was_sent else ()
            )
            log.info("upload.source_changed", recording_id=recording.id, detail=str(error))
            self._let_go(recording)
            return 0.0
        if recording.origin == "command":
            # Nobody scans for it again: the person who named it gets the answer now.
            event = (
                Event.SOURCE_VANISHED if isinstance(error, SourceVanishedError) else Event.REJECTED
            )
            code = "source-missing" if event is Event.SOURCE_VANISHED else "source-unreadable"
            self._fail(recording, event, code, str(error), permanent=False)
            return 0.0
        failures = self._count_failure(recording)
        if isinstance(error, SourceUnreadableError):
            self._tell_unreadable(recording, str(error))
        return self._holds.hold(
            recording.id, Reason.SOURCE_MISSING, str(error), self._delay_s(failures)
        )

    def _tell_unreadable(self, recording: Recording, detail: str) -> None:
        """Tell the log once: only a person can give the agent access, and others may go on for days."""
        if self._unreadable.get(recording.id) == detail:
            return
        self._unreadable[recording.id] = detail
        log.warning(
            "upload.waiting",
            recording_id=recording.id,
            reason=Reason.SOURCE_MISSING.value,
            detail=detail,
        )

    def on_transport_error(
        self,
        recording: Recording,
        error: TransportError,
        *,
        began_s: float,
        has_others: bool = False,
    ) -> float | None:
        """Settle what follows from *error*, of a request that began at *began_s*.

        Args:
            has_others: other lanes are busy, too.

        Returns:
            The seconds until the next look; None: only this lane's connection broke, others get
            through.
        """
        delivery = self._note(recording, error)
        match error:
            case AbortedError():
                return self._holds.hold_lane(Reason.PAUSED, "stopped on request", _YIELD_S)
            case LinkBackError():
                return 0.0
            case LinkDownError() | NotOurServerError():
                return self._on_link_down(recording, error, began_s, has_others=has_others)
            case ServerBusyError():
                return self._on_busy(recording, error)
            case UnauthorizedError() | ClockError():
                return self._on_device(recording, error)
            case UploadLostError():
                return self._begin_anew(recording, str(error))
            case ConflictError():
                return self._on_conflict(recording, delivery, error)
            case RejectedError(code=code) if code in _NEW_UPLOAD_CODES:
                return self._begin_anew(recording, str(error))
            case RejectedError():
                self._fail(recording, Event.REJECTED, error.code, str(error), permanent=True)
                return 0.0
            case ReceiptRefusedError():
                return self._on_receipt_refused(recording, error)
            case _:
                return self._retry_later(recording, str(error))

    def _note(self, recording: Recording, error: TransportError) -> UploadProgress | None:
        log.debug("request.failed", recording_id=recording.id, error=str(error))
        if not isinstance(error, LinkDownError | NotOurServerError | AbortedError):
            self.link_wait = None  # somebody of ours answered, whatever it was
        delivery = self._deliveries.find(recording)
        if delivery is not None:
            delivery.attempts += 1
        return delivery

    def _on_link_down(
        self, recording: Recording, error: TransportError, began_s: float, *, has_others: bool
    ) -> float | None:
        self.must_probe = self.must_probe or isinstance(error, NotOurServerError)
        if not self.must_probe and self._others_got_through(began_s, has_others=has_others):
            return None
        if began_s < self._counted_s and self._holds.lane is not None:
            # One dead link breaks the requests of all lanes: that is one failure.
            return self._holds.lane_left_s(self._clock.now_s())
        self._counted_s = self._clock.now_s()
        # After a restart the recording's count goes on: a reboot loop must still back off.
        self._link_failures = max(self._link_failures, recording.failures) + 1
        self._count_failure(recording)
        if self._link_failures >= _UNREACHABLE_AFTER or self.must_probe:
            self._activity.problem(ProblemCode.SERVER_UNREACHABLE, present=True)
        self.link_wait = Wait(Reason.LINK, f"{error}; tried again now")
        return self._holds.hold_lane(Reason.LINK, str(error), self._delay_s(self._link_failures))

    def _others_got_through(self, began_s: float, *, has_others: bool) -> bool:
        since_s = self._clock.now_s() - _LATELY_S if has_others else began_s
        return self._reached_s is not None and self._reached_s > min(since_s, began_s)

    def lane_delay_s(self, failures: int) -> float:
        """Return the wait of a lane whose connection broke while others got through."""
        return self._delay_s(failures) / 4

    def _on_busy(self, recording: Recording, error: ServerBusyError) -> float:
        reason = _BUSY_REASONS[error.blocked_by]
        if reason is Reason.QUOTA:
            self._activity.problem(ProblemCode.QUOTA, present=True)
        failures = self._count_failure(recording)
        wait_s = self._delay_s(failures) if error.retry_after_s is None else error.retry_after_s
        if error.concerns_all:
            return self._holds.hold_lane(reason, str(error), wait_s)
        self._holds.hold(recording.id, reason, str(error), wait_s)
        return self._holds.hold_lane(reason, str(error), min(wait_s, _YIELD_S))

    def _on_unauthorized(self, error: UnauthorizedError) -> float:
        self._refused_credential = self._credential()
        if self._auth_failures == 0:
            self._store.tell(NewEvent("auth.failed", {"detail": str(error)}))
            log.error("auth.failed", detail=str(error))
        self._auth_failures += 1
        self._activity.problem(ProblemCode.AUTH_FAILED, present=True)
        wait_s = min(_AUTH_LONGEST_S, _AUTH_FIRST_S * 2.0 ** min(self._auth_failures - 1, 8))
        detail = f"the server refuses this device ({error}); nothing is lost"
        self._holds.hold_lane(Reason.AUTH, detail, wait_s)
        return min(wait_s, _AUTH_LOOK_S)

    def _on_device(self, recording: Recording, error: UnauthorizedError | ClockError) -> float:
        """The link works; something of this device has to be set right."""
        if isinstance(error, ClockError):
            return self._on_clock(recording, error)
        return self._on_unauthorized(error)

    def _on_clock(self, recording: Recording, error: ClockError) -> float:
        self._wrong_offset_s = self._wall_offset_s()
        wait_s = self._delay_s(self._count_failure(recording))
        self._holds.hold_lane(Reason.CLOCK, str(error), max(wait_s, _CLOCK_LOOK_S))
        return _CLOCK_LOOK_S

    def _wall_offset_s(self) -> float:
        return self._clock.now_utc().timestamp() - self._clock.now_s()

    def _on_conflict(
        self, recording: Recording, delivery: UploadProgress | None, error: ConflictError
    ) -> float:
        if recording.state is State.SENT:
            if error.code == "digest-mismatch" and delivery is not None:
                return self._begin_repair(recording, delivery, error)
            if error.code == "ranges-missing":
                recording = self._store.advance(recording, Event.RANGES_MISSING, digest=None)
        if delivery is not None:
            delivery.learn_missing(error.missing)
        return self._retry_later(recording, str(error))

    def _begin_repair(
        self, recording: Recording, delivery: UploadProgress, error: ConflictError
    ) -> float:
        expected = None if recording.digest is None else str(recording.digest)
        told = {**self._named(recording), "expected": expected, "actual": None, "scope": "file"}
        tell = [NewEvent("checksum.failed", told, subject=recording.id)]
        if delivery.repairs >= _MAX_REPAIRS:
            self._activity.problem(ProblemCode.CHECKSUM, present=True)
            detail = f"after {_MAX_REPAIRS} repairs the server still holds other bytes: {error}"
            self._fail(recording, Event.REJECTED, "checksum", detail, permanent=True, also=tell)
            return 0.0
        self._store.advance(recording, Event.DIGEST_MISMATCHED, digest=None, tell=tell)
        delivery.begin_repair()
        log.warning("upload.repairing", recording_id=recording.id, round=delivery.repairs)
        return 0.0

    def _begin_anew(self, recording: Recording, detail: str) -> float:
        """Drop the upload and its key; the next create makes another."""
        anew: dict[str, Any] = {"upload_id": None, "idempotency_key": None, "digest": None}
        if recording.state is State.STABLE:
            recording = self._store.update(recording, **anew)
        else:
            recording = self._store.advance(recording, Event.UPLOAD_LOST, **anew)
        log.info("upload.lost", recording_id=recording.id, detail=detail)
        self._deliveries.drop(recording.id)
        losses = self._losses.pop(recording.id, 0) + 1
        self._losses[recording.id] = losses
        if len(self._losses) > _LOSSES_KEPT:
            del self._losses[next(iter(self._losses))]
        if losses == 1:
            return self._retry_later(recording, detail)
        self._count_failure(recording)
        wait_s = min(_LOST_LONGEST_S, _LOST_AGAIN_S * 2.0 ** min(losses - 2, 16))
        return self._holds.hold(recording.id, Reason.BACKOFF, detail, wait_s)

    def _on_receipt_refused(self, recording: Recording, error: ReceiptRefusedError) -> float:
        self._activity.problem(ProblemCode.CHECKSUM, present=True)
        if recording.problem != error.code:
            tell = [
                NewEvent(
                    "checksum.failed",
                    {
                        **self._named(recording),
                        "expected": error.expected,
                        "actual": error.actual,
                        "scope": "receipt",
                    },
                    subject=recording.id,
                )
            ]
            recording = self._store.update(
                recording, problem=error.code, detail=str(error), tell=tell
            )
        return self._retry_later(recording, str(error))

    def _retry_later(self, recording: Recording, detail: str) -> float:
        failures = self._count_failure(recording)
        return self._holds.hold(recording.id, Reason.BACKOFF, detail, self._delay_s(failures))

    def _delay_s(self, failures: int) -> float:
        return self.backoff.delay_s(failures, jitter=self._jitter())

    def _count_failure(self, recording: Recording) -> int:
        """Count a failure, durably until the wait is at its cap: then the card has enough writes."""
        failures = recording.failures + 1
        if self.backoff.ceiling_s(recording.failures) < self.backoff.cap_s or failures == 1:
            self._store.update(recording, failures=failures)
        return failures

    def _fail(
        self,
        recording: Recording,
        event: Event,
        code: str,
        detail: str,
        *,
        permanent: bool,
        also: list[NewEvent] | None = None,
    ) -> None:
        told = {**self._named(recording), "code": code, "detail": detail, "permanent": permanent}
        self._store.advance(
            recording,
            event,
            problem=code,
            detail=detail,
            tell=[*(also or []), NewEvent("file.failed", told, subject=recording.id)],
        )
        log.error("upload.failed", recording_id=recording.id, code=code, detail=detail)
        self._let_go(recording)

    def _let_go(self, recording: Recording) -> None:
        self._holds.release(recording.id)
        self._deliveries.drop(recording.id)

    @staticmethod
    def _named(recording: Recording) -> dict[str, object]:
        return {"file_id": recording.id, "name": recording.name}
