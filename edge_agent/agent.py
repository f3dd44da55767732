"""The composition root: makes the parts, gives each its thread, stops them in order.

Which calls, in which order::

    block_signals()                          # before any thread begins
    with Agent(loaded, ...) as agent:        # opens and locks the state; refuses where another runs
        agent.run(reload)                    # the main thread: signals, systemd, SIGHUP; returns on SIGTERM

Inside, `run` starts the reporter, the control socket, the link's watch and then the workers (watcher,
sender, janitor, commands, enrolment; a watcher for each folder), and stops them in the opposite sense within five seconds: requests are broken
off, farewells are said, the store is closed last. Decides nothing about uploads.

Not supported: `run` twice, two agents on one `state_dir`; what `settings_reload` lists as needing a
restart is not changed by a reload.
"""

from __future__ import annotations

import hashlib
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import structlog

from edge_agent import memory
from edge_agent.base import patience
from edge_agent.base.activity import Activity, ProblemCode
from edge_agent.base.clock import Clock
from edge_agent.base.errors import ConfigError, StoreError
from edge_agent.base.helper import only_helps
from edge_agent.base.settings import AgentSettings
from edge_agent.base.settings_check import is_insecure
from edge_agent.base.settings_loading import Loaded
from edge_agent.base.state_lock import DATABASE, StateLock
from edge_agent.base.worker_thread import WorkerThread, stuck_workers
from edge_agent.media.awaited_repairs import AwaitedRepairs
from edge_agent.media.folder import Folder
from edge_agent.media.folders import Folders
from edge_agent.media.janitor import Janitor
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.retry import retry_on_new_way
from edge_agent.media.stability_check import StabilityCheck
from edge_agent.media.watcher import Watcher
from edge_agent.media.watchers import Watchers
from edge_agent.operate.agent_commands import AgentCommands
from edge_agent.operate.link_use import link_use
from edge_agent.operate.telling import Telling
from edge_agent.report.standing_log import StandingLog
from edge_agent.report.state_document import StateDocuments, status_line
from edge_agent.send.enrolment import Enrolment
from edge_agent.send.receipts import standing_of
from edge_agent.send.wiring import (
    make_deadlines,
    make_group_telling,
    make_link_watch,
    make_receipt_client,
    make_sender,
    make_transport,
    make_way,
    make_while_recording,
    owner_rules,
)
from edge_agent.settings_reload import Change, compare
from edge_agent.store import priorities
from edge_agent.store.groups import adopt_all
from edge_agent.store.loss import lost
from edge_agent.store.outbox import NewEvent
from edge_agent.store.recordings import Store
from edge_agent.store.reserve import Reserve
from edge_host.logs import set_level
from edge_host.startup import next_signal
from edge_host.systemd import Notifier
from edge_host.version import own_version

log = structlog.get_logger()

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
SIGNALS = STOP_SIGNALS | {signal.SIGHUP}

_TICK_S = 30.0
"""Between two looks at the watchdog and the status line; far below systemd's shortest sensible
WatchdogSec, and rare enough to let a board sleep."""
_JOIN_S = 2.0
_FAREWELL_S = 1.5
_STOP_S = 3.0
"""All of it, of the five seconds that a manager may count on."""


