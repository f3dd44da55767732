"""What the main thread looks at now and then: signs of life, the status line, what only helps."""

from __future__ import annotations

import hashlib

import structlog

from edge_agent import memory
from edge_agent.base.clock import Clock
from edge_agent.base.errors import StoreError
from edge_agent.base.helper import only_helps
from edge_agent.base.reasons import ProblemCode
from edge_agent.base.settings import AgentSettings
from edge_agent.base.worker_thread import stuck_workers
from edge_agent.media.retry import retry_on_new_way
from edge_agent.parts import Parts
from edge_agent.report.in_words import status_line
from edge_agent.report.standing_log import StandingLog
from edge_host.systemd import Notifier
from edge_host.version import own_version

log = structlog.get_logger()

_INTERVAL_S = 30.0
"""Between two looks at the watchdog and the status line; far below systemd's shortest sensible
WatchdogSec, and rare enough to let a board sleep."""


class Rounds:
    """For the main thread alone."""

    def __init__(
        self, settings: AgentSettings, parts: Parts, *, clock: Clock, notifier: Notifier
    ) -> None:
        self._url = settings.server.url
        self._parts = parts
        self._clock = clock
        self._notifier = notifier
        self._standing = StandingLog()

    @property
    def interval_s(self) -> float:
        """The longest pause between two looks."""
        watchdog_s = self._notifier.watchdog_s
        return _INTERVAL_S if watchdog_s is None else min(_INTERVAL_S, watchdog_s / 3)

    def look(self) -> None:
        """Look at everything once."""
        now_s = self._clock.now_s()
        self._feed_watchdog(now_s)
        self._parts.reserve.take()
        self._parts.commands.listen()
        self._retry_on_new_way()
        is_synced = self._clock.is_synchronised()
        self._parts.activity.problem(ProblemCode.CLOCK_UNSYNCED, present=not is_synced)
        self._tell_status(now_s)
        self._parts.queue_rules.review_ages()
        with only_helps("memory", instead="the C library keeps it"):
            memory.trim()

    def _feed_watchdog(self, now_s: float) -> None:
        """Show systemd a sign of life, if recordings arrive: a folder that hangs ends nothing for others."""
        parts = self._parts
        watching = parts.watchers.runners
        stuck = stuck_workers([parts.workers["sender"]], parts.activity, now_s)
        hung = stuck_workers(watching, parts.activity, now_s)
        if stuck or len(hung) == len(watching):
            log.error("watchdog.starved", workers=[*stuck, *hung])
            return
        if hung:
            log.error("folder.hung", workers=hung, action="none: what is in other folders is sent")
        self._notifier.alive()

    def _retry_on_new_way(self) -> None:
        """A verdict that came by another URL, login or version may not be the one of today."""
        login = self._parts.transport.credential()
        if login is None:
            return
        seen = f"{self._url} {own_version()} {login.hex()}"
        try:
            retried = retry_on_new_way(self._parts.store, hashlib.sha256(seen.encode()).hexdigest())
        except StoreError as error:
            log.warning("retry.failed", error=str(error), action="done by a later look")
            return
        if retried:
            self._parts.watchers.wake()

    def _tell_status(self, now_s: float) -> None:
        with only_helps("status line", instead="systemd shows an older one"):
            try:
                document = self._parts.snapshots()
                self._standing.look(document, now_s)
                self._notifier.status(status_line(document))
                if document["queue"]["files"]:
                    self._parts.store.running.keep()
            except StoreError as error:
                self._notifier.status(str(error))
