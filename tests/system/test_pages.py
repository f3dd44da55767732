"""What the pages show is done as a reader does it: beside a server, a device and a broker that run."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.browser import node_with_packages
from tests.support.mosquitto import Mosquitto
from tests.support.pages import Block, adapted, of_stage, run
from tests.support.processes import Agent, Server, wait_for
from tests.support.recordings import make_recording
from tests.support.requirements import require
from tests.support.slow_link import SlowLink

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

JS = Path(__file__).parent / "js"
PIECE = 4 * 2**20
"""What the Python client sends at once."""
SITE = of_stage("site")
DEVICE = "drone-01"
PASSWORD = "correct horse battery\n"


class Reader:
    """Somebody with a shell beside a server, a device that sends to it, and a broker."""

    def __init__(self, folder: Path) -> None:
        require("mosquitto_sub")
        require("curl")
        node_with_packages()
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
            **{"": {"device_id": DEVICE}}, mqtt={"url": self.broker.url}, reports=SOON
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
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.changes = {
            "https://ingest.example.org": self.url,
            "-h broker.example.org": f"-h 127.0.0.1 -p {self.broker.port}",
        }
        self.password = folder / "password"
        self.password.write_text(PASSWORD)
        self._behind: list[subprocess.Popen[str]] = []

    def start_the_device(self) -> None:
        make_recording(self.agent.media / "DJI_0042.MP4")
        self.agent.start()
        wait_for(self.server.published_files, "the device is there and has sent its recording")

    def follow(self, block: Block, folder: Path) -> str:
        """Do what a block says; return what was printed."""
        if block.language != "console":
            (folder / block.file).write_text(block.text)
            return ""
        ours = [adapted(command, self.changes) for command in block.commands()]
        if block.verb == "run":
            # One shell, for what a line sets; a password for each, as a person types one for each.
            each = [f"{{\n{command}\n}} < {self.password}" for command in ours]
            return run("\n".join(each), folder, self.variables)
        for command in ours:
            shell = ["bash", "-c", f"exec {command}"]
            self._behind.append(
                subprocess.Popen(
                    shell, cwd=folder, env=self.variables, stdout=subprocess.DEVNULL, text=True
                )
            )
        return ""

    def arrived(self, name: str) -> int:
        """Return how much of an unfinished upload the server has."""
        return self.server.open_uploads(self.variables["DEVICE_TOKEN"]).get(name, 0)

    def end_what_runs_behind(self) -> None:
        for one in self._behind:
            assert one.poll() is None, f"it ended by itself: {one.args!r}"
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
    make_recording(tmp_path / "clip.mp4")
    (tmp_path / "node_modules").symlink_to(JS / "node_modules")
    for block in SITE[page]:
        reader.follow(block, tmp_path)
    reader.end_what_runs_behind()


@pytest.fixture
def client(tmp_path):
    """The page's Python client, saved as it says."""
    [program] = [block for block in SITE["docs/clients.md"] if block.language == "python"]
    saved = tmp_path / program.file
    saved.write_text(program.text)
    return saved


def test_the_python_client_goes_on_after_broken_links_and_its_own_end(reader, client, tmp_path):
    clip, key = tmp_path / "long.mp4", tmp_path / "long.mp4.key"
    clip.write_bytes(os.urandom(3 * PIECE + 5))

    with SlowLink(reader.server.port, bytes_per_s=2_000_000) as link:
        variables = reader.variables | {"SERVER": link.url}
        command = [sys.executable, client, clip]
        with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as first:
            assert first.stdout is not None
            assert first.stdout.readline() == f"{PIECE} of {3 * PIECE + 5} bytes are safe\n"
            wait_for(lambda: reader.arrived(clip.name) > PIECE, "it is in its second piece")
            link.break_all()
            told = [first.stdout.readline(), first.stdout.readline()]
            first.kill()
        before = key.read_text()
        second = run(f"{sys.executable} {client} {clip}", tmp_path, variables)

    assert told[0].startswith("no connection")
    assert "bytes are safe" in told[1]
    assert key.read_text() == before
    assert second.splitlines()[0].split()[0] != str(PIECE), "it sent the first piece again"
    assert second.splitlines()[-1].startswith("verified: drone-01/")
    [found] = [one for one in reader.server.published_files() if one.name == clip.name]
    assert found.read_bytes() == clip.read_bytes()


def test_the_python_client_says_what_a_refusal_says(reader, client, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"clip")
    variables = reader.variables | {"SERVER": reader.url, "DEVICE_TOKEN": "edt_nobody"}

    done = subprocess.run(
        [sys.executable, client, tmp_path / "clip.mp4"],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("refused: ")
    assert "unauthorized" in done.stderr
