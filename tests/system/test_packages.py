"""The Debian packages: installed, used, upgraded, refused and removed, on machines that are booted for it."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from demo.ports import free_port
from tests.support.booted import Booted, booted
from tests.support.debian_roots import debian_root
from tests.support.processes import wait_for
from tests.support.requirements import missing, require

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(1800)]

TREE = Path(__file__).parents[2]
BEFORE = "8d68c44"
"""The last commit that had no packages; its programs are what the first ones replace."""
OLD, NEW = "0.1.0~1", "0.1.0~2"
SIDES = ("agent", "server")
LENGTH = 12_000_000
SERVER = '# mine\n[server]\nlisten = "127.0.0.1:8099"\n'
AGENT = """# mine
device_id = "cam-1"
[watch]
folder = "/srv/recordings"
settle_seconds = 1
fallback_settle_seconds = 1
[server]
url = "http://127.0.0.1:8099"
token_file = "/etc/edge-uploader/token"
[upload]
max_rate = "500KB"
"""


def build(out: Path, version: str, *options: object) -> Path:
    command = [
        sys.executable,
        "-m",
        "release.deb",
        "--python=3.11",
        f"--version={version}",
        f"--out={out}",
    ]
    done = subprocess.run(
        [*command, *map(str, options)],
        cwd=TREE,
        env={**os.environ, "DPKG_DEB_COMPRESSOR_LEVEL": "1"},  # a tenth of the time
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def old_tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old-tree")
    archive = subprocess.run(
        ["git", "-C", TREE, "archive", BEFORE], capture_output=True, check=False
    )
    if archive.returncode:
        missing(f"the history does not go back to {BEFORE}")
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


@pytest.fixture(scope="module")
def packages(tmp_path_factory, old_tree):
    """Packages for amd64 of both versions, by the machine's own names of them."""
    require("dpkg-deb")
    out = tmp_path_factory.mktemp("packages")
    build(out, OLD, "--arch=amd64", f"--tree={old_tree}")
    return build(out, NEW, "--arch=amd64")


def put(machine: Booted, packages: Path) -> None:
    shutil.copytree(packages, machine.files / "packages")


def installed(machine: Booted, version: str, side: str) -> str:
    return f"dpkg -i /packages/edge-uploader-{side}_{version}_*.deb"


def by_hand(machine: Booted) -> None:
    """Set both up as it was done before there was a command for it, with a link that is slow."""
    etc = machine.files / "etc/edge-uploader"
    etc.mkdir()
    (etc / "server.toml").write_text(SERVER)
    (etc / "agent.toml").write_text(AGENT)
    machine.run("mkdir -p /srv/recordings && systemctl enable --now ingest-server")
    machine.run("ingest-server token add cam-1 2>/dev/null | tail -1 > /etc/edge-uploader/token")
    machine.run("chown edge-agent /etc/edge-uploader/token && chmod 600 /etc/edge-uploader/token")
    machine.run("systemctl enable --now edge-agent")


def received(machine: Booted) -> tuple[str, int]:
    """Return the open upload and how much of it the server has."""
    found = json.loads(machine.run("ingest-server list --state open --json 2>/dev/null"))
    return (found[0]["id"], found[0]["received_bytes"]) if found else ("", 0)


def test_an_upgrade_in_the_middle_of_an_upload_a_downgrade_and_a_removal(packages, tmp_path):
    with booted(debian_root(), tmp_path / "m", "eu-upgrade") as machine:
        put(machine, packages)
        for side in SIDES:
            machine.run(installed(machine, OLD, side))
        assert (
            machine.ask("systemctl is-enabled edge-agent ingest-server").split() == ["disabled"] * 2
        )
        by_hand(machine)
        machine.run(f"head -c {LENGTH} /dev/urandom > /srv/recordings/a.mp4")
        wait_for(lambda: received(machine)[1] > 1_000_000, "half of it is there", 90, every_s=0.5)
        settings = machine.run("cat /etc/edge-uploader/*.toml")

        for side in SIDES:
            machine.run(installed(machine, NEW, side))
        upload, had = received(machine)
        assert machine.ask("systemctl is-active edge-agent ingest-server").split() == ["active"] * 2
        assert machine.run("cat /etc/edge-uploader/*.toml") == settings
        assert had > 1_000_000

        refused = machine.run(f"{installed(machine, OLD, 'agent')} 2>&1", code=1)
        assert (
            len([one for one in refused.splitlines() if one.startswith("edge-uploader-agent:")])
            == 1
        )
        assert f"{NEW} is installed" in refused
        assert machine.run("dpkg-query -f '${Version}' -W edge-uploader-agent") == NEW
        assert machine.ask("systemctl is-active edge-agent").strip() == "active"

        published = "find /var/lib/edge-uploader/server/published -name a.mp4"
        wait_for(lambda: machine.run(published), "it is published", 90, every_s=0.5)
        assert machine.run(f"cat $({published}) | sha256sum") == machine.run(
            "sha256sum < /srv/recordings/a.mp4"
        )
        assert upload in machine.run("ingest-server list --json 2>/dev/null")

        said = machine.run("apt-get -y remove edge-uploader-agent edge-uploader-server 2>&1")
        assert said.count("stay where they are") == 2
        assert machine.run(published)
        assert machine.run("ls /srv/recordings") == "a.mp4\n"
        assert machine.run("cat /etc/edge-uploader/*.toml") == settings
        assert machine.run("ls -A /opt 2>/dev/null || true") == ""

        machine.run("apt-get -y purge edge-uploader-agent edge-uploader-server 2>&1")
        assert machine.run(published)
        assert machine.run("ls /srv/recordings") == "a.mp4\n"
        assert machine.run("ls /etc/edge-uploader") == "token\n"


