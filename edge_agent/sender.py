"""The lane: takes recordings from STABLE to VERIFIED, one unit of work per step.

Here: which recording is next. The work itself is `lane_work`, what follows from a failure `setbacks`.
One recording at a time, oldest first; one that fails waits by itself and lets the next one go, while
a link or a server that is away holds up all of them.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable

from edge_agent.activity import Activity, ProblemCode, Reason
from edge_agent.clock import Clock
from edge_agent.config import UploadSettings
from edge_agent.core.backoff import BackoffPolicy
from edge_agent.core.upload import State
from edge_agent.delivery import Deliveries
from edge_agent.errors import SourceError, StaleRecordingError, StoreError, TransportError
from edge_agent.holds import LONGEST_STEP_S, SHORTEST_WAIT_S, Holds
from edge_agent.lane_work import LaneWork, Verifying
from edge_agent.outflow import WORKER
from edge_agent.recording import Recording
from edge_agent.setbacks import Setbacks
from edge_agent.source import Source
from edge_agent.store import Store
from edge_agent.transport import Transport

_IDLE_S = 30.0
_STORE_WAIT_S = 10.0
_WORK = (State.STABLE, State.SENDING, State.SENT)


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
        self._deliveries = Deliveries(self._work.count)
        self._holds = Holds(activity, clock)
        self._setbacks = Setbacks(
            store,
            transport,
            activity,
            holds=self._holds,
            deliveries=self._deliveries,
            work=self._work,
            jitter=jitter,
        )
        self._current_id: str | None = None
        self._has_store_failed = False
        self.on_verified: Callable[[], None] = lambda: None
        """Called after each receipt that is durable here; must return at once."""
        self.reconfigure(settings)

    def reconfigure(self, settings: UploadSettings) -> None:
        """Use *settings* from the next request on (rates at once)."""
        self._setbacks.backoff = BackoffPolicy(
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
            wait_s = self._holds.hold_lane(Reason.DISK, str(error), _STORE_WAIT_S)
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
            if self._setbacks.must_probe:
                self._transport.probe(secrets.token_hex(16))
                self._setbacks.must_probe = False
            return self._advance(recording)
        except SourceError as error:
            return self._setbacks.on_source_error(self._as_it_is_now(recording), error)
        except TransportError as error:
            return self._setbacks.on_transport_error(self._as_it_is_now(recording), error)

    def _as_it_is_now(self, recording: Recording) -> Recording:
        """Return it with what the failed work wrote before it failed."""
        return self._store.get(recording.id) or recording

    def _held_s(self, now_s: float) -> float:
        lane = self._holds.lane
        if lane is None or lane.wait.reason is not Reason.AUTH:
            return self._holds.lane_left_s(now_s)
        look_s = self._setbacks.look_at_login()
        return min(look_s, self._holds.lane_left_s(now_s))

    def _advance(self, recording: Recording) -> float:
        delivery = self._deliveries.of(recording, self._clock.now_s())
        with self._source(recording.path) as source:
            source.check(recording.identity)
            if recording.state is State.STABLE:
                self._work.create(recording, delivery)
                self._setbacks.reached()
            elif recording.state is State.SENDING:
                if self._work.send(recording, source, delivery):
                    self._setbacks.reached()
            else:
                outcome = self._work.complete(recording, delivery)
                self._setbacks.reached()
                if isinstance(outcome, Verifying):
                    return self._holds.hold(
                        recording.id, Reason.VERIFYING, outcome.detail, outcome.wait_s
                    )
                self._holds.release(recording.id)
                self._deliveries.drop(recording.id)
                self.on_verified()
        return 0.0

    def _pick(self, now_s: float) -> Recording | None:
        """Return the recording to work on: the current one, else the oldest that need not wait."""
        if self._current_id is not None and not self._holds.is_held(self._current_id, now_s):
            current = self._store.get(self._current_id)
            if current is not None and current.state in _WORK:
                return current
        after = 0
        while page := self._store.in_states(*_WORK, after_seq=after, limit=100):
            for recording in page:
                if not self._holds.is_held(recording.id, now_s):
                    self._current_id = recording.id
                    return recording
            after = page[-1].seq
        return None

    def _rest(self, now_s: float) -> float:
        """Nothing can be done now: name the reason that ends first, if anything waits at all."""
        self._current_id = None
        self._activity.sending(None, rate_bytes_per_s=None)
        self._holds.release_all_but({one.id for one in self._store.in_states(*_WORK)})
        first = self._holds.first()
        if first is None:
            self._activity.block(None)
            return _IDLE_S
        self._activity.block(first.wait)
        return min(LONGEST_STEP_S, max(SHORTEST_WAIT_S, first.until_s - now_s))
