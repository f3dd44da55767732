"""One lane: a connection to one endpoint, and a thread that does one unit of work after the other.

Here: when it works and when it waits. Which recording is next is `lane_queue`, the work itself `steps`,
what follows from a failure `failures` and `reach`. A recording that fails waits by itself and lets the
next one go, while a link or a server that is away holds up all of them.
"""

from __future__ import annotations

import secrets

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
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.base.view import Wait
from edge_agent.core.recording import Recording
from edge_agent.send.body import WORKER
from edge_agent.send.giving_up import GivingUp
from edge_agent.send.lane_queue import LaneQueue
from edge_agent.send.lane_services import LaneServices
from edge_agent.send.roster import Member
from edge_agent.send.rules.link_policy import WORK
from edge_agent.send.source_in_hand import SourceInHand
from edge_agent.send.steps import UploadSteps, Verifying
from edge_agent.send.upload_progress import Kind, Task, Unit, UploadProgress
from edge_agent.send.waits import LONGEST_STEP_S, SHORTEST_WAIT_S

_IDLE_S = 60.0
_ASLEEP_S = 3600.0
"""Of a lane without work: others wake it when there is some."""
_STORE_WAIT_S = 10.0
_FORBIDDEN_LOOK_S = 5.0
"""Between two looks at whether the owner's rules still forbid it."""

_OF_THE_LINK = (
    AbortedError,
    ClockError,
    LinkDownError,
    NotOurServerError,
    ServerBusyError,
    UnauthorizedError,
)
"""Failures that say something whatever has become of the recording meanwhile."""


