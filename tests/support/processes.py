"""The real programs as processes, over and over again on the same port and the same data."""

import http.client
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from demo.children import Child
from demo.ports import LOOPBACK, free_port
from edge_agent.base.settings_loading import load
from edge_agent.operate.control_client import ControlError, NotRunningError, ask
from edge_agent.operate.status import read_status
from edge_host.clock import SystemClock
from ingest_server.assembly.data_folder import open_state
from ingest_server.auth.authentication import SCOPE_UPLOAD
from ingest_server.auth.tokens import issue

SERVER = (sys.executable, "-m", "ingest_server")
HASTY_SERVER = (sys.executable, "-m", "tests.support.hasty_server")
"""One that does in half a second what it does once a minute."""
DEVICE = "drone-1"


def wait_for(
    condition: Callable[[], Any], what: str, timeout_s: float = 30.0, *, every_s: float = 0.05
) -> Any:
    """Return the condition's first true value; a process cannot be awaited otherwise."""
    give_up_s = time.monotonic() + timeout_s
    while time.monotonic() < give_up_s:
        value = condition()
        if value:
            return value
        time.sleep(every_s)
    raise TimeoutError(f"{what}: not within {timeout_s:.0f} s")


def toml(tables: Mapping[str, dict[str, Any] | list[dict[str, Any]]]) -> str:
    """Return *tables* as TOML; the table ``""`` is the top, a list stands for several of one name."""
    lines: list[str] = []
    for name, table in tables.items():
        for one in table if isinstance(table, list) else [table]:
            lines += [f"[[{name}]]" if one is not table else f"[{name}]"] if name else []
            lines += [f"{key} = {json.dumps(_plain(value))}" for key, value in one.items()]
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


class Program:
    """One program that is started, killed and started again; all its logs are kept."""

    def __init__(self, name: str, folder: Path, command: list[Any]) -> None:
        self.name = name
        self.folder = folder
        self.command = command
        self.starts = 0
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        assert self._child is not None, f"{self.name} was never started"
        return self._child

    @property
    def pid(self) -> int:
        return self.child.pid

    def start(self) -> None:
        self.starts += 1
        log = self.folder / f"{self.name}-{self.starts}.log"
        self._child = Child(self.name, self.command, log)

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        assert self.child.ended() is None, f"{self.name} ended by itself:\n{self.end_of_log()}"
        self.child.kill()

    def stop(self, timeout_s: float = 10.0) -> int | None:
        """SIGTERM; return the exit code. A program that has to be killed is a failure."""
        assert self.child.stop(timeout_s), f"{self.name} ignored SIGTERM:\n{self.end_of_log()}"
        return self.child.ended()

    def close(self) -> None:
        """End it somehow."""
        if self._child is not None:
            self._child.kill()

    def end_of_log(self) -> str:
        return "\n".join(self.child.last_lines(30))

    def log(self) -> Iterator[dict[str, Any]]:
        """Return all JSON lines of all its lives."""
        for number in range(1, self.starts + 1):
            text = (self.folder / f"{self.name}-{number}.log").read_text("utf-8", "replace")
            for line in text.splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record


