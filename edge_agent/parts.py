"""The parts of a running agent: made from the settings, joined, and let go of.

Which part knows which is written here and nowhere else; what they are asked to do, and when, stands in
`agent`. No thread runs until the agent starts it.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial

from edge_agent.base.activity import Activity
from edge_agent.base.clock import Clock
from edge_agent.base.helper import only_helps
from edge_agent.base.reasons import ProblemCode
from edge_agent.base.settings import AgentSettings
from edge_agent.base.state_lock import DATABASE, StateLock
from edge_agent.base.worker_thread import WorkerThread
from edge_agent.media.awaited_repairs import AwaitedRepairs
from edge_agent.media.folder import Folder
from edge_agent.media.folders import Folders
from edge_agent.media.janitor import Janitor
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.stability_check import StabilityCheck
from edge_agent.media.watcher import Watcher
from edge_agent.media.watchers import Watchers
from edge_agent.operate.agent_commands import AgentCommands
from edge_agent.operate.agent_services import AgentServices
from edge_agent.operate.link_use import link_use
from edge_agent.operate.telling import make_telling
from edge_agent.queue_rules import QueueRules
from edge_agent.report.state_document import StateDocuments
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
)
from edge_agent.store.opening import open_store
from edge_agent.store.reserve import Reserve


class Parts:
    """Made once per agent; `close` lets go of files, when no thread uses them any more."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        clock: Clock,
        boot_id: str,
        passed: Sequence[socket.socket] = (),
    ) -> None:
        """Open what must be open.

        Args:
            passed: sockets at which recorders of other users say what is finished.

        Raises:
            AlreadyRunningError, StateDirError, StoreError, ConfigError: as their messages say.
        """
        self._settings, self._clock, self._boot_id = settings, clock, boot_id
        self.lock = StateLock(settings.state_dir)
        self.activity = Activity()
        self._open_store()
        self._make_what_sends()
        self._make_what_deletes()
        self._make_what_finds()
        self._make_what_tells(passed)
        self.workers = {one.name: one for one in self._new_workers()}
        """What has one thread each, by its name; the watchers of folders have their own."""
        self.reporter.wake_runner = self.workers["reporter"].wake
        self.commands.wake_runner = self.workers["commands"].wake

    def _open_store(self) -> None:
        settings = self._settings
        self.reserve = Reserve(settings.state_dir)
        self.reserve.on_need = lambda needed: self.activity.problem(
            ProblemCode.STATE_FULL, present=needed
        )
        path = settings.state_dir / DATABASE
        self.store = open_store(path, clock=self._clock, boot_id=self._boot_id, room=self.reserve)
        self.store.outbox.on_written = self.activity.touch
        self.folders = Folders(settings.watch)
        with only_helps("folders", instead="the next start looks whose recordings are whose"):
            self.folders.adopt(self.store)  # before the rules that name a folder
        self.queue_rules = QueueRules(self.store, self._clock)
        self.queue_rules.prioritise(settings)

    def _make_what_sends(self) -> None:
        settings, clock = self._settings, self._clock
        self.way = make_way(settings, self.store, clock)
        self.link = make_link_watch(settings, clock, self.way)
        self.transport = make_transport(settings, clock, self.link, way=self.way)
        self.sender = make_sender(
            settings,
            self.store,
            self.transport,
            self.activity,
            clock,
            folders=self.folders,
            link=self.link,
            way=self.way,
            on_verified=self._verified,
        )
        self.groups = make_group_telling(
            settings, self.store, self.sender, clock, link=self.link, way=self.way
        )
        self.queue_rules.group(settings, self.sender)
        self.deadlines = make_deadlines(settings, self.store, self.sender, self.activity, clock)
        self.while_recording = make_while_recording(
            settings, self.sender, self.folders, clock, link=self.link, way=self.way
        )

    def _verified(self) -> None:
        self.janitor.wake()
        self.workers["groups"].wake()

    def _make_what_deletes(self) -> None:
        self.receipt_client = make_receipt_client(self._settings, self._clock)
        self.janitor = Janitor(
            self.store,
            self._settings.retention,
            self.activity,
            clock=self._clock,
            folders=self.folders,
            probe=LeaseProbe(),
            ask=lambda receipt: standing_of(self.receipt_client, receipt),
            awaited=AwaitedRepairs(self.store, self._boot_id),
        )

    def _make_what_finds(self) -> None:
        self.watchers = Watchers(
            self.folders,
            self.store,
            self.activity,
            new=self._new_watcher,
            thread=partial(self._worker, ProblemCode.WATCHER_FAILED),
        )
        self.janitor.on_replaced = self.watchers.ask_anew

    def _new_watcher(self, folder: Folder) -> Watcher:
        probe = LeaseProbe()
        settler = StabilityCheck(
            folder, self.store, self.activity, probe, wake_sender=self.sender.wake
        )
        watcher = Watcher(folder, self.store, self.activity, settler, probe=probe)
        watcher.on_aside = self.janitor.found_aside
        watcher.on_doubt = self.janitor.doubts.note
        return watcher

    def _make_what_tells(self, passed: Sequence[socket.socket]) -> None:
        settings, clock = self._settings, self._clock
        self.snapshots = StateDocuments(
            self.store,
            self.activity,
            clock,
            boot_id=self._boot_id,
            folders=self.folders,
            link=lambda: link_use(self.sender, self.link, self.way),
            is_paused=lambda: self.sender.is_paused,
        )
        services = AgentServices(
            settings, self.store, self.activity, self.snapshots, clock, self._boot_id
        )
        self.commands = AgentCommands(
            services,
            folders=self.folders,
            sender=self.sender,
            watchers=self.watchers,
            passed=passed,
        )
        self.reporter, self.reports = make_telling(
            services, self.commands, way=self.way, link=self.link
        )

    def _new_workers(self) -> list[WorkerThread]:
        sender, janitor, clock = self.sender, self.janitor, self._clock
        workers = [
            self._worker(ProblemCode.SENDER_FAILED, "sender", sender.step, sender.woken),
            self._worker(ProblemCode.JANITOR_FAILED, "janitor", janitor.step, janitor.woken),
            self._worker(ProblemCode.REPORTER_FAILED, "reporter", self.reporter.step),
            self._worker(ProblemCode.COMMANDS_FAILED, "commands", self.commands.desk.step),
            WorkerThread("while-recording", self.while_recording.step, clock=clock),
            WorkerThread("groups", self.groups.step, clock=clock),
            WorkerThread("deadlines", self.deadlines.step, clock=clock),
        ]
        if self._settings.server.claim_token_file is not None:
            enrolment = Enrolment(
                self._settings,
                lambda: make_transport(self._settings, clock, with_token=False),
                jitter=secrets.SystemRandom().random,
                on_token=sender.wake,
            )
            workers.append(self._worker(ProblemCode.ENROLMENT_FAILED, "enrolment", enrolment.step))
        return workers

    def _worker(
        self,
        code: ProblemCode,
        name: str,
        step: Callable[[float], float],
        woken: threading.Event | None = None,
    ) -> WorkerThread:
        tell = partial(self.activity.problem, code, by=name)
        return WorkerThread(name, step, clock=self._clock, woken=woken, on_failing=tell)

    def close(self, left_s: Callable[[], float]) -> None:
        """Let go of files; the threads have ended, or end with the process.

        Args:
            left_s: how long may be waited for each, asked one by one.
        """
        with only_helps("link watch", instead="it ends with the process"):
            self.link.stop(left_s())
        self.sender.close(left_s())
        self.reports.close(left_s())
        self.transport.close()
        self.while_recording.close()
        self.groups.close()
        self.receipt_client.close()
        self.store.close()
        self.lock.close()
