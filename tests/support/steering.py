"""Whoever looks at the devices and steers them from the server: over its API, and with its commands."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.ports import LOOPBACK
from ingest_server.auth.authentication import SCOPE_ADMIN
from tests.support.processes import DEVICE, SERVER, Server, wait_for

ENDS = frozenset({"done", "failed", "rejected", "expired"})


class Operator:
    """One with a token, and with a hand on the device: an idle one reports every two minutes.

    Args:
        media: what the device watches.
    """

    def __init__(self, server: Server, media: Path) -> None:
        self.server = server
        self.media = media
        self._token = server.new_token("operator", SCOPE_ADMIN)
        self._nudges = 0

    def ask(self, method: str, path: str, document: object = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(LOOPBACK, self.server.port, timeout=10)
        headers = {
            "Authorization": f"Bearer {self._token}",
            "X-Requested-With": "edge-uploader",
            "Content-Type": "application/json",
        }
        body = None if document is None else json.dumps(document)
        try:
            connection.request(method, f"/v1/fleet{path}", body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def row(self) -> dict[str, Any]:
        status, view = self.ask("GET", "")
        assert status == 200, view
        return next((row for row in view["devices"] if row["device"] == DEVICE), {})

    def holds(self) -> dict[str, dict[str, Any]]:
        """Return what the device says that it holds, by name."""
        status, found = self.ask("GET", f"/devices/{DEVICE}/holds")
        return {one["name"]: one for one in found["holds"]} if status == 200 else {}

    def give(self, cmd: str, **args: Any) -> str:
        """Have *cmd* sent with the device's next report; return its id."""
        document = {"cmd": cmd, "args": args, "expires_in_s": 120}
        status, sent = self.ask("POST", f"/devices/{DEVICE}/commands", document)
        assert status == 202, sent
        return sent["id"]

    def nudge(self) -> None:
        """Have something happen on the device, which it tells of and hears what waits for it."""
        self._nudges += 1
        (self.media / f"{self._nudges}.tmp").touch()

    def answer(self, command_id: str) -> dict[str, Any]:
        """Return what became of a command so far."""
        return self.ask("GET", f"/devices/{DEVICE}/commands/{command_id}")[1]

    def end(self, command_id: str) -> dict[str, Any]:
        """Return how a command ended."""

        def ended() -> dict[str, Any] | None:
            found = self.answer(command_id)
            if found["status"] in ENDS:
                return found
            self.nudge()
            return None

        return wait_for(ended, "the command is answered", 60, every_s=1)

    def command(self, cmd: str, **args: Any) -> dict[str, Any]:
        """Have *cmd* done; return how it ended."""
        return self.end(self.give(cmd, **args))

    def fetch(self, *arguments: str) -> Fetch:
        return Fetch(self.server, arguments, self.nudge)

    def events(self) -> list[dict[str, Any]]:
        status, found = self.ask("GET", f"/events?device={DEVICE}")
        assert status == 200, found
        return found["events"]


class Fetch:
    """``ingest-server fetch`` while it waits for its answer."""

    def __init__(
        self, server: Server, arguments: tuple[str, ...], nudge: Callable[[], None]
    ) -> None:
        self._nudge = nudge
        command: list[str | Path] = [
            *SERVER,
            "fetch",
            DEVICE,
            *arguments,
            "--config",
            server.config,
        ]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def is_given(self) -> bool:
        """Whether the order is written down, or refused at once."""
        assert self._process.stderr is not None
        return bool(self._process.stderr.readline())

    def end(self) -> tuple[int, list[str]]:
        """Return its exit code and what it printed.

        The device is made to report until then: a server looks into its database once in a while.
        """
        for _ in range(30):
            self._nudge()
            with contextlib.suppress(subprocess.TimeoutExpired):
                out, err = self._process.communicate(timeout=2)
                return self._process.returncode, (out + err).splitlines()
        self._process.kill()
        raise TimeoutError(f"fetch has no end: {self._process.communicate()}")
