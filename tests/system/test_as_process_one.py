"""`ingest-server` as process 1, as in a container without an init: nobody else hears SIGTERM."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from demo.ports import free_port
from tests.support.crash_load import Client
from tests.support.processes import wait_for
from tests.support.requirements import require, require_root

pytestmark = pytest.mark.slow

GRACE_S = 10.0
"""What `docker stop` waits until it kills."""
CAUGHT = 1 << (signal.SIGTERM - 1)


class Contained:
    def __init__(self, folder: Path, *command: str) -> None:
        require_root()
        self.log = folder / "log"
        environ = {**os.environ, "INGEST_SERVER_AUTH__MODE": "open"}
        with self.log.open("wb") as log:
            self.parent = subprocess.Popen(
                [
                    *(require("unshare"), "--fork", "--pid", "--kill-child"),
                    *(sys.executable, "-m", "ingest_server", *command),
                    *("--data-dir", str(folder / "data")),
                ],
                stdout=log,
                stderr=log,
                env=environ,
            )
        children = Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children")
        self.pid = int(wait_for(children.read_text, "the process is there").split()[0])

    def hears_sigterm(self) -> bool:
        """Whether it has a handler, which it has long before it waits for signals."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        [caught] = [int(line.split()[1], 16) for line in lines if line.startswith("SigCgt")]
        return bool(caught & CAUGHT)

    def terminate(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        return self.parent.wait(GRACE_S)

    def close(self) -> None:
        self.parent.kill()
        self.parent.wait()


@pytest.fixture
def contained(tmp_path):
    made = []

    def start(*command: str) -> Contained:
        made.append(Contained(tmp_path, *command))
        return made[-1]

    yield start
    for one in made:
        one.close()
    shutil.rmtree(tmp_path / "data", ignore_errors=True)


def test_a_start_ends_at_sigterm(contained):
    server = contained("run", "--listen", "127.0.0.1:0")
    wait_for(server.hears_sigterm, "it hears SIGTERM")
    assert "server.started" not in server.log.read_text()

    assert server.terminate() in {0, 128 + signal.SIGTERM}


def test_a_server_ends_within_the_grace_though_an_upload_hangs(contained):
    port = free_port()
    server = contained("run", "--listen", f"127.0.0.1:{port}")
    wait_for(lambda: "server.started" in server.log.read_text(), "it serves")
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
