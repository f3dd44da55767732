"""The commands of a running agent, joined to what they act on: the desk, and the control socket."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence

from edge_agent.base.helper import only_helps
from edge_agent.base.settings import AgentSettings
from edge_agent.base.settings_loading import Loaded
from edge_agent.base.state_lock import SOCKET
from edge_agent.media.folders import Folders
from edge_agent.media.watchers import Watchers
from edge_agent.operate.agent_services import AgentServices
from edge_agent.operate.checking import Checking, Differences
from edge_agent.operate.command_desk import CommandDesk
from edge_agent.operate.command_handlers import Handlers, RecordingHandlers, SendingHandlers
from edge_agent.operate.commands import Commands
from edge_agent.operate.control_socket import MAX_CLIENTS, ControlServer
from edge_agent.operate.fetch_handler import FetchHandler
from edge_agent.operate.guarded_handlers import GuardedHandlers
from edge_agent.operate.hook_desk import MOST_BYTES, HookDesk
from edge_agent.report.command_port import CommandPort
from edge_agent.send.sender import Sender


class AgentCommands:
    """Made once per agent; `step` and `woken` are a worker's."""

    def __init__(
        self,
        services: AgentServices,
        *,
        folders: Folders,
        sender: Sender,
        watchers: Watchers,
        passed: Sequence[socket.socket] = (),
    ) -> None:
        settings, store = services.settings, services.store
        self.announcements: list[Callable[[], None]] = [services.activity.touch]
        """Called when a command wants everything told anew: each way adds its own."""
        self.listeners: list[Callable[[], None]] = []
        """Called, from any thread, when there is an answer to tell: each way adds its own."""
        self.intervals: list[Callable[[float], None]] = []
        """Called with the seconds between two messages when others are wanted: each way adds its own."""
        self._store, self._sender = store, sender
        self.wake_runner: Callable[[], None] = lambda: None
        """Called when `desk.step` has something to do: the runner sets it."""
        self.load: Callable[[], Loaded] | None = None
        """Reads the configuration, and raises where it is not in order; set while the agent runs."""
        self.compare: Callable[[AgentSettings], Differences] = lambda _: ((), ())
        """Says in what a configuration differs from the one in force; the agent sets it."""
        self._settings = settings
        handlers = self._handlers(services, folders=folders, watchers=watchers)
        self.desk = CommandDesk(
            store,
            handlers,
            settings.commands,
            clock=services.clock,
            boot_id=services.boot_id,
            interval_s=settings.mqtt.state_interval_seconds,
            wake=lambda: self.wake_runner(),  # noqa: PLW0108 - the runner sets it later
            on_orders=self._obey,
        )
        self.port: CommandPort = self.desk
        """What brings commands sees of it."""
        self.desk.on_change = lambda: _call(self.listeners)
        here = Commands(
            store,
            services.activity,
            services.snapshots,
            folders=folders,
            announce=watchers.announce,
            wake_watcher=watchers.wake,
            wake_sender=sender.wake,
            handlers=handlers,
            do=self.desk.do_here,
            check=Checking(
                services.clock,
                load=self._loaded,
                compare=lambda wanted: self.compare(wanted),  # noqa: PLW0108 - it is set later
                in_force=lambda: self._settings,
            ).answer,
        )
        self._doors = [
            ControlServer(settings.state_dir / SOCKET, here),
            *(_for_recorders(HookDesk(here, folders), one) for one in passed),
        ]
        """Where people and recorders at the device ask."""

    def _handlers(
        self, services: AgentServices, *, folders: Folders, watchers: Watchers
    ) -> Handlers:
        """Return what carries out each command."""
        store, sender = self._store, self._sender
        recordings = RecordingHandlers(store, sender, wake_watcher=watchers.wake)
        guarded = GuardedHandlers(
            self._settings,
            store,
            sender,
            recordings,
            clock=services.clock,
            folders=folders,
            wake_watcher=watchers.wake,
            reload=self._reload,
        )
        return {
            **SendingHandlers(
                store,
                sender,
                wake_watcher=watchers.wake,
                announce=lambda: _call(self.announcements),
            ).handlers(),
            **recordings.handlers(),
            **FetchHandler(store, services.activity, sender, wake_watcher=watchers.wake).handlers(),
            **guarded.handlers(),
        }

    def reconfigure(self, settings: AgentSettings) -> None:
        """Go by *settings* from the next command and check on, and say what may be asked now."""
        before = self.about()
        self._settings = settings
        self.desk.reconfigure(settings.commands)
        if self.about() != before:
            _call(self.announcements)

    def about(self) -> dict[str, list[str]]:
        """Return what may be asked of this agent, for whoever would."""
        return {"commands": self.desk.allowed, "settings": self.desk.settable}

    def _loaded(self) -> Loaded:
        return Loaded(self._settings, None, ()) if self.load is None else self.load()

    def _reload(self) -> None:
        """Have the agent take over the configuration, if it is in order."""
        if self.load is not None:
            self.load()
            # The one way there is: the main thread waits for it.
            os.kill(os.getpid(), signal.SIGHUP)

    def _obey(self) -> None:
        self._sender.obey()
        self._tell_intervals()

    def _tell_intervals(self) -> None:
        interval_s = self._store.orders.interval_s()
        if interval_s is not None:
            for one in self.intervals:
                one(interval_s)

    def start(self) -> None:
        """Let what was ordered before hold, and listen to people at the device."""
        with only_helps("wanted interval", instead="the configured one holds"):
            self._tell_intervals()
        self.listen()

    def listen(self) -> None:
        """Listen to people at the device where that could not be done before: for want of room, say."""
        with only_helps("control socket", instead="status and upload work without the agent only"):
            for one in self._doors:
                one.start()

    def stop(self) -> None:
        with only_helps("control socket", instead="it ends with the process"):
            for one in self._doors:
                one.stop()


def _for_recorders(desk: HookDesk, passed: socket.socket) -> ControlServer:
    return ControlServer(
        None, desk, passed=passed, most_bytes=MOST_BYTES, most_each=MAX_CLIENTS // 2
    )


def _call(listeners: list[Callable[[], None]]) -> None:
    for one in tuple(listeners):
        with only_helps("listener of commands", instead="it hears of the next change"):
            one()
