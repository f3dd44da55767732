"""The pages that lead to a server with a certificate of your own, and to a device that trusts it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demo.ports import free_port
from tests.support.pages import ROOT, Block, adapted, blocks, run
from tests.support.processes import wait_for
from tests.support.recordings import make_recording, sha256
from tests.support.requirements import require

pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(120)]

OWN_CA = [block for block in blocks(Path("docs/own-ca.md")) if block.what == "own-ca"]
TWO_MACHINES = list(blocks(Path("docs/two-machines.md")))
SIDES = ("two machines, the server", "two machines, the device")


class Machines:
    """Two folders, each with what one machine has."""

    def __init__(self, folder: Path) -> None:
        self.folders = {side: folder / side.split()[-1] for side in SIDES}
        for one in self.folders.values():
            one.mkdir()
        self.server, self.device = self.folders.values()
        port = free_port()
        self.changes = {
            "https://ingest.example.org:8443": f"https://localhost:{port}",
            "0.0.0.0:8443": f"127.0.0.1:{port}",
            "ingest.example.org": "localhost",
            "192.0.2.7": "127.0.0.1",
            ".venv/bin": str(Path(sys.executable).parent),
        }
        self.variables = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.running: list[subprocess.Popen[bytes]] = []

    def follow(self, block: Block, folder: Path) -> str:
        said = ""
        for command in block.commands():
            ours = adapted(command, self.changes)
            if block.verb == "run":
                said = run(ours, folder, self.variables)
                continue
            with (folder / "log").open("wb") as log:
                started = subprocess.Popen(
                    ["bash", "-c", f"exec {ours}"],
                    cwd=folder,
                    env=self.variables,
                    stdout=log,
                    stderr=log,
                )
            self.running.append(started)
        return said

    def write(self, block: Block, folder: Path) -> None:
        (folder / block.what).write_text(adapted(block.text, self.changes))

    def close(self) -> None:
        for one in self.running:
            one.terminate()
            one.wait(20)


@pytest.fixture
def machines(tmp_path):
    require("openssl")
    one = Machines(tmp_path)
    try:
        for block in OWN_CA:
            one.follow(block, one.server)
        yield one
    finally:
        one.close()


def test_two_machines_send_to_each_other_as_the_page_says(machines):
    shutil.copy(machines.server / "ca.crt", machines.device)
    clip = make_recording(machines.device / "clip.mp4")
    for block in TWO_MACHINES:
        if block.verb == "file":
            side = SIDES[0] if block.what == "server.toml" else SIDES[1]
            machines.write(block, machines.folders[side])
        elif block.what in SIDES:
            token = machines.server / "drone-01.token"
            if token.exists():
                shutil.copy(token, machines.device)
            if block.what == SIDES[1]:
                wait_for(lambda: b"started" in (machines.server / "log").read_bytes(), "it runs")
            machines.follow(block, machines.folders[block.what])

    published = machines.server / "data" / "published"
    wait_for(lambda: len(list(published.rglob("*.mp4"))) == 2, "both recordings are there", 60)
    assert {sha256(one) for one in published.rglob("*.mp4")} == {sha256(clip)}


def test_the_certificate_that_the_page_makes_is_one_that_the_server_takes(machines):
    [settings] = [block for block in blocks(Path("docs/own-ca.md")) if block.verb == "file"]
    assert settings.text in "".join(block.text for block in TWO_MACHINES).replace(
        'data_dir = "data"\n', ""
    )


def test_a_device_of_that_ca_is_known_by_its_certificate(machines):
    said = run(
        "openssl verify -purpose sslclient -CAfile ca.crt device.crt && openssl x509 -in device.crt -noout -subject",
        machines.server,
        machines.variables,
    )

    assert "device.crt: OK" in said
    assert "drone-01" in said
