"""Starts broker, server and agent, follows what happens, and stops them again."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue

from demo import broker
from demo.children import Child, stop_all
from demo.errors import DemoError
from demo.feed import LogTail, Message, Operator
from demo.layout import DEVICE, TOPIC_PREFIX, Layout
from demo.ports import LOOPBACK, free_port, is_listening
from demo.screen import Screen
from demo.story import Story

# As modules, not by name: this very environment, whatever the PATH says.
_AGENT = (sys.executable, "-m", "edge_agent")
_SERVER = (sys.executable, "-m", "ingest_server")

_START_S = 20.0
_STEP_S = 0.1
# Since Ctrl-C: less than the ten seconds that a person is asked to wait at most.
_AGENT_STOP_S, _SERVER_STOP_S, _BROKER_STOP_S = 5.5, 9.0, 9.5


class Launcher:
    """One run of the demo.

    Args:
        is_stopped: polled at least every tenth of a second; True ends the run.
    """

    def __init__(self, layout: Layout, screen: Screen, is_stopped: Callable[[], bool]) -> None:
        self._layout = layout
        self._screen = screen
        self._is_stopped = is_stopped
        self._children: list[tuple[Child, float]] = []  # in the order in which they are stopped

    def run(
        self, *, server_port: int, mqtt_port: int, max_rate: str | None, settle_seconds: float
    ) -> None:
        """Start everything, tell what happens until stopped, stop everything.

        Raises:
            DemoError: something did not start, or ended by itself; all else has been stopped.
        """
        server_port, mqtt_port = free_port(server_port), free_port(mqtt_port)
        self._layout.write_server_config(server_port)
        self._layout.write_agent_config(server_port, mqtt_port, max_rate, settle_seconds)
        messages: SimpleQueue[Message] = SimpleQueue()
        operator = Operator(mqtt_port, f"{TOPIC_PREFIX}/v1/{DEVICE}", messages)
        try:
            chosen = broker.choose(self._layout.var, mqtt_port, self._screen.say)
            self._start("broker", chosen.command, _BROKER_STOP_S)
            self._wait_for("broker", lambda: is_listening(mqtt_port))
            self._start_server(server_port)
            operator.start()
            self._start(
                "agent",
                [*_AGENT, "run", "--config", self._layout.agent_config],
                _AGENT_STOP_S,
            )
            self._introduce(server_port, mqtt_port, chosen.name)
            self._follow(messages)
        finally:
            operator.stop()
            self._stop()

    def _start(self, name: str, command: Sequence[str | Path], stop_s: float) -> Child:
        child = Child(name, command, self._layout.logs / f"{name}.log")
        self._children.insert(0, (child, stop_s))  # the last one started is the first one stopped
        return child

    def _start_server(self, port: int) -> None:
        config = self._layout.server_config
        if not (self._layout.token.exists() and self._layout.server_data.exists()):
            self._layout.write_token(_new_token(config))
        self._start("server", [*_SERVER, "run", "--config", config], _SERVER_STOP_S)
        self._wait_for("server", lambda: _is_ready(port))

    def _wait_for(self, name: str, is_ready: Callable[[], bool]) -> None:
        give_up_s = time.monotonic() + _START_S
        while not is_ready():
            self._check_children()
            if self._is_stopped():
                return
            if time.monotonic() > give_up_s:
                raise self._failure(f"The {name} was not ready within {_START_S:.0f} s", name)
            time.sleep(_STEP_S)

    def _check_children(self) -> None:
        for child, _ in self._children:
            code = child.ended()
            if code is not None:
                how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
                raise self._failure(f"The {child.name} ended {how}", child.name)

    def _failure(self, what: str, name: str) -> DemoError:
        child = next(child for child, _ in self._children if child.name == name)
        lines = "\n".join(f"    {line}" for line in child.last_lines())
        return DemoError(f"{what}. The end of {child.log}:\n{lines}")

    def _introduce(self, server_port: int, mqtt_port: int, broker_name: str) -> None:
        layout, say = self._layout, self._screen.say
        say(f"  drop recordings into   {layout.media}")
        say(f"  they arrive in         {layout.published}")
        say(f"  ingest server          http://{LOOPBACK}:{server_port}")
        say(f"  MQTT broker            mqtt://{LOOPBACK}:{mqtt_port} ({broker_name})")
        say(f"  topics                 {TOPIC_PREFIX}/v1/{DEVICE}/#")
        say(f"  full logs              {layout.logs}")
        say()
        say("  In a second terminal:  make demo   (records ten seconds of video)")
        say("  Ctrl-C here stops everything.")
        say()

    def _follow(self, messages: SimpleQueue[Message]) -> None:
        story = Story(_short(self._layout.published))
        tellers = {"status": story.status, "state": story.state, "event": story.event}
        tails = {
            child.name: LogTail(child.log) for child, _ in self._children if child.name != "broker"
        }
        while not self._is_stopped():
            try:
                message = messages.get(timeout=_STEP_S)
            except Empty:
                pass
            else:
                teller = tellers.get(message.channel)
                for line in teller(message.document) if teller else ():
                    self._screen.tell(line)
                self._screen.progress(story.progress, story.percent)
            for name, tail in tails.items():
                for record in tail.new():
                    for line in story.log(name, record):
                        self._screen.tell(line)
            self._check_children()

    def _stop(self) -> None:
        if not self._children:
            return
        self._screen.progress(None, None)
        self._screen.say("stopping ...")
        for name in stop_all(self._children):
            self._screen.say(f"the {name} did not stop in time and was killed")


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def _new_token(config: Path) -> str:
    command = [*_SERVER, "token", "add", DEVICE, "--config", str(config)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_START_S)
    if done.returncode != 0:
        msg = f"The server gave no token to {DEVICE}:\n{done.stderr.strip()}"
        raise DemoError(msg)
    return done.stdout.splitlines()[-1].strip()
