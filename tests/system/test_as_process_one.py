"""The programs as process 1, as in a container without an init: nobody else hears SIGTERM."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from functools import cached_property
from pathlib import Path

import pytest

from demo.ports import free_port
from tests.support.crash_client import Client
from tests.support.processes import wait_for
from tests.support.requirements import require, require_root

pytestmark = pytest.mark.slow

GRACE_S = 10.0
"""What `docker stop` waits until it kills."""
CAUGHT = 1 << (signal.SIGTERM - 1)
GROWN_MIB = range(0, 40, 5)
"""How far a start has come: so much larger is it than when it had a handler."""
PAGE_MIB = os.sysconf("SC_PAGESIZE") / (1 << 20)
DATABASES = {"ingest_server": "data/state.db", "edge_agent": "state/agent.db"}
COMMANDS = {
    "ingest_server": ("run", "--listen", "127.0.0.1:0"),
    "edge_agent": ("run", "--server-url", "http://127.0.0.1:9", "--device-id", "cam-1"),
}
IN_A_CALLBACK = """
import signal, sys, weakref
from importlib import import_module

class Thing:
    pass

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == f"{sys.argv[0]}.cli":
            thing = Thing()
            kept = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGTERM))
            del thing  # and what is raised now is dropped, as in the callback that each import has
            print("goes on", flush=True)

sys.meta_path.insert(0, Finder())
sys.argv.pop(0)
sys.exit(import_module(f"{sys.argv[0]}.__main__").main())
"""


class Contained:
    def __init__(self, folder: Path, package: str, *command: str, code: str | None = None) -> None:
        require_root()
        self.log = folder / "log"
        (folder / "media").mkdir(parents=True, exist_ok=True)
        environ = {
            **os.environ,
            "INGEST_SERVER_AUTH__MODE": "open",
            "INGEST_SERVER_SERVER__DATA_DIR": str(folder / "data"),
            "EDGE_AGENT_WATCH__FOLDER": str(folder / "media"),
            "EDGE_AGENT_STATE_DIR": str(folder / "state"),
        }
        how = ("-m", package) if code is None else ("-c", code, package)
        with self.log.open("wb") as log:
            self.parent = subprocess.Popen(
                [
                    *(require("unshare"), "--fork", "--pid", "--kill-child"),
                    *(sys.executable, *how, *command),
                ],
                stdout=log,
                stderr=log,
                env=environ,
            )

    @cached_property
    def pid(self) -> int:
        children = Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children")
        return int(wait_for(children.read_text, "the process is there", every_s=0).split()[0])

    def hears_sigterm(self) -> bool:
        """Whether it has a handler, which it has long before it waits for signals."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        [caught] = [int(line.split()[1], 16) for line in lines if line.startswith("SigCgt")]
        return bool(caught & CAUGHT)

    def has_started(self) -> bool:
        return '.started"' in self.log.read_text()

    def open_files(self) -> list[str]:
        """Return the paths of what it has open."""
        found = []
        for one in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(os.readlink(one))
        return found

    def resident_mib(self) -> float:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_MIB

    def wait_until_grown(self, by_mib: float) -> None:
        """Or until it has started, where it does not grow that much."""
        enough_mib = self.resident_mib() + by_mib
        wait_for(
            lambda: self.resident_mib() >= enough_mib or self.has_started(),
            f"it has grown by {by_mib} MiB",
            every_s=0,
        )

    def terminate(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        return self.parent.wait(GRACE_S)

    def close(self) -> None:
        self.parent.kill()
        self.parent.wait()


@pytest.fixture
def contained(tmp_path):
    made: list[Contained] = []

    def start(*command: str, code: str | None = None) -> Contained:
        made.append(Contained(tmp_path / str(len(made)), *command, code=code))
        return made[-1]

    yield start
    for one in made:
        one.close()
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.parametrize("package", COMMANDS)
def test_a_start_ends_at_sigterm_however_far_it_has_come(contained, package):
    for grown_mib in GROWN_MIB:
        program = contained(package, *COMMANDS[package])
        wait_for(program.hears_sigterm, "it hears SIGTERM")
        program.wait_until_grown(grown_mib)

        assert program.terminate() in {0, 128 + signal.SIGTERM}


@pytest.mark.parametrize("package", COMMANDS)
def test_a_start_ends_at_a_sigterm_in_a_place_where_exceptions_are_dropped(contained, package):
    program = contained(package, *COMMANDS[package], code=IN_A_CALLBACK)

    assert program.parent.wait(GRACE_S) == 128 + signal.SIGTERM
    assert program.log.read_text() == ""


@pytest.mark.parametrize("package", COMMANDS)
def test_a_start_that_waits_for_its_database_ends_at_sigterm(contained, tmp_path, package):
    database = tmp_path / "0" / DATABASES[package]
    database.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        program = contained(package, *COMMANDS[package])
        wait_for(lambda: str(database) in program.open_files(), "it opens its database", every_s=0)

        assert program.terminate() == 0
    assert not program.has_started()


def test_a_server_ends_within_the_grace_though_an_upload_hangs(contained):
    port = free_port()
    server = contained("ingest_server", "run", "--listen", f"127.0.0.1:{port}")
    wait_for(server.has_started, "it serves")
    client = Client(port, "cam-1")
    upload_id = client.create("a.mp4", 1000)
    connection = client._connection
    assert connection is not None
    connection.putrequest("PUT", f"/v1/uploads/{upload_id}/content")
    connection.putheader("Content-Range", "bytes 0-999/1000")
    connection.putheader("Content-Length", "1000")
    connection.endheaders()
    connection.send(b"x" * 100)  # and then nothing

    assert server.terminate() == 0
    assert "server.stopped" in server.log.read_text()
    client.close()
