"""Telling the ingest server, broker or not: state, queue and events go up, commands come down.

One worker, `ServerReports`, with a thread and a connection of its own; no upload waits for it (law L6).
What a report says is in `document`, when one goes out in `core/report_pace`.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from edge_agent.base.clock import Clock
from edge_agent.base.errors import (
    AbortedError,
    AgentError,
    ReportRefusedError,
    ServerBusyError,
    StoreError,
)
from edge_agent.core.backoff import BackoffPolicy
from edge_agent.core.report_pace import ReportPace, ReportTiming
from edge_agent.report.own_run import OwnRun
from edge_agent.report.server.answers import PARTS, ReportAnswers
from edge_agent.report.server.document import Draft
from edge_agent.report.server.holds import HoldsStanding
from edge_agent.report.server.line import ServerLine
from edge_agent.report.server.parts import Look, ReportParts
from edge_agent.report.server.port import ReportServer

log = structlog.get_logger(__name__)

_ASLEEP_S = 3600.0
_OLDER_SERVER_S = 3600.0
"""Until an older server is asked again: it may have been upgraded."""
_HOLDS_AGAIN_S = 600.0
_BACKOFF = BackoffPolicy(5.0, 900.0)
KEPT_S = 290.0
"""A connection that rests for longer is let go."""


class ServerReports:
    """Keeps the server informed; a worker. From any thread: all but `step` and `close`."""

    def __init__(
        self,
        connect: Callable[[], ReportServer],
        parts: ReportParts,
        run: OwnRun,
        *,
        clock: Clock,
        jitter: Callable[[], float],
        timing: ReportTiming | None = None,
    ) -> None:
        """Prepare; nothing touches the network before the first `step`.

        Args:
            connect: makes the client, when it is needed first.
            parts: finds what there is to tell; asked from `step` only.
            jitter: a draw from ``[0, 1)``; the caller owns the randomness.
        """
        self.wake_runner: Callable[[], None] = _nobody
        """Called, from any thread, when `step` has something to do: the runner sets it."""
        self._line = ServerLine(connect)
        self._parts = parts
        self._clock = clock
        self._head = {"device": run.device_id, "boot_id": run.boot_id, "run_id": run.run_id}
        self._jitter = jitter
        self._pace = ReportPace(timing or ReportTiming())
        self._seq = 0
        self._failures = 0
        self._is_older = False
        self._is_answered = False
        self._answers = ReportAnswers(parts, self._pace)

    def wake(self) -> None:
        """Say that something has changed; returns at once."""
        if self._pace.changed():
            self.wake_runner()

    def hurry(self) -> None:
        """Say that somebody waits for what is to be told."""
        self._pace.hurry()
        self.wake_runner()

    def answered(self) -> None:
        """Say that a command may have its acknowledgement, or the settings in force have changed."""
        self._is_answered = True
        self.wake_runner()

    def tell_all(self) -> None:
        """Tell everything again, soon."""
        self._parts.told.forget(PARTS)
        self.hurry()

    def tell_every(self, interval_s: float) -> None:
        """Tell so often while something goes on."""
        self._pace.tell_every(interval_s)
        self.wake_runner()

    def link_returned(self) -> None:
        """Say that the link, which was away, has been seen to work: do not sit out the backoff."""
        if not self._is_older:
            self._pace.retry_now()
            self.wake_runner()

    def stop(self) -> None:
        """Break off what runs; from any thread, returns at once."""
        self._line.stop()

    def say_goodbye(self) -> None:
        """Tell the server that this run has ended, unless the last report has failed: a dead link costs nothing.

        After `stop`, when `step` is not called any more; `cut` ends it.
        """
        if not self._seq or self._failures or self._is_older:
            return
        is_synced = self._clock.is_synchronised()
        draft = Draft(
            {
                **self._head,
                "seq": self._seq + 1,
                "clock": "synced" if is_synced else "unsynced",
                "status": "offline",
                "reason": "shutdown",
            }
        )
        try:
            self._line.for_goodbye().report(draft.encoded(next_s=round(self._pace.next_s())))
        except AgentError as error:
            log.info(
                "report.farewell_lost",
                error=str(error),
                action="none: the server sees by the silence that the device is away",
            )

    def cut(self) -> None:
        """Break off the goodbye, too; from any thread, returns at once."""
        self._line.cut()

    def close(self) -> None:
        """Let the connection go; `step` is not called any more."""
        self._line.close()

    def step(self, now_s: float) -> float:
        """Report if it is due; return the seconds until the next call is needed."""
        if self._is_answered:
            self._is_answered = False
            self._pace.changed()
            if self._parts.has_answers():
                self._pace.hurry()
        if (wait_s := self._pace.wait_s(now_s)) > 0:
            return min(wait_s, self._tell_holds(now_s))
        try:
            look = self._parts.look({**self._head, "seq": self._seq + 1}, now_s)
            self._pace.look(look.doing, now_s)
            next_s = self._pace.next_s()
            if self._pace.is_due(now_s, is_news=look.is_news):
                self._tell(look, next_s)
        except AbortedError:
            return _ASLEEP_S
        except StoreError as error:
            self._failed(error, 0)
        now_s = self._clock.now_s()
        return min(self._pace.wait_s(now_s), self._parts.holds.wait_s(now_s))

    def _tell(self, look: Look, next_s: float) -> None:
        self._pace.begin()
        used_before = self._line.used_bytes
        try:
            with self._line.asking() as server:
                self._seq += 1
                answer = server.report(look.draft.encoded(next_s=round(next_s)))
        except AbortedError:
            raise
        except ReportRefusedError as error:
            self._meet_refusal(look, error, used_before)
            return
        except AgentError as error:
            self._failed(error, used_before)
            return
        now_s = self._clock.now_s()
        cost = self._line.used_bytes - used_before
        if answer is None:
            self._meet_older(cost, now_s)
            return
        if self._failures or self._is_older:
            log.info("report.taken", failures=self._failures)
        self._failures, self._is_older = 0, False
        self._pace.told(cost, now_s, next_s=next_s, is_news=look.is_news)
        self._parts.told.note(look.parts, now_s)
        if self._parts.taken(look, answer.run):
            self._pace.hurry()
        self._answers.hear(look, answer)
        if next_s > KEPT_S:
            self._line.rest()

    def _failed(self, error: AgentError, used_before: int) -> None:
        self._failures += 1
        wait_s = max(1.0, _BACKOFF.delay_s(self._failures, jitter=(1 + self._jitter()) / 2))
        if isinstance(error, ServerBusyError) and error.retry_after_s is not None:
            wait_s = max(wait_s, error.retry_after_s)
        used = max(0, self._line.used_bytes - used_before)
        self._pace.failed(used, self._clock.now_s(), wait_s=wait_s)
        if self._failures == 1:
            log.info(
                "report.failed",
                error=str(error),
                wait_s=round(wait_s, 1),
                action="tried again, ever more seldom; uploads go on by themselves",
            )

    def _meet_refusal(self, look: Look, error: ReportRefusedError, used_before: int) -> None:
        if self._parts.refused(look, error):
            used = self._line.used_bytes - used_before
            self._pace.failed(used, self._clock.now_s(), wait_s=self._pace.timing.soon_s)
        else:
            self._failed(error, used_before)

    def _meet_older(self, cost: int, now_s: float) -> None:
        if not self._is_older:
            log.info(
                "report.not_taken",
                reason="the server is an older one, or a proxy lets uploads through alone",
                action=f"asked again each {_OLDER_SERVER_S / 3600:.0f} h; uploads need no reports",
            )
        self._is_older = True
        self._pace.failed(cost, now_s, wait_s=_OLDER_SERVER_S)

    def _tell_holds(self, now_s: float) -> float:
        """Tell what the device holds where that is due; return the seconds until the next look."""
        holds = self._parts.holds
        wait_s = max(holds.wait_s(now_s), self._pace.affordable_in_s(now_s))
        if wait_s > 0 or not self._line.is_made:
            return wait_s
        used_before = self._line.used_bytes
        try:
            run = holds.next_run(now_s, is_metered=self._pace.is_metered)
            if run is None:
                return holds.wait_s(now_s)
            with self._line.asking() as server:
                told = server.holds(run)
            holds.answered(None if told is None else HoldsStanding(*told), self._clock.now_s())
        except AbortedError:
            return _ASLEEP_S
        except ReportRefusedError as error:
            self._parts.holds_refused(error, self._clock.now_s())
        except AgentError as error:
            if holds.failed(self._clock.now_s(), _HOLDS_AGAIN_S):
                log.info("holds.failed", error=str(error), wait_s=_HOLDS_AGAIN_S)
        now_s = self._clock.now_s()
        self._pace.spend(self._line.used_bytes - used_before, now_s)
        if self._pace.next_s() > KEPT_S:
            self._line.rest()
        return max(holds.wait_s(now_s), self._pace.affordable_in_s(now_s))


def _nobody() -> None:
    return None
