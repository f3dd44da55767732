"""The lane: takes recordings from STABLE to VERIFIED, one unit of work per step.

Here: which recording is next, and what follows from a failure. The work itself is `lane_work`. One
recording at a time, oldest first; one that fails waits by itself and lets the next one go, while a
link or a server that is away holds up all of them.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from edge_agent.activity import Activity, ProblemCode, Reason, Wait
from edge_agent.clock import Clock
from edge_agent.config import UploadSettings
from edge_agent.core.backoff import BackoffPolicy
from edge_agent.core.upload import Event, State
from edge_agent.delivery import Delivery
from edge_agent.errors import (
    AbortedError,
    ConflictError,
    LinkDownError,
    NotOurServerError,
    ReceiptRefusedError,
    RejectedError,
    ServerBusyError,
    SourceChangedError,
    SourceError,
    SourceVanishedError,
    StaleRecordingError,
    StoreError,
    TransportError,
    UnauthorizedError,
    UploadLostError,
)
from edge_agent.lane_work import LaneWork, Verifying
from edge_agent.recording import Recording
from edge_agent.source import Source
from edge_agent.store import NewEvent, Store
from edge_agent.transport import Transport

log = structlog.get_logger()

WORKER = "sender"

_IDLE_S = 30.0
_LONGEST_STEP_S = 30.0
"""Even a long wait is looked at this often, for the watchdog and for what may have changed."""

_SHORTEST_WAIT_S = 0.2
"""Full jitter may draw zero, and a loop that fails at once must not spin."""

_STORE_WAIT_S = 10.0
_AUTH_FIRST_S, _AUTH_LONGEST_S, _AUTH_LOOK_S = 30.0, 300.0, 5.0
_MAX_REPAIRS = 3
_KEPT_DELIVERIES = 4
_UNREACHABLE_AFTER = 3
_YIELD_S = 1.0
"""Pause of the lane after a refusal that may concern one upload only, so that a queue of thousands
does not ask a full server thousands of times at once."""

_WORK = (State.STABLE, State.SENDING, State.SENT)

_BUSY_REASONS = {
    "quota": Reason.QUOTA,
    "server_full": Reason.SERVER_FULL,
    "server_busy": Reason.SERVER_BUSY,
}

_NEW_UPLOAD_CODES = frozenset({"idempotency-key-reused", "inconsistent-length"})
"""Refusals that mean: this upload or this key belongs to other bytes. A new one mends it."""


@dataclass(frozen=True, slots=True)
class _Hold:
    until_s: float
    wait: Wait


class Sender:
    """A worker. `step` from one thread; `wake`, `abort`, `resume` from any.

    Args:
        source: opens a recording for reading.
        device_id: named in each create, so that a token of another device is noticed.
        jitter: draws from ``[0, 1)``.
        new_key: makes idempotency keys of at least 128 random bits.
        pause: sleeps, for the rate limit; must end early when the agent stops. Default: does.
    """

    def __init__(
        self,
        store: Store,
        transport: Transport,
        source: Callable[[bytes], Source],
        activity: Activity,
        settings: UploadSettings,
        *,
        clock: Clock,
        device_id: str,
        jitter: Callable[[], float],
        new_key: Callable[[], str] = lambda: secrets.token_hex(16),
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._store = store
        self._transport = transport
        self._source = source
        self._activity = activity
        self._clock = clock
        self._jitter = jitter
        self._stopping = threading.Event()
        self.woken = threading.Event()
        """Set by `wake`; the runner may wait on it and clear it."""
        self._work = LaneWork(
            store,
            transport,
            activity,
            clock=clock,
            device_id=device_id,
            new_key=new_key,
            pause=self._stopping.wait if pause is None else pause,
            is_stopping=self._stopping.is_set,
        )
        self._deliveries: dict[str, Delivery] = {}
        self._current_id: str | None = None
        self._holds: dict[str, _Hold] = {}
        self._lane_hold: _Hold | None = None
        self._lane_failures = 0
        self._auth_failures = 0
        self._refused_credential: bytes | None = None
        self._must_probe = False
        self._has_store_failed = False
        self.on_verified: Callable[[], None] = lambda: None
        """Called after each receipt that is durable here; must return at once."""
        self.reconfigure(settings)

    def reconfigure(self, settings: UploadSettings) -> None:
        """Use *settings* from the next request on (rates at once)."""
        self._backoff = BackoffPolicy(
            settings.backoff_base_seconds,
            max(settings.backoff_base_seconds, settings.backoff_cap_seconds),
        )
        self._work.reconfigure(settings)

    def wake(self) -> None:
        """Say that there may be something new to send."""
        self.woken.set()

    def abort(self) -> None:
        """Cut the running request off and do nothing more until `resume`."""
        self._stopping.set()
        self._transport.abort()
        self.woken.set()

    def resume(self) -> None:
        self._transport.resume()
        self._stopping.clear()
        self.woken.set()

    # --- one step ---------------------------------------------------------------------------

    def step(self, now_s: float) -> float:
        """Do one unit of work; return the seconds until the next, 0 when there is more to do.

        A wait above 0 while something is pending has its reason on the board.
        """
        if self._stopping.is_set():
            return _IDLE_S
        try:
            wait_s = self._step(now_s)
        except StaleRecordingError:
            # Another worker moved or forgot it: the next pick sees where to.
            self._current_id = None
            wait_s = 0.0
        except StoreError as error:
            self._has_store_failed = True
            self._activity.problem(ProblemCode.STORE, present=True)
            self._block(Reason.DISK, str(error), now_s + _STORE_WAIT_S)
            wait_s = _STORE_WAIT_S
        else:
            if self._has_store_failed:
                self._has_store_failed = False
                self._activity.problem(ProblemCode.STORE, present=False)
        self._activity.beat(WORKER, self._clock.now_s())
        return wait_s

    def _step(self, now_s: float) -> float:
        held_s = self._held_s(now_s)
        if held_s > 0:
            return held_s
        recording = self._pick(now_s)
        if recording is None:
            return self._rest(now_s)
        self._activity.block(None)
        self._activity.wait(recording.id, None)
        try:
            if self._must_probe:
                self._transport.probe(secrets.token_hex(16))
                self._must_probe = False
            return self._advance(recording)
        except SourceError as error:
            return self._on_source_error(recording, error)
        except TransportError as error:
            return self._on_transport_error(self._store.get(recording.id) or recording, error)

    def _advance(self, recording: Recording) -> float:
        delivery = self._delivery(recording)
        with self._source(recording.path) as source:
            source.check(recording.identity)
            if recording.state is State.STABLE:
                self._work.create(recording, delivery)
            elif recording.state is State.SENDING:
                self._work.send(recording, source, delivery)
            else:
                outcome = self._work.complete(recording, delivery)
                self._reached()
                if isinstance(outcome, Verifying):
                    return self._hold(
                        recording.id, Reason.VERIFYING, outcome.detail, outcome.wait_s
                    )
                self._let_go(recording.id)
                self.on_verified()
                return 0.0
        self._reached()
        return 0.0

    def _pick(self, now_s: float) -> Recording | None:
        """Return the recording to work on: the current one, else the oldest that need not wait."""
        if self._current_id is not None and not self._is_held(self._current_id, now_s):
            current = self._store.get(self._current_id)
            if current is not None and current.state in _WORK:
                return current
        after = 0
        while page := self._store.in_states(*_WORK, after_seq=after, limit=100):
            for recording in page:
                if not self._is_held(recording.id, now_s):
                    self._current_id = recording.id
                    return recording
            after = page[-1].seq
        return None

    def _rest(self, now_s: float) -> float:
        """Nothing can be done now: name the reason that ends first, if anything waits at all."""
        self._current_id = None
        self._activity.sending(None, rate_bytes_per_s=None)
        pending = {one.id for one in self._store.in_states(*_WORK)}
        for gone in [key for key in self._holds if key not in pending]:
            self._let_go(gone)
        if not self._holds:
            self._activity.block(None)
            return _IDLE_S
        first = min(self._holds.values(), key=lambda hold: hold.until_s)
        self._activity.block(first.wait)
        return min(_LONGEST_STEP_S, max(_SHORTEST_WAIT_S, first.until_s - now_s))

    def _delivery(self, recording: Recording) -> Delivery:
        found = self._deliveries.pop(recording.id, None)
        if found is not None and found.identity != recording.identity:
            self._work.count(found)
            found = None
        if found is None:
            found = Delivery(recording.id, recording.identity, self._clock.now_s())
        self._deliveries[recording.id] = found  # last in the order of use
        while len(self._deliveries) > _KEPT_DELIVERIES:
            oldest = next(iter(self._deliveries))
            self._work.count(self._deliveries.pop(oldest))
        return found

    # --- waiting ----------------------------------------------------------------------------

    def _is_held(self, recording_id: str, now_s: float) -> bool:
        hold = self._holds.get(recording_id)
        return hold is not None and hold.until_s > now_s

    def _held_s(self, now_s: float) -> float:
        hold = self._lane_hold
        if hold is None:
            return 0.0
        left_s = hold.until_s - now_s
        if hold.wait.reason is Reason.AUTH:
            if self._transport.credential() != self._refused_credential:
                left_s = 0.0  # somebody put a new token in place
            left_s = min(left_s, _AUTH_LOOK_S)
        if left_s <= 0:
            self._lane_hold = None
            return 0.0
        return min(left_s, _LONGEST_STEP_S)

    def _hold(self, recording_id: str, reason: Reason, detail: str, wait_s: float) -> float:
        """Let one recording wait; the lane goes on with the next."""
        wait_s = max(_SHORTEST_WAIT_S, wait_s)
        until_s = self._clock.now_s() + wait_s
        wait = Wait(reason, detail, until_s)
        self._holds[recording_id] = _Hold(until_s, wait)
        self._activity.wait(recording_id, wait)
        return 0.0

    def _hold_lane(self, reason: Reason, detail: str, wait_s: float) -> float:
        wait_s = max(_SHORTEST_WAIT_S, wait_s)
        until_s = self._clock.now_s() + wait_s
        wait = self._block(reason, detail, until_s)
        self._lane_hold = _Hold(until_s, wait)
        return min(wait_s, _LONGEST_STEP_S)

    def _block(self, reason: Reason, detail: str, until_s: float) -> Wait:
        wait = Wait(reason, detail, until_s)
        self._activity.block(wait)
        return wait

    def _let_go(self, recording_id: str) -> None:
        """Forget what this lane knows of a recording that it is done with."""
        self._holds.pop(recording_id, None)
        self._activity.wait(recording_id, None)
        delivery = self._deliveries.pop(recording_id, None)
        if delivery is not None:
            self._work.count(delivery)
        if self._current_id == recording_id:
            self._current_id = None

    def _reached(self) -> None:
        """The server did something for us: whatever was wrong with it or the link is over."""
        self._lane_failures = 0
        self._activity.problem(ProblemCode.SERVER_UNREACHABLE, present=False)
        self._activity.problem(ProblemCode.QUOTA, present=False)
        if self._auth_failures:
            self._auth_failures = 0
            self._activity.problem(ProblemCode.AUTH_FAILED, present=False)
            self._store.tell(NewEvent("auth.ok", {}))

    # --- failures ---------------------------------------------------------------------------

    def _on_source_error(self, recording: Recording, error: SourceError) -> float:
        recording = self._store.get(recording.id) or recording
        if isinstance(error, SourceChangedError):
            was_sent = recording.state is not State.STABLE or recording.upload_id is not None
            tell = [NewEvent("file.changed_during_upload", self._named(recording))]
            # The upload stays: if the length is the same, the blocks that differ will mend it.
            self._store.advance(
                recording, Event.SOURCE_CHANGED, digest=None, tell=tell if was_sent else ()
            )
            log.info("upload.source_changed", recording_id=recording.id, detail=str(error))
            self._let_go(recording.id)
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
        return self._hold(recording.id, Reason.SOURCE_MISSING, str(error), self._delay_s(failures))

    def _on_transport_error(self, recording: Recording, error: TransportError) -> float:
        delivery = self._deliveries.get(recording.id)
        if delivery is not None:
            delivery.received = None
            delivery.attempts += 1
        log.debug("request.failed", recording_id=recording.id, error=str(error))
        match error:
            case AbortedError():
                return self._hold_lane(Reason.PAUSED, "stopped on request", _YIELD_S)
            case LinkDownError() | NotOurServerError():
                return self._on_link_down(recording, error)
            case ServerBusyError():
                return self._on_busy(recording, error)
            case UnauthorizedError():
                return self._on_unauthorized(error)
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

    def _on_link_down(self, recording: Recording, error: TransportError) -> float:
        self._must_probe = isinstance(error, NotOurServerError)
        # After a restart the recording's count goes on: a reboot loop must still back off.
        self._lane_failures = max(self._lane_failures, recording.failures) + 1
        self._count_failure(recording)
        if self._lane_failures >= _UNREACHABLE_AFTER or self._must_probe:
            self._activity.problem(ProblemCode.SERVER_UNREACHABLE, present=True)
        return self._hold_lane(Reason.LINK, str(error), self._delay_s(self._lane_failures))

    def _on_busy(self, recording: Recording, error: ServerBusyError) -> float:
        reason = _BUSY_REASONS[error.blocked_by]
        if reason is Reason.QUOTA:
            self._activity.problem(ProblemCode.QUOTA, present=True)
        failures = self._count_failure(recording)
        wait_s = self._delay_s(failures) if error.retry_after_s is None else error.retry_after_s
        if error.concerns_all:
            return self._hold_lane(reason, str(error), wait_s)
        self._hold(recording.id, reason, str(error), wait_s)
        return self._hold_lane(reason, str(error), min(wait_s, _YIELD_S))

    def _on_unauthorized(self, error: UnauthorizedError) -> float:
        self._refused_credential = self._transport.credential()
        if self._auth_failures == 0:
            self._store.tell(NewEvent("auth.failed", {"detail": str(error)}))
            log.error("auth.failed", detail=str(error))
        self._auth_failures += 1
        self._activity.problem(ProblemCode.AUTH_FAILED, present=True)
        wait_s = min(_AUTH_LONGEST_S, _AUTH_FIRST_S * 2.0 ** min(self._auth_failures - 1, 8))
        detail = f"the server does not take this device's token ({error}); nothing is lost"
        self._hold_lane(Reason.AUTH, detail, wait_s)
        return min(wait_s, _AUTH_LOOK_S)

    def _on_conflict(
        self, recording: Recording, delivery: Delivery | None, error: ConflictError
    ) -> float:
        if recording.state is State.SENT:
            if error.code == "digest-mismatch" and delivery is not None:
                return self._begin_repair(recording, delivery, error)
            if error.code == "ranges-missing":
                recording = self._store.advance(recording, Event.RANGES_MISSING, digest=None)
        if delivery is not None:
            self._work.learn_missing(delivery, error.missing)
        return self._retry_later(recording, str(error))

    def _begin_repair(
        self, recording: Recording, delivery: Delivery, error: ConflictError
    ) -> float:
        expected = None if recording.digest is None else str(recording.digest)
        told = {**self._named(recording), "expected": expected, "actual": None, "scope": "file"}
        tell = [NewEvent("checksum.failed", told)]
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
        delivery = self._deliveries.pop(recording.id, None)
        if delivery is not None:
            self._work.count(delivery)
        return self._retry_later(recording, detail)

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
                )
            ]
            recording = self._store.update(
                recording, problem=error.code, detail=str(error), tell=tell
            )
        return self._retry_later(recording, str(error))

    def _retry_later(self, recording: Recording, detail: str) -> float:
        failures = self._count_failure(recording)
        return self._hold(recording.id, Reason.BACKOFF, detail, self._delay_s(failures))

    def _delay_s(self, failures: int) -> float:
        return self._backoff.delay_s(failures, jitter=self._jitter())

    def _count_failure(self, recording: Recording) -> int:
        """Count a failure, durably until the wait is at its cap: then the card has enough writes."""
        failures = recording.failures + 1
        if self._backoff.ceiling_s(recording.failures) < self._backoff.cap_s or failures == 1:
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
            tell=[*(also or []), NewEvent("file.failed", told)],
        )
        log.error("upload.failed", recording_id=recording.id, code=code, detail=detail)
        self._let_go(recording.id)

    @staticmethod
    def _named(recording: Recording) -> dict[str, object]:
        return {"file_id": recording.id, "name": recording.name}
