"""A real journal of the tests' own: systemd's daemon in a namespace, and a stream into it."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import wait_for
from tests.support.requirements import missing, require, require_root

DAEMON = Path("/lib/systemd/systemd-journald")


class Journal:
    """What was said into it, and by whom it can be said."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(f"/run/systemd/journal.{name}")

    @contextlib.contextmanager
    def stream(self, identifier: str) -> Iterator[tuple[socket.socket, dict[str, str]]]:
        """Yield what systemd would make a service's standard error, and its environment."""
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(str(self.folder / "stdout"))
            # Identifier, unit, priority of what has none, whether <3> counts, and three copies elsewhere.
            stream.sendall(f"{identifier}\n\n6\n1\n0\n0\n0\n".encode())
            found = os.fstat(stream.fileno())
            yield stream, {**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}

    def lines(self, identifier: str, *arguments: str) -> list[dict[str, Any]]:
        """Return what ``journalctl`` shows of *identifier*, oldest first."""
        command = ["journalctl", f"--namespace={self.name}", "-t", identifier, "-o", "json"]
        done = subprocess.run(
            [*command, "--no-pager", *arguments], capture_output=True, check=True, timeout=30
        )
        return [json.loads(one) for one in done.stdout.splitlines()]


@contextlib.contextmanager
def journal() -> Iterator[Journal]:
    """Run a journal; skip the test where there is none to be had."""
    require_root()
    require("journalctl")
    if not DAEMON.exists():
        missing(f"{DAEMON} is not installed")
    machine = Path("/etc/machine-id")
    if not machine.exists() or not machine.read_text().strip():
        pytest.skip("this machine has no id, which a journal needs")
    made = Journal(f"test{uuid.uuid4().hex[:8]}")
    made.folder.parent.mkdir(parents=True, exist_ok=True)
    daemon = subprocess.Popen([DAEMON, made.name], stderr=subprocess.DEVNULL)
    try:
        wait_for((made.folder / "stdout").exists, "the journal listens")
        yield made
    finally:
        daemon.terminate()
        daemon.wait(20)
        for root in (Path("/var/log/journal"), Path("/run/log/journal")):
            for left in root.glob(f"*.{made.name}"):
                shutil.rmtree(left)
        shutil.rmtree(made.folder, ignore_errors=True)
