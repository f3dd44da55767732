"""One lane: a connection, and a thread that does one unit of work after the other.

Here: which recording is next. The work itself is `steps`, what follows from a failure `failures`.
The most urgent recording comes first, of equals the oldest; one that fails waits by itself and lets the next one go, while a link
or a server that is away holds up all of them. Several lanes take disjoint ranges of one recording, or
different recordings, whatever there is.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from edge_agent.base.activity import Activity, ProblemCode, Reason, Wait
from edge_agent.base.clock import Clock
from edge_agent.base.errors import (
    AbortedError,
    ClockError,
    LinkDownError,
    NotOurServerError,
    ServerBusyError,
    SourceError,
    StaleRecordingError,
    StoreError,
    TransportError,
    UnauthorizedError,
)
from edge_agent.core.recording import Recording
from edge_agent.core.upload import State
from edge_agent.media.source import Source
from edge_agent.send.body import WORKER, ThrottledBody
from edge_agent.send.clients.native import NativeClient
from edge_agent.send.failures import FailurePolicy
from edge_agent.send.gate import LaneLock
from edge_agent.send.steps import UploadSteps, Verifying
from edge_agent.send.upload_progress import Kind, Task, UploadProgress, UploadsUnderWay
from edge_agent.send.waits import LONGEST_STEP_S, SHORTEST_WAIT_S, Waits
from edge_agent.store.recordings import Store

WORK = (State.STABLE, State.SENDING, State.SENT)

_IDLE_S = 60.0
_ASLEEP_S = 3600.0
"""Of a lane without work: others wake it when there is some."""
_STORE_WAIT_S = 10.0
_FORBIDDEN_LOOK_S = 5.0
"""Between two looks at whether the owner's rules still forbid it."""
_PAGE = 16

_OF_THE_LINK = (
    AbortedError,
    ClockError,
    LinkDownError,
    NotOurServerError,
    ServerBusyError,
    UnauthorizedError,
)
"""Failures that say something whatever has become of the recording meanwhile."""


def _nothing() -> None:
    return None


@dataclass
class Shared:
    """What all lanes have in common; touched with the gate held."""

    store: Store
    source: Callable[[bytes], Source]
    activity: Activity
    clock: Clock
    gate: LaneLock
    holds: Waits
    deliveries: UploadsUnderWay
    setbacks: FailurePolicy
    outflow: ThrottledBody
    is_stopping: Callable[[], bool]
    least_priority: int = 0
    """The link in use is only for recordings of at least this."""
    count: int = 1
    """Lanes that may work; those with a number from here on rest."""
    busy: dict[int, str] = field(default_factory=dict)
    """Lane -> the recording that it works on now."""
    has_store_failed: bool = False
    on_begin: Callable[[], None] = _nothing
    """Called at the begin of each unit of work."""
    may_send: Callable[[float], Wait | None] = lambda _: None
    """Asked before each unit of work; a `Wait`: the owner of the device does not want it now."""
    on_rest: Callable[[], None] = _nothing
    """Called when no lane has anything to do."""
    wake_others: Callable[[], None] = _nothing
    on_verified: Callable[[], None] = _nothing