class Agent:
    """Everything that `edge-agent run` runs. Use in a ``with`` block, then `run`."""

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
        settings = loaded.settings
        self._settings = settings
        self._clock = clock
        self._notifier = notifier
        self._ends_s: float | None = None
        self._ages: int | None = None
        """Where the look at how old recordings are goes on; None: no rule asks for that."""
        self._standing = StandingLog()
        self._lock = StateLock(settings.state_dir)
        self.activity = Activity()
        self._reserve = Reserve(settings.state_dir)
        self._store = self._open_store(boot_id)
        self._store.outbox.on_written = self.activity.touch
        self._folders = Folders(settings.watch)
        with only_helps("folders", instead="the next start looks whose recordings are whose"):
            self._folders.adopt(self._store)  # before the rules that name a folder
        self._apply_priorities(settings)
        self._snapshots = self._new_snapshots(boot_id)
        self._way = make_way(settings, self._store, clock)
        self._link = make_link_watch(settings, clock, self._way)
        self._transport = make_transport(settings, clock, self._link, way=self._way)
        self._receipt_client = make_receipt_client(settings, clock)
        self._janitor = Janitor(
            self._store,
            settings.retention,
            self.activity,
            clock=clock,
            folders=self._folders,
            probe=LeaseProbe(),
            ask=lambda receipt: standing_of(self._receipt_client, receipt),
            awaited=AwaitedRepairs(self._store, boot_id),
        )
        self._sender = make_sender(
            settings,
            self._store,
            self._transport,
            self.activity,
            clock,
            folders=self._folders,
            link=self._link,
            way=self._way,
            on_verified=self._verified,
        )
        self._groups = make_group_telling(
            settings, self._store, self._sender, clock, link=self._link, way=self._way
        )
        self._apply_groups(settings)
        self._deadlines = make_deadlines(settings, self._store, self._sender, self.activity, clock)
        self._while_recording = make_while_recording(
            settings, self._sender, self._folders, clock, link=self._link, way=self._way
        )
        self._watchers = Watchers(
            self._folders,
            self._store,
            self.activity,
            new=self._new_watcher,
            thread=partial(self._worker, ProblemCode.WATCHER_FAILED),
        )
        self._janitor.on_replaced = self._watchers.ask_anew
        self._commands = AgentCommands(
            settings,
            self._store,
            self.activity,
            self._snapshots,
            clock=clock,
            boot_id=boot_id,
            folders=self._folders,
            sender=self._sender,
            watchers=self._watchers,
            passed=passed,
        )
        telling = Telling(
            settings,
            self._store,
            self.activity,
            self._snapshots,
            self._commands,
            clock=clock,
            boot_id=boot_id,
            way=self._way,
            link=self._link,
        )
        self._reporter, self._reports = telling.reporter, telling.reports
        self._runners = self._new_runners()
        self._reporter.wake_runner = self._runners["reporter"].wake
        self._commands.wake_runner = self._runners["commands"].wake

    def _verified(self) -> None:
        self._janitor.wake()
        self._runners["groups"].wake()

    def _open_store(self, boot_id: str) -> Store:
        self._reserve.on_need = lambda needed: self.activity.problem(
            ProblemCode.STATE_FULL, present=needed
        )
        path = self._settings.state_dir / DATABASE
        self._lost = lost(path)
        self._reserve.take()
        return Store.open(path, clock=self._clock, boot_id=boot_id, reserve=self._reserve)

    def _new_snapshots(self, boot_id: str) -> StateDocuments:
        return StateDocuments(
            self._store,
            self.activity,
            self._clock,
            boot_id=boot_id,
            folders=self._folders,
            link=lambda: link_use(self._sender, self._link, self._way),
            is_paused=lambda: self._sender.is_paused,
        )

    def _new_watcher(self, folder: Folder) -> Watcher:
        probe = LeaseProbe()
        settler = StabilityCheck(
            folder, self._store, self.activity, probe, wake_sender=self._sender.wake
        )
        watcher = Watcher(folder, self._store, self.activity, settler, probe=probe)
        watcher.on_aside = self._janitor.found_aside
        watcher.on_doubt = self._janitor.doubts.note
        return watcher

    def _new_runners(self) -> dict[str, WorkerThread]:
        sender, janitor = self._sender, self._janitor
        runners = [
            self._worker(ProblemCode.SENDER_FAILED, "sender", sender.step, sender.woken),
            self._worker(ProblemCode.JANITOR_FAILED, "janitor", janitor.step, janitor.woken),
            self._worker(ProblemCode.REPORTER_FAILED, "reporter", self._reporter.step),
            self._worker(ProblemCode.COMMANDS_FAILED, "commands", self._commands.desk.step),
            WorkerThread("while-recording", self._while_recording.step, clock=self._clock),
            WorkerThread("groups", self._groups.step, clock=self._clock),
            WorkerThread("deadlines", self._deadlines.step, clock=self._clock),
        ]
        if self._settings.server.claim_token_file is not None:
            step = self._new_enrolment().step
            runners.append(self._worker(ProblemCode.ENROLMENT_FAILED, "enrolment", step))
        return {one.name: one for one in runners}

    def run(self, reload: Callable[[], Loaded]) -> None:
        """Work until SIGTERM or SIGINT; SIGHUP reloads. The caller has blocked these signals.

        Args:
            reload: reads the configuration again from where it came from.
        """
        self._commands.load, self._commands.compare = reload, self._differences
        self._start()
        try:
            while True:
                self._tick()
                arrived = next_signal(SIGNALS, self._tick_s())
                if arrived is None:
                    continue
                if arrived in STOP_SIGNALS:
                    log.info("agent.stopping", signal=signal.Signals(arrived).name)
                    return
                self._reload(reload)
        finally:
            self._stop()

    def _start(self) -> None:
        self._tell_of_loss()
        insecure = is_insecure(self._settings.server.url)
        self.activity.problem(ProblemCode.INSECURE_TRANSPORT, present=insecure)
        self._tell("agent.started", {"version": own_version()})
        self.activity.subscribe(self._reporter.wake)
        with only_helps("reporter", instead="nobody is told over MQTT"):
            self._reporter.start()
        self._commands.start()
        with only_helps("link watch", instead="the kernel alone notices dead connections"):
            self._link.start()
        self._watchers.start()
        for name, runner in self._runners.items():
            if name == "sender":
                runner.start()
            else:
                with only_helps(name, instead="until the next start of the agent it does not run"):
                    runner.start()
        self._reports.start()
        self._snapshots.phase = None
        self.activity.touch()
        self._notifier.ready()
        log.info(
            "agent.started",
            device_id=self._settings.device_id,
            folders=[one.named(str(one.path)) for one in self._folders],
            server=self._settings.server.url,
            state_dir=str(self._settings.state_dir),
        )

    def _tell_of_loss(self) -> None:
        """Say that what was remembered is gone, with what went with it, if it is."""
        aside = self._store.moved_aside
        how = "was damaged" if aside is not None else self._lost
        if how is None:
            return
        log.error(
            "store.lost",
            detail=f"the state database {how}: events that no broker had yet, the counters, and what people had"
            " ordered (a pause, a limit, a priority) went with it",
            moved_to=None if aside is None else str(aside),
            action="none: it is made anew from the folder and the server; no recording is lost",
        )
        moved_to = None if aside is None else aside.name
        self._tell("agent.state_lost", {"detail": f"agent.db {how}", "moved_to": moved_to})

    def _tick_s(self) -> float:
        watchdog_s = self._notifier.watchdog_s
        return _TICK_S if watchdog_s is None else min(_TICK_S, watchdog_s / 3)

    def _tick(self) -> None:
        now_s = self._clock.now_s()
        self._feed_watchdog(now_s)
        self._reserve.take()
        self._retry_on_new_way()
        is_synced = self._clock.is_synchronised()
        self.activity.problem(ProblemCode.CLOCK_UNSYNCED, present=not is_synced)
        with only_helps("status line", instead="systemd shows an older one"):
            try:
                document = self._snapshots()
                self._standing.look(document, now_s)
                self._notifier.status(status_line(document))
                if document["queue"]["files"]:
                    self._store.running.keep()
            except StoreError as error:
                self._notifier.status(str(error))
        if self._ages is not None:
            with only_helps("priorities", instead="some are as urgent as they were"):
                self._ages = priorities.review(self._store, self._ages) or 0
        with only_helps("memory", instead="the C library keeps it"):
            memory.trim()

    def _feed_watchdog(self, now_s: float) -> None:
        """Show systemd a sign of life, if recordings arrive: a folder that hangs ends nothing for others."""
        watching = self._watchers.runners
        stuck = stuck_workers([self._runners["sender"]], self.activity, now_s)
        hung = stuck_workers(watching, self.activity, now_s)
        if stuck or len(hung) == len(watching):
            log.error("watchdog.starved", workers=[*stuck, *hung])
            return
        if hung:
            log.error("folder.hung", workers=hung, action="none: what is in other folders is sent")
        self._notifier.alive()

    def _worker(
        self,
        code: ProblemCode,
        name: str,
        step: Callable[[float], float],
        woken: threading.Event | None = None,
    ) -> WorkerThread:
        tell = partial(self.activity.problem, code, by=name)
        return WorkerThread(name, step, clock=self._clock, woken=woken, on_failing=tell)

    def _retry_on_new_way(self) -> None:
        """A verdict that came by another URL, login or version may not be the one of today."""
        login = self._transport.credential()
        if login is None:
            return
        seen = f"{self._settings.server.url} {own_version()} {login.hex()}"
        try:
            retried = retry_on_new_way(self._store, hashlib.sha256(seen.encode()).hexdigest())
        except StoreError as error:
            log.warning("retry.failed", error=str(error), action="done by a later look")
            return
        if retried:
            self._watchers.wake()

    def _new_enrolment(self) -> Enrolment:
        settings, clock = self._settings, self._clock
        return Enrolment(
            settings,
            lambda: make_transport(settings, clock, with_token=False),
            jitter=secrets.SystemRandom().random,
            on_token=self._sender.wake,
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
        self.activity.problem(ProblemCode.CONFIG, present=bool(problems))
        self._notifier.ready()

    def _differences(self, wanted: AgentSettings) -> tuple[tuple[str, ...], tuple[str, ...]]:
        change = compare(self._settings, wanted)
        return change.applied, change.needs_restart

    def _apply(self, wanted: AgentSettings) -> None:
        change: Change = compare(self._settings, wanted)
        self._settings = change.settings
        set_level(change.settings.log.level)
        self._folders.reconfigure(change.settings.watch)
        self._watchers.follow()
        self._janitor.wake()
        self._runners["while-recording"].wake()
        self._apply_priorities(change.settings)
        self._apply_groups(change.settings)
        self._sender.reconfigure(change.settings.upload)
        rules = owner_rules(change.settings)
        self._sender.go_by(rules)
        self._deadlines.go_by(rules.deadlines)
        self._runners["deadlines"].wake()
        self._sender.wake()
        self._janitor.reconfigure(change.settings.retention)
        self._commands.reconfigure(change.settings)
        log.info(
            "config.applied", changed=list(change.applied), needs_restart=list(change.needs_restart)
        )
        self._tell(
            "config.applied",
            {"changed": list(change.applied), "needs_restart": list(change.needs_restart)},
        )
        self.activity.touch()

    def _apply_priorities(self, settings: AgentSettings) -> None:
        with only_helps(
            "priorities", instead="those of before hold until the next start or reload"
        ):
            rules = [one.rule() for one in settings.priority]
            self._ages = 0 if any(rule.is_of_age for rule in rules) else None
            self._store.send_newest_first(settings.upload.order == "newest")
            priorities.apply(self._store, rules, self._clock)

    def _apply_groups(self, settings: AgentSettings) -> None:
        self._store.groups.quiet_s = settings.groups.quiet_seconds
        self._sender.hold_originals(settings.groups.original)
        with only_helps(
            "groups", instead="what was there before an upgrade is in none until the next start"
        ):
            adopt_all(self._store)

    def _stop(self) -> None:
        """End everything within five seconds, whatever the link and the broker do."""
        self._ends_s = self._clock.now_s() + _STOP_S
        self._notifier.stopping()
        self._snapshots.phase = "stopping"
        patience.SHARED.end()
        with only_helps("link watch", instead="it ends with the process"):
            self._link.stop(0)
        self._reports.stop()  # first: it looks whether the link works, before requests are broken off
        self._watchers.stop()
        for runner in self._runners.values():
            runner.stop()
        self._sender.abort()
        self._groups.abort()
        self._receipt_client.abort()
        self._commands.stop()
        deadline_s = self._clock.now_s() + _JOIN_S
        late = [
            runner.name
            for runner in (*self._watchers.runners, *self._runners.values())
            if not runner.join(max(0.0, deadline_s - self._clock.now_s()))
        ]
        if late:
            log.warning(
                "worker.late", workers=late, action="none: what they did not write is redone"
            )
        if "janitor" not in late:
            self._janitor.put_all_back()
        self._tell("agent.stopped", {})
        with only_helps("reporter", instead="the broker publishes the will"):
            self._reporter.stop(_FAREWELL_S)
        self._watchers.end_hints()
        log.info("agent.stopped")

    def close(self) -> None:
        """Let go of files; the threads have ended, or end with the process."""
        with only_helps("link watch", instead="it ends with the process"):
            self._link.stop(self._left_s())
        self._sender.close(self._left_s())
        self._reports.close(self._left_s())
        self._transport.close()
        self._while_recording.close()
        self._groups.close()
        self._receipt_client.close()
        self._store.close()
        self._lock.close()

    def _left_s(self) -> float:
        if self._ends_s is None:
            return _JOIN_S
        return max(0.0, self._ends_s - self._clock.now_s())

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        try:
            self._store.outbox.tell(NewEvent(kind, data, is_low=kind.startswith("agent.")))
        except StoreError as error:
            log.warning("event.lost", type=kind, error=str(error))


def block_signals(signals: Collection[signal.Signals] = SIGNALS) -> None:
    """Keep *signals* for `Agent.run`; every thread begun later inherits that."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
