"""Starts broker, server and agent, follows what happens, and stops them again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from demo import broker
from demo.access import let_in
from demo.crew import Crew, Member
from demo.errors import DemoError
from demo.feed import LogTail, Message, Operator
from demo.keys import Keys
from demo.layout import DEVICE, PERSON, TOPIC_PREFIX, Layout
from demo.link import Link
from demo.ports import LOOPBACK, free_port, is_listening
from demo.ready import is_ready
from demo.screen import Screen
from demo.story import Line, Story
from edge_agent.base.errors import AgentError
from edge_agent.base.state_lock import SOCKET
from edge_agent.operate.control_client import ask

# As modules, not by name: this very environment, whatever the PATH says.
_AGENT = (sys.executable, "-m", "edge_agent")
_SERVER = (sys.executable, "-m", "ingest_server")

_STEP_S = 0.1
_KEYS = {"c": "cut", "m": "mend", "k": "kill"}
# Since Ctrl-C: less than the ten seconds that a person is asked to wait at most.
_AGENT_STOP_S, _SERVER_STOP_S, _BROKER_STOP_S = 5.5, 9.0, 9.5


class Launcher:
    """One run of the demo.

    Args:
        is_stopped: polled at least every tenth of a second; True ends the run.
        wishes: words of whoever steers from outside, as they come: ``cut``, ``mend``, ``kill``.
    """

    def __init__(
        self,
        layout: Layout,
        screen: Screen,
        is_stopped: Callable[[], bool],
        wishes: SimpleQueue[str],
    ) -> None:
        self._layout = layout
        self._screen = screen
        self._is_stopped = is_stopped
        self._wishes = wishes
        self._crew = Crew()
        self._story = Story(_short(layout.published))
        self._messages: SimpleQueue[Message] = SimpleQueue()

    def run(
        self, *, server_port: int, mqtt_port: int, max_rate: str | None, settle_seconds: float
    ) -> None:
        """Start everything, tell what happens until stopped, stop everything.

        Raises:
            DemoError: something did not start, or does not stay; all else has been stopped.
        """
        server_port = self._port("server", server_port)
        mqtt_port = self._port("broker", mqtt_port)
        link = Link(server_port)
        link.mend()
        self._layout.write_server_config(server_port)
        self._layout.write_agent_config(link.port, mqtt_port, max_rate, settle_seconds)
        operator = Operator(mqtt_port, f"{TOPIC_PREFIX}/v1/{DEVICE}", self._messages)
        try:
            chosen = broker.choose(self._layout.var, mqtt_port, self._screen.say)
            self._start("broker", chosen.command, lambda: is_listening(mqtt_port), _BROKER_STOP_S)
            self._start_server(server_port)
            operator.start()
            agent: list[str | Path] = [*_AGENT, "run", "--config", self._layout.agent_config]
            self._start("agent", agent, self._answers, _AGENT_STOP_S)
            with Keys() as keys:
                if not self._is_stopped():
                    self._introduce(server_port, mqtt_port, chosen.name, max_rate, keys)
                self._follow(keys, link)
        except DemoError:
            # Ctrl-C goes to what is run on the way, too, which then comes to nothing: as was wished.
            if not self._is_stopped():
                raise
        finally:
            link.stop()
            operator.stop()
            self._stop()

    def _port(self, name: str, wanted: int) -> int:
        port = free_port(wanted)
        if wanted not in (0, port):
            self._screen.say(f"Port {wanted} is taken: the {name} listens at {port}.")
        return port

    def _start(
        self, name: str, command: Sequence[str | Path], is_ready: Callable[[], bool], stop_s: float
    ) -> None:
        """Start a program and wait until it is ready, or the run is stopped."""
        if self._is_stopped():
            return
        log = self._layout.logs / f"{name}.log"
        member = Member(name, command, log, is_ready=is_ready, stop_s=stop_s)
        self._crew.add(member, time.monotonic())
        while not member.is_ready and not self._is_stopped():
            for line in self._crew.look(time.monotonic()):
                self._screen.tell(line)
            time.sleep(_STEP_S / 2)

    def _start_server(self, port: int) -> None:
        config = self._layout.server_config
        let_in(self._layout)
        self._start("server", [*_SERVER, "run", "--config", config], is_ready(port), _SERVER_STOP_S)

    def _answers(self) -> bool:
        """Return whether the agent does."""
        try:
            return bool(
                list(ask(self._layout.agent_state / SOCKET, {"do": "status"}, timeout_s=2.0))
            )
        except AgentError:
            return False

    def _introduce(
        self, server_port: int, mqtt_port: int, broker_name: str, max_rate: str | None, keys: Keys
    ) -> None:
        layout, say = self._layout, self._screen.say
        rate = "as fast as it goes" if max_rate is None else f"at most {max_rate} per second"
        say(f"  drop recordings into   {layout.media}")
        say(f"  they arrive in         {layout.published}")
        say(f"  the page               http://{LOOPBACK}:{server_port}/")
        say(f"  sign in there as       {PERSON}, with {layout.page_password.read_text().strip()}")
        say(f"  MQTT broker            mqtt://{LOOPBACK}:{mqtt_port} ({broker_name})")
        say(f"  topics                 {TOPIC_PREFIX}/v1/{DEVICE}/#")
        say(f"  the link               {rate} (another: ARGS=--max-rate=5MB, or none)")
        say(f"  full logs              {layout.logs}")
        say()
        say("  In a second terminal:  make demo   (records ten seconds of video)")
        or_press = ("press {}, or " if keys.are_read else "").format
        say(
            f"  While it is sent:      {or_press('c')}make cut   (breaks the link);  {or_press('m')}make mend"
        )
        say(
            f"                         {or_press('k')}make kill  (ends the server without a warning)"
        )
        say("  Ctrl-C here stops everything.")
        say()

    def _follow(self, keys: Keys, link: Link) -> None:
        tails = {name: LogTail(self._layout.logs / f"{name}.log") for name in ("server", "agent")}
        while not self._is_stopped():
            with suppress(Empty):
                self._tell(self._messages.get(timeout=_STEP_S))
            for name, tail in tails.items():
                for record in tail.new():
                    for line in self._story.log(name, record):
                        self._screen.tell(line)
            for line in self._crew.look(time.monotonic()):
                self._changed(line)
            if self._crew.is_whole and not link.is_cut:
                self._story.mended()
            self._do_as_wished(keys.pressed(), link)

    def _tell(self, message: Message) -> None:
        story = self._story
        tellers = {"status": story.status, "state": story.state, "event": story.event}
        teller = tellers.get(message.channel)
        told = list(teller(message.document)) if teller else []
        # First, so that no line is followed by the progress from before it.
        self._screen.progress(story.progress, story.percent)
        for line in told:
            self._screen.tell(line)

    def _changed(self, line: Line) -> None:
        if line.verb in {"gone", "cut"}:
            self._story.interrupted()
            self._screen.progress(None, None)
        self._screen.tell(line)

    def _do_as_wished(self, pressed: str, link: Link) -> None:
        wishes = [_KEYS[key] for key in pressed if key in _KEYS]
        with suppress(Empty):
            while True:
                wishes.append(self._wishes.get_nowait())
        for wish in wishes:
            if wish == "cut" and not link.is_cut:
                link.cut()
                self._changed(
                    Line("cut", "the link is cut: nothing gets through until it is mended")
                )
            elif wish == "mend" and link.is_cut:
                link.mend()
                self._screen.tell(Line("mended", "the link carries again; the agent finds out"))
            elif wish == "kill":
                if not self._crew.kill("server"):
                    self._screen.tell(Line(wish, "nothing to do: the server does not run"))
            else:
                state = "cut" if link.is_cut else "not cut"
                self._screen.tell(Line(wish, f"nothing to do: the link is {state}"))

    def _stop(self) -> None:
        self._screen.progress(None, None)
        self._screen.say("stopping ...")
        for name in self._crew.stop():
            self._screen.say(f"the {name} did not stop in time and was killed")


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