class Lane:
    """A worker. `step` from one thread; `woken` may be set from any."""

    def __init__(
        self, number: int, shared: Shared, transport: NativeClient, work: UploadSteps
    ) -> None:
        self.number = number
        self.transport = transport
        self.work = work
        self.woken = threading.Event()
        self._shared = shared
        self._current_id: str | None = None
        self._failures = 0
        self._until_s = 0.0
        """This lane's connection broke while others got through: it waits so long."""

    def step(self, now_s: float) -> float:
        """Do one unit of work; return the seconds until the next, 0 when there is more to do.

        A wait above 0 while something is pending has its reason on the board.
        """
        shared = self._shared
        with shared.gate:
            if shared.is_stopping():
                return _IDLE_S
            try:
                wait_s = self._step(now_s)
            except StaleRecordingError:
                # Another worker moved or forgot it: the next pick sees where to.
                self._current_id = None
                wait_s = 0.0
            except StoreError as error:
                shared.has_store_failed = True
                shared.activity.problem(ProblemCode.STORE, present=True)
                wait_s = shared.holds.hold_lane(Reason.DISK, str(error), _STORE_WAIT_S)
            else:
                if shared.has_store_failed:
                    shared.has_store_failed = False
                    shared.activity.problem(ProblemCode.STORE, present=False)
        if self.number == 0:
            shared.activity.beat(WORKER, shared.clock.now_s())
        return wait_s

    def _step(self, now_s: float) -> float:
        shared = self._shared
        if self.number >= shared.count:
            return _ASLEEP_S
        forbidden = shared.may_send(now_s)
        if forbidden is not None:
            return self._hold_forbidden(forbidden)
        held_s = max(self._held_s(now_s), self._until_s - now_s)
        if held_s > 0:
            return held_s
        picked = self._pick(now_s)
        if picked is None:
            return self._rest(now_s)
        recording, task = picked
        shared.activity.block(shared.setbacks.link_wait)
        shared.activity.wait(recording.id, None)
        try:
            wait_s = self._work_on(recording, task)
        finally:
            shared.busy.pop(self.number, None)
            shared.outflow.end(self.number)
            shared.wake_others()
        return wait_s

    def _hold_forbidden(self, wait: Wait) -> float:
        return self._shared.holds.hold_lane(wait.reason, wait.detail, _FORBIDDEN_LOOK_S)

    def _held_s(self, now_s: float) -> float:
        shared = self._shared
        lane = shared.holds.lane
        if lane is not None and lane.wait.reason is Reason.AUTH:
            look_s = shared.setbacks.look_at_login()
        elif lane is not None and lane.wait.reason is Reason.CLOCK:
            look_s = shared.setbacks.look_at_clock()
        else:
            return shared.holds.lane_left_s(now_s)
        return min(look_s, shared.holds.lane_left_s(now_s))

    # --- one unit ---------------------------------------------------------------------------

    def _work_on(self, recording: Recording, task: Task) -> float:
        shared = self._shared
        began_s = shared.clock.now_s()
        delivery = shared.deliveries.of(recording, began_s)
        flight = delivery.begin(self.number, task)
        shared.busy[self.number] = recording.id
        shared.outflow.begin(self.number, recording)
        try:
            shared.on_begin()
            if shared.setbacks.must_probe:
                with shared.gate.opened():
                    self.transport.probe(secrets.token_hex(16))
                shared.setbacks.must_probe = False
            with shared.source(recording.path) as source:
                source.check(recording.identity)
                outcome = self.work.perform(recording, source, delivery, flight)
        except SourceError as error:
            delivery.doubt(self.number)
            shared.deliveries.end(delivery, self.number)
            return self._on_source_error(recording, error)
        except TransportError as error:
            delivery.doubt(self.number)
            shared.deliveries.end(delivery, self.number)
            return self._on_transport_error(recording, error, began_s)
        except StoreError:
            delivery.doubt(self.number)
            raise
        finally:
            shared.deliveries.end(delivery, self.number)
        return self._settle(recording, delivery, task, outcome)

    def _settle(
        self, recording: Recording, delivery: UploadProgress, task: Task, outcome: Verifying | None
    ) -> float:
        shared = self._shared
        self._failures = 0
        if task.kind is not Kind.HASH:
            shared.setbacks.reached()
        if outcome is not None:
            return shared.holds.hold(recording.id, Reason.VERIFYING, outcome.detail, outcome.wait_s)
        if task.kind is Kind.COMPLETE:
            shared.holds.release(recording.id)
            shared.deliveries.drop(delivery.recording_id)
            shared.on_verified()
        return 0.0

    def _on_source_error(self, recording: Recording, error: SourceError) -> float:
        now = self._shared.store.get(recording.id)
        if now is None or now.state not in WORK or now.identity != recording.identity:
            return 0.0  # another lane noticed it first
        return self._shared.setbacks.on_source_error(now, error)

    def _on_transport_error(
        self, recording: Recording, error: TransportError, began_s: float
    ) -> float:
        """Let it be settled, with what the failed work wrote before it failed."""
        shared = self._shared
        now = shared.store.get(recording.id)
        is_stale = (
            now is None
            or now.state is not recording.state
            or now.identity != recording.identity
            or recording.upload_id not in {None, now.upload_id}
        )
        if is_stale and not isinstance(error, _OF_THE_LINK):
            return 0.0  # another lane had the same answer, and it is settled
        if isinstance(error, AbortedError):
            forbidden = shared.may_send(shared.clock.now_s())
            if forbidden is not None:
                return self._hold_forbidden(forbidden)
        wait_s = shared.setbacks.on_transport_error(
            now or recording, error, began_s=began_s, has_others=len(shared.busy) > 1
        )
        if wait_s is not None:
            return wait_s
        self._failures += 1
        wait_s = max(SHORTEST_WAIT_S, shared.setbacks.lane_delay_s(self._failures))
        self._until_s = shared.clock.now_s() + wait_s
        return min(wait_s, LONGEST_STEP_S)

    # --- which recording ----------------------------------------------------------------------

    def _pick(self, now_s: float) -> tuple[Recording, Task] | None:
        """Return what to do: with the current recording, else with the oldest that offers work."""
        shared = self._shared
        elsewhere = self._left_elsewhere(now_s)
        joined: tuple[Recording, Task] | None = None
        for looked_at, recording in enumerate(self._candidates()):
            if joined is not None and (
                looked_at >= _PAGE or recording.priority < joined[0].priority
            ):
                break
            if shared.holds.is_held(recording.id, now_s):
                continue
            delivery = shared.deliveries.find(recording)
            task = self.work.task(recording, delivery, lanes=shared.count, elsewhere=elsewhere)
            if task is None:
                continue
            is_others = task.kind is Kind.SEND and recording.id != self._current_id
            if delivery is not None and delivery.flights and is_others:
                # To help others with theirs can wait: what nobody has begun costs round trips first.
                joined = joined or (recording, task)
                continue
            return self._take(recording, task)
        return None if joined is None else self._take(*joined)

    def _take(self, recording: Recording, task: Task) -> tuple[Recording, Task]:
        self._current_id = recording.id
        return recording, task

    def _candidates(self) -> Iterator[Recording]:
        store = self._shared.store
        current = None if self._current_id is None else store.get(self._current_id)
        if current is not None and current.state in WORK and self._may_go_on(current):
            yield current
        yield from self._queue()

    def _may_go_on(self, current: Recording) -> bool:
        """Return whether nothing more urgent than the current recording waits."""
        shared = self._shared
        if current.priority < shared.least_priority:
            return False
        if shared.store.priority_of is None:
            return True
        more = shared.store.due(*WORK, at_least=current.priority + 1, limit=1)
        return not more or more[0].id in shared.busy.values()

    def _queue(self) -> Iterator[Recording]:
        """Yield the recordings that are due, in order, a few at a time: the queue may be long."""
        shared = self._shared
        after = None
        while page := shared.store.due(
            *WORK, after=after, at_least=shared.least_priority, limit=_PAGE
        ):
            yield from page
            after = page[-1]

    def _left_elsewhere(self, now_s: float) -> int:
        """Return about how many bytes there are for the other lanes beside the next recording."""
        shared = self._shared
        if shared.count == 1:
            return 0
        taken = {*shared.busy.values(), self._current_id}
        waiting = sum(
            recording.identity.length
            for recording in islice(self._queue(), 2 * shared.count)
            if recording.id not in taken and not shared.holds.is_held(recording.id, now_s)
        )
        return waiting + shared.deliveries.left_in_flight

    def _rest(self, now_s: float) -> float:
        """Nothing can be done now: name the reason that ends first, if anything waits at all."""
        shared = self._shared
        self._current_id = None
        idle_s = _IDLE_S if self.number == 0 else _ASLEEP_S
        if not shared.busy:
            shared.on_rest()
            shared.activity.sending(None, rate_bytes_per_s=None)
            shared.holds.release_gone(self._is_pending)
        first = shared.holds.first()
        wait = self._kept_back() if first is None else first.wait
        if not shared.busy:
            shared.activity.block(wait)
        if first is None:
            return idle_s if wait is None else _FORBIDDEN_LOOK_S
        return min(LONGEST_STEP_S, max(SHORTEST_WAIT_S, first.until_s - now_s))

    def _kept_back(self) -> Wait | None:
        """Return why nothing is done although something is due: only more urgent ones may go."""
        shared = self._shared
        least = shared.least_priority
        if not least or not shared.store.due(*WORK, limit=1):
            return None
        detail = f"the link in use carries recordings of priority {least} and above; another is waited for"
        return Wait(Reason.METERED, detail)

    def _is_pending(self, recording_id: str) -> bool:
        recording = self._shared.store.get(recording_id)
        return recording is not None and recording.state in WORK