def states(machine: Booted) -> list[str]:
    return machine.ask(
        "systemctl is-active edge-agent ingest-server ingest-server-renew.timer"
    ).split()


def main_process(machine: Booted) -> str:
    return machine.run("systemctl show --property=MainPID --value edge-agent")


def test_one_that_is_cut_off_or_removed_goes_on_and_a_purge_takes_what_setup_wrote(
    packages, tmp_path
):
    with booted(debian_root(), tmp_path / "m", "eu-again") as machine:
        put(machine, packages)
        for side in SIDES:
            machine.run(installed(machine, NEW, side))
        said = machine.run(f"ingest-server setup --name 127.0.0.1 --port {free_port()}")
        [line] = re.findall(r"^  (echo .* --folder )\S+$", said, re.MULTILINE)
        machine.run("mkdir -p /srv/recordings && mount -t tmpfs tmpfs /srv/recordings")
        machine.run(f"{line} /srv/recordings")
        first = main_process(machine)

        # A setup is killed when it has changed what the service is to do, and has not told it.
        cut = machine.files / "root/cut"
        cut.mkdir()
        (cut / "systemctl").write_text(
            '#!/bin/sh\n[ "$1" != restart ] || kill -9 $PPID\nexec /bin/systemctl "$@"\n'
        )
        (cut / "systemctl").chmod(0o755)
        machine.run("PATH=/root/cut:$PATH edge-agent setup --delete", code=137)
        assert main_process(machine) == first
        machine.run("edge-agent setup")
        assert main_process(machine) != first
        assert "made" not in machine.run("edge-agent setup")

        # dpkg is killed in the package's script, between the old files and the start of the service.
        (cut / "python3").write_text("#!/bin/sh\nkill -9 $(ps -o ppid= $PPID) $PPID\n")
        (cut / "python3").chmod(0o755)
        machine.run(f"PATH=/root/cut:$PATH {installed(machine, NEW, 'agent')}", code=137)
        assert states(machine)[0] == "inactive"
        machine.run("dpkg --configure --pending")
        assert states(machine) == ["active"] * 3

        machine.run("dpkg --remove edge-uploader-agent edge-uploader-server")
        assert states(machine) == ["inactive"] * 3
        for side in SIDES:
            machine.run(installed(machine, NEW, side))
        assert states(machine) == ["active"] * 3

        machine.run("mkdir /etc/systemd/system/ingest-server.service.d")
        machine.run("echo '[Service]' > /etc/systemd/system/ingest-server.service.d/media.conf")
        drop_ins = "find /etc/systemd/system -path '*.service.d/*' -type f"
        assert "edge-agent.service.d/media.conf" in machine.run(drop_ins)
        said = machine.run("dpkg --purge edge-uploader-agent edge-uploader-server 2>&1")
        assert machine.run(drop_ins) == "/etc/systemd/system/ingest-server.service.d/media.conf\n"
        assert machine.run("ls /etc/edge-uploader") == "ca\n"
        assert (
            "so does the CA that the devices trust, if there is one: /etc/edge-uploader/ca" in said
        )
        assert machine.run("systemctl --failed --no-legend") == ""

        # Of somebody's earlier installation the group is left; and systemd does not make users here.
        machine.run("userdel edge-agent && groupadd --system edge-agent")
        machine.run("rm /usr/bin/systemd-sysusers")
        machine.run(installed(machine, NEW, "agent"))
        assert machine.run("id -gn edge-agent") == "edge-agent\n"


def test_a_server_and_three_devices_take_eight_commands(packages, tmp_path):
    root, commands = debian_root(), 0
    with booted(root, tmp_path / "s", "eu-server") as server:
        put(server, packages)
        server.run(installed(server, NEW, "server"))
        said = server.run("ingest-server setup --name 127.0.0.1 --port 18443")
        commands += 2
        [line] = re.findall(r"^  (echo .* --folder )\S+$", said, re.MULTILINE)
        for device in ("eu-one", "eu-two", "eu-three"):
            with booted(root, tmp_path / device, device) as machine:
                put(machine, packages)
                machine.run(
                    "mkdir -p /srv/recordings && mount -t tmpfs tmpfs /srv/recordings && head -c 9000 /dev/urandom > /srv/recordings/a.mp4"
                )
                machine.run(installed(machine, NEW, "agent"))
                machine.run(f"{line} /srv/recordings")
                commands += 2
                published = f"find /var/lib/edge-uploader/server/published/{device} -name a.mp4"
                wait_for(
                    partial(server.ask, f"{published} 2>/dev/null"),
                    "it is there",
                    240,
                    every_s=1,
                )
                assert machine.run(f"{line} /srv/recordings").count(" made ") == 0
                machine.run("edge-agent setup --undo")
                assert machine.ask("systemctl is-active edge-agent").strip() == "inactive"

    assert commands == 8
