"""The commands for an administrator, as the pages show them, on a Debian that systemd has booted."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from demo.ports import free_port
from tests.support.booted import Booted, booted
from tests.support.debian_roots import debian_root
from tests.support.pages import ROOT, Block, adapted, blocks, of_stage
from tests.support.processes import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1800)]

BROUGHT = ("python3-venv", "acl", "jq", "sqlite3")
"""What the pages have installed by apt; it is there, so that no network is needed for it."""
PAGES = [
    f"docs/{name}.md"
    for name in (
        "install-server",
        "install-device",
        "deployment",
        "webhooks",
        "operate",
        "backup",
        "upgrade",
    )
]
"""One after the other, as a machine lives: what comes first is what the next ones need."""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """What both sides need, at the releases that are locked, as an index of one's own has it."""
    folder = tmp_path_factory.mktemp("wheels")
    for side in ("agent", "server"):
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
        ]
        options = ["--only-binary", ":all:", "--python-version", "3.11", "--dest", folder]
        subprocess.run([*command, *options, "-r", ROOT / f"constraints-{side}.txt"], check=True)
    return folder


@pytest.fixture
def machine(wheels, tmp_path):
    with booted(debian_root("amd64", "bookworm", *BROUGHT), tmp_path / "m", "eu-pages") as one:
        tree = subprocess.run(
            ["git", "-C", ROOT, "archive", "HEAD"], check=True, capture_output=True
        ).stdout
        (one.files / "root/edge-uploader").mkdir()
        subprocess.run(
            ["tar", "-x", "-C", one.files / "root/edge-uploader"], input=tree, check=True
        )
        subprocess.run(["cp", "-r", wheels, one.files / "wheels"], check=True)
        (one.files / "etc/pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        yield one


class Administrator:
    def __init__(self, machine: Booted) -> None:
        self.machine = machine
        self.port = free_port()
        self.token = ""
        machine.run("useradd --create-home pi && mkdir /home/pi/Videos /srv/recordings")
        folder = machine.files / "etc/systemd/system/ingest-server.service.d"
        folder.mkdir(parents=True)  # the network is this machine's, where 8080 may be taken
        (folder / "port.conf").write_text(
            f"[Service]\nEnvironment=INGEST_SERVER_SERVER__LISTEN=127.0.0.1:{self.port}\n"
        )

    def follow(self, block: Block) -> None:
        if block.verb == "file":
            path = self.machine.files / block.what.lstrip("/")
            path.write_text(
                adapted(block.text, {"https://ingest.example.org": f"http://127.0.0.1:{self.port}"})
            )
            return
        for command in block.commands():
            said = self.machine.run(
                f"cd /root/edge-uploader && bash -o pipefail -euc {shlex.quote(command)}",
                f"{self.token}\n",
            )
            if "token add" in command:
                self.token = said.splitlines()[-1]


def test_the_test_knows_each_page_with_such_commands():
    assert set(of_stage("debian")) == set(PAGES)


def test_a_machine_is_set_up_used_saved_upgraded_and_cleared_as_the_pages_say(machine):
    administrator = Administrator(machine)
    published = "find /var/lib/edge-uploader/server/published -name a.mp4"
    for page in PAGES:
        for block in blocks(Path(page)):
            if block.what == "debian" or block.verb == "file":
                administrator.follow(block)
        if page == "docs/install-device.md":
            machine.run("head -c 9000 /dev/urandom > /srv/recordings/a.mp4")
            wait_for(lambda: machine.run(published), "a recording is published", 180, every_s=1)

    assert machine.run(f"cat $({published}) | sha256sum") == machine.run(
        "sha256sum < /srv/recordings/a.mp4"
    )
    assert machine.ask("systemctl is-active edge-agent ingest-server").split() == ["inactive"] * 2
    left = machine.run("find /etc/edge-uploader /etc/systemd/system /opt -name '*e*-*e*r*'")
    assert "edge-agent" not in left
    assert "ingest-server" not in left
    assert machine.run("ls -d /opt/edge-uploader 2>&1 || true").startswith("ls: cannot access")
