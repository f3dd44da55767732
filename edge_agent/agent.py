"""The running agent: starts its parts, each in its thread, reloads, and stops them in order.

Which calls, in which order::

    block_signals()                          # before any thread begins
    agent = Agent(loaded, ...)               # opens and locks the state; refuses where another runs
    agent.run(reload)                        # the main thread: signals, systemd, SIGHUP; returns on SIGTERM
    agent.close()                            # lets go of files, even if `run` has raised

Inside, `run` starts the reporter, the control socket, the link's watch and then the workers (watcher,
sender, janitor, commands, enrolment; a watcher for each folder), and stops them in the opposite sense
within five seconds: requests are broken off, farewells are said, the store is closed last. Makes no
part (`parts`) and decides nothing about uploads.

Not supported: `run` twice, two agents on one `state_dir`; what `settings_reload` lists as needing a
restart is not changed by a reload.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from edge_agent.base import patience
from edge_agent.base.clock import Clock
from edge_agent.base.errors import ConfigError, StoreError
from edge_agent.base.helper import only_helps
from edge_agent.base.reasons import ProblemCode
from edge_agent.base.settings import AgentSettings
from edge_agent.base.settings_check import is_insecure
from edge_agent.base.settings_loading import Loaded
from edge_agent.parts import Parts
from edge_agent.rounds import Rounds
from edge_agent.send.wiring import owner_rules
from edge_agent.settings_reload import Change, compare
from edge_agent.store.outbox import NewEvent
from edge_host.logs import set_level
from edge_host.startup import next_signal
from edge_host.systemd import Notifier
from edge_host.version import own_version

log = structlog.get_logger()

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
SIGNALS = STOP_SIGNALS | {signal.SIGHUP}

_JOIN_S = 2.0
_FAREWELL_S = 1.5
_STOP_S = 3.0
"""All of it, of the five seconds that a manager may count on."""


class Agent:
    """Everything that `edge-agent run` runs: `run` it once, then `close` it."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        clock: Clock,
        boot_id: str,
        notifier: Notifier,
        passed: Sequence[socket.socket] = (),
    ) -> None:
        """Open what must be open; no thread runs yet.

        Args:
            passed: sockets at which recorders of other users say what is finished.

        Raises:
            AlreadyRunningError, StateDirError, StoreError, ConfigError: as their messages say.
        """
        self._settings = loaded.settings
        self._clock = clock
        self._notifier = notifier
        self._ends_s: float | None = None
        self._parts = Parts(loaded.settings, clock=clock, boot_id=boot_id, passed=passed)
        self._rounds = Rounds(loaded.settings, self._parts, clock=clock, notifier=notifier)

    def run(self, reload: Callable[[], Loaded]) -> None:
        """Work until SIGTERM or SIGINT; SIGHUP reloads. The caller has blocked these signals.

        Args:
            reload: reads the configuration again from where it came from.
        """
        self._parts.commands.load, self._parts.commands.compare = reload, self._differences
        self._start()
        try:
            while True:
                self._rounds.look()
                arrived = next_signal(SIGNALS, self._rounds.interval_s)
                if arrived is None:
                    continue
                if arrived in STOP_SIGNALS:
                    log.info("agent.stopping", signal=signal.Signals(arrived).name)
                    return
                self._reload(reload)
        finally:
            self._stop()

    def _start(self) -> None:
        parts = self._parts
        insecure = is_insecure(self._settings.server.url)
        parts.activity.problem(ProblemCode.INSECURE_TRANSPORT, present=insecure)
        self._tell("agent.started", {"version": own_version()})
        parts.activity.subscribe(parts.reporter.wake)
        with only_helps("reporter", instead="nobody is told over MQTT"):
            parts.reporter.start()
        parts.commands.start()
        with only_helps("link watch", instead="the kernel alone notices dead connections"):
            parts.link.start()
        parts.watchers.start()
        for name, runner in parts.workers.items():
            if name == "sender":
                runner.start()
            else:
                with only_helps(name, instead="until the next start of the agent it does not run"):
                    runner.start()
        parts.reports.start()
        parts.snapshots.phase = None
        parts.activity.touch()
        self._notifier.ready()
        log.info(
            "agent.started",
            device_id=self._settings.device_id,
            folders=[one.named(str(one.path)) for one in parts.folders],
            server=self._settings.server.url,
            state_dir=str(self._settings.state_dir),
        )

    def _reload(self, reload: Callable[[], Loaded]) -> None:
        self._notifier.reloading(self._clock.now_s())
        problems: list[str] = []
        try:
            self._apply(reload().settings)
        except ConfigError as error:
            problems = error.problems
            self._tell("config.rejected", {"problems": problems[:10]})
        for problem in problems:
            log.error("config.rejected", problem=problem, action="the old one stays in force")
        self._parts.activity.problem(ProblemCode.CONFIG, present=bool(problems))
        self._notifier.ready()

    def _differences(self, wanted: AgentSettings) -> tuple[tuple[str, ...], tuple[str, ...]]:
        change = compare(self._settings, wanted)
        return change.applied, change.needs_restart

    def _apply(self, wanted: AgentSettings) -> None:
        parts = self._parts
        change: Change = compare(self._settings, wanted)
        self._settings = change.settings
        set_level(change.settings.log.level)
        parts.folders.reconfigure(change.settings.watch)
        parts.watchers.follow()
        parts.janitor.wake()
        parts.workers["while-recording"].wake()
        parts.queue_rules.prioritise(change.settings)
        parts.queue_rules.group(change.settings, parts.sender)
        parts.sender.reconfigure(change.settings.upload)
        rules = owner_rules(change.settings)
        parts.sender.go_by(rules)
        parts.deadlines.go_by(rules.deadlines)
        parts.workers["deadlines"].wake()
        parts.sender.wake()
        parts.janitor.reconfigure(change.settings.retention)
        parts.commands.reconfigure(change.settings)
        log.info(
            "config.applied", changed=list(change.applied), needs_restart=list(change.needs_restart)
        )
        self._tell(
            "config.applied",
            {"changed": list(change.applied), "needs_restart": list(change.needs_restart)},
        )
        parts.activity.touch()

    def _stop(self) -> None:
        """End everything within five seconds, whatever the link and the broker do."""
        parts = self._parts
        self._ends_s = self._clock.now_s() + _STOP_S
        self._notifier.stopping()
        parts.snapshots.phase = "stopping"
        patience.SHARED.end()
        with only_helps("link watch", instead="it ends with the process"):
            parts.link.stop(0)
        parts.reports.stop()  # first: it looks whether the link works, before requests are broken off
        parts.watchers.stop()
        for runner in parts.workers.values():
            runner.stop()
        parts.sender.abort()
        parts.groups.abort()
        parts.receipt_client.abort()
        parts.commands.stop()
        deadline_s = self._clock.now_s() + _JOIN_S
        late = [
            runner.name
            for runner in (*parts.watchers.runners, *parts.workers.values())
            if not runner.join(max(0.0, deadline_s - self._clock.now_s()))
        ]
        if late:
            log.warning(
                "worker.late", workers=late, action="none: what they did not write is redone"
            )
        if "janitor" not in late:
            parts.janitor.put_all_back()
        self._tell("agent.stopped", {})
        with only_helps("reporter", instead="the broker publishes the will"):
            parts.reporter.stop(_FAREWELL_S)
        parts.watchers.end_hints()
        log.info("agent.stopped")

    def close(self) -> None:
        """Let go of files; the threads have ended, or end with the process."""
        self._parts.close(self._left_s)

    def _left_s(self) -> float:
        if self._ends_s is None:
            return _JOIN_S
        return max(0.0, self._ends_s - self._clock.now_s())

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        try:
            self._parts.store.outbox.tell(NewEvent(kind, data, is_low=kind.startswith("agent.")))
        except StoreError as error:
            log.warning("event.lost", type=kind, error=str(error))


def block_signals() -> None:
    """Keep `SIGNALS` for `Agent.run`; every thread begun later inherits that."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
