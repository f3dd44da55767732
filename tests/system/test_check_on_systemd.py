"""``edge-agent check`` and the journal where both programs are services, on a machine booted by systemd."""

import contextlib
import json
import re
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.ports import free_port
from tests.support.booted import Booted, booted
from tests.support.debian_roots import debian_root
from tests.support.processes import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(900)]

TREE = Path(__file__).parents[2]
PACKAGES = ("edge_agent", "edge_host", "ingest_server", "upload_protocol")
PROGRAM = """#!/usr/bin/python3
import sys

sys.path[:0] = ["/opt/edge-uploader/lib"]
from {module}.__main__ import main

sys.exit(main())
"""
CHECK = "/opt/edge-uploader/bin/edge-agent check"


def install(machine: Booted) -> None:
    """Put programs, units and configuration where docs/install.md has them."""
    home, etc = machine.files / "opt/edge-uploader", machine.files / "etc"
    libraries = Path(sysconfig.get_path("platlib"))
    shutil.copytree(libraries, home / "lib", ignore=shutil.ignore_patterns("av*", "*.pth"))
    for name in PACKAGES:
        # An editable install has put some files of it among the libraries.
        shutil.copytree(TREE / name, home / "lib" / name, dirs_exist_ok=True)
    (home / "bin").mkdir()
    (etc / "edge-uploader").mkdir()
    for name, module in (("edge-agent", "edge_agent"), ("ingest-server", "ingest_server")):
        script = home / "bin" / name
        script.write_text(PROGRAM.format(module=module))
        script.chmod(0o755)
        unit = TREE / f"deploy/systemd/{name}.service"
        shutil.copy(unit, etc / f"systemd/system/{name}.service")
    shutil.copy(
        TREE / "deploy/systemd/edge-uploader.sysusers.conf",
        machine.files / "usr/lib/sysusers.d/edge.conf",
    )
    address = f"127.0.0.1:{free_port()}"  # of this machine, whose network it shares
    (etc / "edge-uploader/server.toml").write_text(f'[server]\nlisten = "{address}"\n')
    (etc / "edge-uploader/agent.toml").write_text(
        'device_id = "cam-1"\n[watch]\nfolder = "/srv/media"\nsettle_seconds = 1\n'
        f'[server]\nurl = "http://{address}"\n[retention]\ndelete = "after_verified"\n'
    )
    # The machine's root is an overlay, where no kernel tells who writes to a file.
    machine.run("systemd-sysusers && mkdir /srv/media && mount -t tmpfs tmpfs /srv/media")
    machine.run("chgrp edge-agent /srv/media && chmod 2775 /srv/media")
    machine.run("systemctl daemon-reload && systemctl start ingest-server")
    machine.run(
        "install -d -m 700 /etc/credstore && umask 077 &&"
        " /opt/edge-uploader/bin/ingest-server token add cam-1 2>/dev/null | tail -1"
        " > /etc/credstore/edge-agent.device-token"
    )
    machine.run("systemctl start edge-agent")


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    root = debian_root()
    if sysconfig.get_python_version() != "3.11":
        pytest.skip("the libraries of this Python are not those of Debian 12's")
    with booted(root, tmp_path_factory.mktemp("booted") / "work", "checked") as one:
        install(one)
        yield one


@contextlib.contextmanager
def written(machine: Booted, path: str, text: str) -> Iterator[None]:
    """Have *text* in a file while it lasts, and then the agent as it was: other tests look at it, too."""
    file = machine.files / path
    before = file.read_text() if file.exists() else None
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    try:
        yield
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before)
        machine.run("systemctl daemon-reload && systemctl restart edge-agent")


def test_a_check_as_root_finds_what_keeps_the_service_from_deleting_and_nothing_else(machine):
    found = machine.run(CHECK, code=1)

    assert re.search(
        r"^OK    agent: it runs and checks itself: process \d+, user edge-agent", found
    )
    assert "knows this device as cam-1" in found
    [failure] = [one for one in found.splitlines() if one.startswith("FAIL")]
    assert failure.startswith("FAIL  folder: verified recordings cannot be deleted from /srv/media")
    assert "ReadWritePaths=" in failure


def test_with_the_drop_in_it_is_well_and_what_was_verified_is_deleted(machine):
    text = (TREE / "deploy/systemd/read-write-media.conf").read_text()
    drop_in = re.sub(r"^ReadWritePaths=.*$", "ReadWritePaths=/srv/media", text, flags=re.MULTILINE)
    with written(machine, "etc/systemd/system/edge-agent.service.d/media.conf", drop_in):
        machine.run("systemctl daemon-reload && systemctl restart edge-agent")

        found = machine.run(CHECK)
        machine.run(
            "head -c 100000 /dev/urandom > /srv/media/a.mp4 && chgrp edge-agent /srv/media/a.mp4"
        )
        wait_for(lambda: "a.mp4" not in machine.ask("ls /srv/media"), "it is sent and deleted", 60)

    assert "FAIL" not in found
    assert "a.mp4" in machine.run("find /var/lib/edge-uploader/server/published -type f")


def test_another_user_is_told_who_may_ask(machine):
    said = machine.run(f"setpriv --reuid=nobody --regid=nogroup --clear-groups {CHECK}", code=1)

    assert "run this as the agent's user, or as root" in said


def test_the_journal_has_priorities_and_json(machine):
    for unit in ("edge-agent", "ingest-server"):
        own = f"journalctl -u {unit} -t {unit} -o cat --no-pager"
        # What is wrong in a configuration is said in words: there is no log yet.
        lines = [
            one for one in machine.run(own).splitlines() if not one.startswith(f"{unit}: /etc/")
        ]
        assert lines
        assert all(one.startswith('{"event":"') and json.loads(one) for one in lines)
        grave = machine.ask(f"{own} -p err -g '^.\"event'").splitlines()
        assert all(json.loads(one)["level"] in {"error", "critical"} for one in grave)
        assert not any(machine.ask(f"{own} -p debug..debug").splitlines())
        levels = {json.loads(one)["level"] for one in lines}
        warned = machine.ask(f"{own} -p warning -g '^.\"event'").splitlines()
        assert {json.loads(one)["level"] for one in warned} == levels - {"info", "debug"}


def test_a_wrong_configuration_is_an_error_of_the_journal(machine):
    path = "etc/edge-uploader/agent.toml"
    wrong = (machine.files / path).read_text().replace("settle_seconds", "setle_seconds")
    with written(machine, path, wrong):
        machine.run("systemctl restart edge-agent", code=1)

        said = machine.run(
            "journalctl -u edge-agent -t edge-agent -p err -o cat --no-pager | tail -1"
        )

    assert said.startswith("edge-agent: ")
    assert "setle_seconds" in said