class Lane:
    """A worker. `step` from one thread; `woken` may be set from any."""

    def __init__(
        self, member: Member, shared: LaneServices, queue: LaneQueue, steps: UploadSteps
    ) -> None:
        self.number = member.number
        self.client = member.client
        self.woken = member.woken
        self._shared = shared
        self._queue = queue
        self._steps = steps
        self._giving_up = GivingUp(
            shared.store.given_up, member.client, clock=shared.clock, lock=shared.lock
        )
        self._in_hand = SourceInHand(self.number, shared.open_source, shared.held)
        self._has_store_failed = False
        self._failures = 0
        self._until_s = 0.0
        """This lane's connection broke while others got through: it waits so long."""

    def step(self, now_s: float) -> float:
        """Do one unit of work; return the seconds until the next, 0 when there is more to do.

        A wait above 0 while something is pending has its reason on the board.
        """
        with self._shared.lock:
            wait_s = _IDLE_S
            try:
                if not self._shared.roster.stopping.is_set():
                    wait_s = self._guarded(now_s)
            finally:
                if wait_s > 0:
                    self._in_hand.let_go()
        if self.number == 0:
            self._shared.activity.beat(WORKER, self._shared.clock.now_s())
        return wait_s

    def let_go(self) -> None:
        """Close the file that is in hand between two steps; from any thread, with the lock held."""
        if self.number not in self._shared.roster.busy:
            self._in_hand.let_go()

    def _guarded(self, now_s: float) -> float:
        """Take a step; where the store cannot be used, wait for it."""
        shared = self._shared
        try:
            wait_s = self._step(now_s)
        except StaleRecordingError:
            # Another worker moved or forgot it: the next pick sees where to.
            self._queue.leave_current()
            return 0.0
        except StoreError as error:
            self._has_store_failed = True
            shared.activity.problem(ProblemCode.STORE, present=True)
            return shared.waits.hold_lane(Reason.DISK, str(error), _STORE_WAIT_S)
        if self._has_store_failed:
            self._has_store_failed = False
            shared.activity.problem(ProblemCode.STORE, present=False)
        return wait_s

    def _step(self, now_s: float) -> float:
        shared = self._shared
        if self.number >= shared.roster.count:
            return _ASLEEP_S
        if self.number == 0:
            shared.waits.end_troubles(self._is_pending)
        forbidden = shared.permission.may_send(now_s)
        if forbidden is not None:
            return self._hold_forbidden(forbidden)
        held_s = max(shared.reach.held_s(now_s), self._until_s - now_s)
        if held_s > 0:
            return held_s
        if self.number == 0 and not shared.reach.must_probe:
            self._giving_up.tell_of_one()
        shared.waits.release_over(now_s)
        picked = self._queue.pick(now_s)
        if picked is None:
            return self._rest(now_s)
        recording, task = picked
        shared.activity.block(shared.reach.link_wait)
        shared.activity.wait(recording.id, None)
        try:
            wait_s = self._work_on(recording, task)
        finally:
            shared.roster.busy.pop(self.number, None)
            shared.body.end(self.number)
            shared.held.release(self._is_pending)
            shared.roster.wake_idle()
        return wait_s

    def _hold_forbidden(self, wait: Wait) -> float:
        return self._shared.waits.hold_lane(wait.reason, wait.detail, _FORBIDDEN_LOOK_S)

    def _work_on(self, recording: Recording, task: Task) -> float:
        shared = self._shared
        began_s = shared.clock.now_s()
        progress = shared.uploads.of(recording, began_s)
        flight = progress.begin(self.number, task)
        shared.roster.busy[self.number] = recording.id
        shared.body.begin(self.number, recording)
        try:
            shared.counter.review(began_s)
            self._probe_if_in_doubt()
            if task.kind is Kind.COMPLETE:
                is_gone = self._in_hand.is_gone(recording)
                outcome = self._steps.complete(recording, progress, is_gone=is_gone)
            else:
                unit = Unit(recording, self._in_hand.take(recording), progress, flight)
                outcome = self._steps.perform(unit)
        except SourceError as error:
            self._give_up(progress)
            return self._on_source_error(recording, error)
        except TransportError as error:
            self._give_up(progress)
            return self._on_transport_error(recording, error, began_s)
        except StoreError:
            progress.doubt(self.number)
            raise
        finally:
            shared.uploads.end(progress, self.number)
        return self._settle(recording, progress, task, outcome)

    def _probe_if_in_doubt(self) -> None:
        if self._shared.reach.must_probe:
            with self._shared.lock.opened():
                self.client.probe(secrets.token_hex(16))
            self._shared.reach.probed()

    def _give_up(self, progress: UploadProgress) -> None:
        progress.doubt(self.number)
        self._shared.uploads.end(progress, self.number)
        self._in_hand.let_go()

    def _settle(
        self, recording: Recording, progress: UploadProgress, task: Task, outcome: Verifying | None
    ) -> float:
        shared = self._shared
        self._failures = 0
        if task.kind is not Kind.HASH:
            shared.reach.reached()
        if outcome is not None:
            return shared.waits.hold(recording.id, Reason.VERIFYING, outcome.detail, outcome.wait_s)
        if task.kind is Kind.COMPLETE:
            self._in_hand.close()  # whoever deletes it then has the space at once
            shared.waits.release(recording.id)
            shared.uploads.drop(progress.recording_id)
            shared.on_verified()
        return 0.0

    def _on_source_error(self, recording: Recording, error: SourceError) -> float:
        now = self._shared.store.get(recording.id)
        if now is None or now.state not in WORK or now.identity != recording.identity:
            return 0.0  # another lane noticed it first
        return self._shared.failures.on_source_error(now, error)

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
            forbidden = shared.permission.may_send(shared.clock.now_s())
            if forbidden is not None:
                return self._hold_forbidden(forbidden)
        wait_s = shared.failures.on_transport_error(
            now or recording, error, began_s=began_s, has_others=len(shared.roster.busy) > 1
        )
        if wait_s is not None:
            return wait_s
        self._failures += 1
        wait_s = max(SHORTEST_WAIT_S, shared.failures.lane_delay_s(self._failures))
        self._until_s = shared.clock.now_s() + wait_s
        return min(wait_s, LONGEST_STEP_S)

    def _rest(self, now_s: float) -> float:
        """Nothing can be done now: name the reason that ends first, if anything waits at all."""
        shared = self._shared
        self._queue.leave_current()
        idle_s = _IDLE_S if self.number == 0 else _ASLEEP_S
        if not shared.roster.busy:
            shared.counter.rest()
            self._steps.rest()
            shared.activity.sending(None, rate_bytes_per_s=None)
            shared.waits.release_gone(self._is_pending)
        first = shared.waits.first()
        wait = self._kept_back() if first is None else first.wait
        if not shared.roster.busy:
            shared.activity.block(wait)
        if first is None:
            return idle_s if wait is None else _FORBIDDEN_LOOK_S
        return min(LONGEST_STEP_S, max(SHORTEST_WAIT_S, first.until_s - now_s))

    def _kept_back(self) -> Wait | None:
        """Return why nothing is done although something is due: only more urgent ones may go."""
        permission = self._shared.permission
        least = permission.least_priority
        if not least and permission.originals_from:
            return permission.held_originals() if self._shared.store.due(*WORK, limit=1) else None
        if not least or not self._shared.store.due(*WORK, limit=1):
            return None
        verdict = self._shared.permission.link_in_use.verdict
        if verdict.held_by is not None:
            return Wait(Reason(verdict.held_by), verdict.detail)
        detail = f"the link in use carries recordings of priority {least} and above; another is waited for"
        return Wait(Reason.METERED, detail)

    def _is_pending(self, recording_id: str) -> bool:
        recording = self._shared.store.get(recording_id)
        return recording is not None and recording.state in WORK