class Server(Program):
    """``ingest-server run`` with tokens, on one port for all its lives."""

    def __init__(self, folder: Path, *, data_dir: Path | None = None, **tables: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.data_dir = data_dir or folder / "data"
        self.config = folder / "server.toml"
        self.tls: ssl.SSLContext | None = None
        """What it takes to ask it where it speaks https."""
        server = {
            "listen": f"{LOOPBACK}:{self.port}",
            "data_dir": self.data_dir,
            "stop_timeout_s": 2.0,
            "threads": 32,
            **tables.pop("server", {}),
        }
        limits = {"min_free": "32MiB", **tables.pop("limits", {})}
        self.config.write_text(
            toml({"server": server, "limits": limits, "log": {"format": "json"}, **tables})
        )
        super().__init__("server", folder, [*SERVER, "run", "--config", self.config])

    def start(self) -> None:
        """Start and wait until it is ready."""
        super().start()
        self.wait_until_ready()

    def wait_until_ready(self, timeout_s: float = 120.0) -> None:
        def is_ready() -> bool:
            assert self.child.ended() is None, f"the server ended:\n{self.end_of_log()}"
            return self.readiness() == http.client.OK

        wait_for(is_ready, "the server is ready", timeout_s)

    def readiness(self) -> int | None:
        """Return the status of ``/readyz``, None when nobody listens."""
        if self.tls is None:
            connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=2.0)
        else:
            connection = http.client.HTTPSConnection(
                LOOPBACK, self.port, timeout=2.0, context=self.tls
            )
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def run(self, *arguments: str) -> str:
        """Run ``ingest-server ARGUMENTS`` beside it; return its standard output."""
        done = subprocess.run(
            [*SERVER, *arguments, "--config", self.config],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def new_token(self, device: str = DEVICE, scope: str = SCOPE_UPLOAD) -> str:
        """Write down what `token add` does; as a program of its own it takes ten times as long."""
        issued = issue(device, SystemClock().now_utc(), scopes=(scope,))
        with closing(open_state(self.data_dir)) as state:
            state.access.add_token(issued.record)
        return issued.token

    def open_uploads(self, token: str | None) -> dict[str, int]:
        """Return name -> bytes that it holds durably, of each unfinished upload."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10.0)
        try:
            headers = {"Authorization": f"Bearer {token}"}
            connection.request("GET", "/v1/uploads?state=open", headers=headers)
            found = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return {one["name"]: one["received_bytes"] for one in found["uploads"]}

    @property
    def published(self) -> Path:
        return self.data_dir / "published"

    def published_files(self) -> list[Path]:
        """Return every file under ``published/``, sorted."""
        return sorted(path for path in self.published.rglob("*") if path.is_file())


class Agent(Program):
    """``edge-agent run`` on a folder, impatient enough for a test."""

    def __init__(
        self,
        folder: Path,
        *,
        url: str,
        token: str | None,
        python: Path | None = None,
        **tables: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.media = folder / "media"
        self.media.mkdir(exist_ok=True)
        self.state_dir = folder / "state"
        self.token = token
        self.config = folder / "agent.toml"
        server: dict[str, Any] = {"url": url}
        if token is not None:
            server["token_file"] = folder / "token"
            server["token_file"].write_text(token)
            server["token_file"].chmod(0o600)
        self._tables: dict[str, Any] = {
            "": {"device_id": DEVICE, "state_dir": self.state_dir},
            "watch": {"folder": self.media, "settle_seconds": 0.5, "scan_interval_seconds": 1.0},
            "server": server,
            "upload": {"backoff_base_seconds": 0.1, "backoff_cap_seconds": 0.5},
            "log": {"format": "json"},
        }
        self.configure(**tables)
        self.program = (python or sys.executable, "-m", "edge_agent")
        super().__init__("agent", folder, [*self.program, "run", "--config", self.config])

    def configure(self, **tables: dict[str, Any] | list[dict[str, Any]]) -> None:
        """Change settings for the next start; a list takes the place of what was there."""
        for name, table in tables.items():
            before = self._tables.get(name, {})
            if isinstance(table, list) or isinstance(before, list):
                self._tables[name] = table
            else:
                self._tables[name] = {**before, **table}
        self.config.write_text(toml(self._tables))

    def beside(self, name: str) -> Program:
        """Return another agent of the same configuration, not started."""
        return Program(name, self.folder, self.command)

    def state(self) -> dict[str, Any]:
        """Return the running agent's state document.

        On a busy machine one question may come back without an answer, or before the agent listens, and that
        says nothing about what is asked: it is asked again, for as long as the agent runs.
        """

        def answered() -> dict[str, Any]:
            assert self.child.ended() is None, f"{self.name} ended:\n{self.end_of_log()}"
            return self.state_if_any()

        try:
            return wait_for(answered, f"{self.name} answers")
        except TimeoutError as error:
            error.add_note(self.end_of_log())
            raise

    def state_if_any(self) -> dict[str, Any]:
        """Return the same, empty while it does not answer."""
        try:
            [answer] = ask(self.state_dir / "control.sock", {"do": "status"})
        except (NotRunningError, ControlError):
            return {}
        return answer["state"]

    def wait_until_blocked_by(self, reason: str) -> dict[str, Any]:
        """Return the state in which *reason* stands, once it has started; one that is asked for later may be another."""

        def blocked() -> dict[str, Any] | None:
            state = self.state_if_any()
            is_up = state.get("state") != "starting"
            return state if is_up and state.get("blocked_by") == reason else None

        return wait_for(blocked, f"it waits for {reason}")

    def status(self) -> dict[str, Any]:
        """Return what ``edge-agent status --json`` prints, without a program for each look."""
        return read_status(load(self.config, {}, {}).settings)

    def run(self, *arguments: str) -> str:
        """Run ``edge-agent ARGUMENTS`` beside it; return its standard output."""
        done = subprocess.run(
            [*self.program, *arguments, "--config", self.config],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
