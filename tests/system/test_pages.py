"""What the pages show is done as a reader does it: beside a server, a device and a broker that run."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mosquitto import Mosquitto
from tests.support.pages import Block, adapted, of_stage, run
from tests.support.processes import Agent, Server, wait_for
from tests.support.recordings import make_recording
from tests.support.requirements import require

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SITE = of_stage("site")
DEVICE = "drone-01"
PASSWORD = "correct horse battery\n"


class Reader:
    """Somebody with a shell beside a server, a device that sends to it, and a broker."""

    def __init__(self, folder: Path) -> None:
        require("mosquitto_sub")
        self.folder = folder
        self.broker = Mosquitto(folder / "broker")
        self.server = Server(folder / "server")
        self.server.start()
        token, admin = (
            self.server.new_token(DEVICE),
            self.server.new_token("operator", scope="admin"),
        )
        self.agent = Agent(
            folder / "device", url=f"http://127.0.0.1:{self.server.port}", token=token
        )
        self.broker.start()
        self.agent.configure(
            **{"": {"device_id": DEVICE}, "mqtt": {"url": self.broker.url}, "reports": SOON}
        )
        programs = folder / "bin"
        programs.mkdir()
        for name, module, config in (
            ("edge-agent", "edge_agent", self.agent.config),
            ("ingest-server", "ingest_server", self.server.config),
        ):
            line = shlex.join([sys.executable, "-m", module])
            (programs / name).write_text(f'#!/bin/sh\nexec {line} "$@" --config {config}\n')
            (programs / name).chmod(0o755)
        self.variables = {
            **os.environ,
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "TOKEN": admin,
            "DEVICE_TOKEN": token,
        }
        self.changes = {
            "https://ingest.example.org": f"http://127.0.0.1:{self.server.port}",
            "-h broker.example.org": f"-h 127.0.0.1 -p {self.broker.port}",
        }
        self._behind: list[subprocess.Popen[str]] = []

    def start_the_device(self) -> None:
        make_recording(self.agent.media / "DJI_0042.MP4")
        self.agent.start()
        wait_for(self.server.published_files, "the device is there and has sent its recording")

    def follow(self, block: Block, folder: Path) -> str:
        """Do what a block says; return what was printed."""
        said = []
        for command in block.commands():
            ours = adapted(command, self.changes)
            if block.verb == "run in the background":
                shell = ["bash", "-c", f"exec {ours}"]
                self._behind.append(
                    subprocess.Popen(
                        shell, cwd=folder, env=self.variables, stdout=subprocess.DEVNULL, text=True
                    )
                )
            else:
                said.append(run(ours, folder, self.variables, PASSWORD))
        return "\n".join(said)

    def end_what_runs_behind(self) -> None:
        for one in self._behind:
            assert one.poll() is None, f"it ended by itself: {one.args}"
            one.terminate()
            one.wait(20)
        self._behind.clear()

    def close(self) -> None:
        for one in self._behind:
            one.kill()
            one.wait()
        self.agent.close()
        self.server.close()
        self.broker.stop()


SOON = {"interval_seconds": 5.0}


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    one = Reader(tmp_path_factory.mktemp("site"))
    try:
        one.start_the_device()
        yield one
    finally:
        one.close()


@pytest.mark.parametrize("page", SITE)
def test_the_commands_of_a_page_do_what_they_are_shown_for(reader, tmp_path, page):
    for block in SITE[page]:
        reader.follow(block, tmp_path)
    reader.end_what_runs_behind()
