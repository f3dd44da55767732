"""What only says what it would do changes nothing: of no dry run of either program is a file left, or another than before."""

import os
import sys
from hashlib import sha256

import pytest

from ingest_server.storage.sqlite.schema import VERSION
from tests.support.machine_root import MachineRoot, machine_root
from tests.support.processes import wait_for
from tests.support.requirements import require

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

FRESH = (
    ("ingest_server", "setup", "--name", "localhost"),
    ("edge_agent", "setup", "--server", "https://localhost:8443", "--folder", "/srv/recordings"),
)
SET_UP = (
    ("ingest_server", "setup"),
    ("ingest_server", "setup", "--port", "443", "--data-dir", "/srv/disk", "--name", "other"),
    ("ingest_server", "setup", "--renew"),
    ("ingest_server", "setup", "--undo"),
    ("edge_agent", "setup"),
    ("edge_agent", "setup", "--read-everything", "--delete", "--folder", "/srv/others"),
    ("edge_agent", "setup", "--undo"),
)


DATABASE = "/var/lib/edge-uploader/server/state.db"
MAKE_OLDER = f"""
import sqlite3
database = sqlite3.connect("{DATABASE}", isolation_level=None)
database.execute("DROP INDEX deliveries_given_up")
database.execute("PRAGMA user_version = {VERSION - 1}")
database.close()
"""


def written(machine: MachineRoot) -> dict[str, object]:
    """Return what is other on that machine than on this one: each file's content, mode and owner."""
    found: dict[str, object] = {}
    upper = machine.files.parent / "upper"
    for one in upper.rglob("*"):
        name = str(one.relative_to(upper))
        if name.startswith("tmp/") or "__pycache__" in name or one.is_socket():
            continue
        if name.endswith("-shm"):  # memory that SQLite's processes share, made anew from the log
            continue
        status = one.lstat()
        content = sha256(one.read_bytes()).hexdigest() if one.is_file() else ""
        lists = [
            os.getxattr(one, each, follow_symlinks=False)
            for each in os.listxattr(one, follow_symlinks=False)
            if "acl" in each
        ]
        found[name] = (status.st_mode, status.st_uid, status.st_gid, content, lists)
    return found


def rehearse(machine: MachineRoot, commands, how: str) -> dict[tuple[str, ...], str]:
    """Return what each of them says; it has changed nothing."""
    said = {}
    for command in commands:
        before = written(machine)
        said[command] = machine.program(*command, how)
        assert written(machine) == before, command
    return said


def test_no_dry_run_of_a_setup_changes_anything(tmp_path):
    require("openssl")
    with machine_root(tmp_path / "machine") as machine:
        machine.run("mkdir", "-p", "/srv/recordings", "/srv/disk", "/srv/others")
        rehearse(machine, FRESH[:1], "--dry-run")
        agents = [(*FRESH[1], "--claim", "edc_0_0")]
        assert "would make" in rehearse(machine, agents, "--dry-run")[agents[0]]
        line = machine.program(*FRESH[0]).partition("echo ")[2]
        log = machine.start("ingest-server", "ingest_server", "run")
        wait_for(lambda: "server.started" in log.read_text(), "the server runs", 30)
        ca = line.partition("--ca-sha256 ")[2].split()[0]
        machine.program(*FRESH[1], "--ca-sha256", ca, "--claim", line.split()[0])
        machine.stop()
        (machine.files / "etc/edge-uploader/server.pem").unlink()

        said = rehearse(machine, SET_UP, "--dry-run")
        rehearse(machine, [one for one in SET_UP if "--undo" in one], "--show")
        assert "would make  /etc/edge-uploader/server.pem" in said[SET_UP[2]]
        assert "  is there  /etc/edge-uploader/claim-token" in said[SET_UP[0]]


def test_a_dry_run_leaves_a_database_of_the_version_before_as_it_is(tmp_path):
    require("openssl")
    with machine_root(tmp_path / "machine") as machine:
        machine.program(*FRESH[0])
        machine.run(sys.executable, "-c", MAKE_OLDER)
        older = rehearse(machine, SET_UP[:1], "--dry-run")[SET_UP[0]]
        assert "/claim-token is kept if it is still good, else made anew:" in older
        assert "has an older format: start `ingest-server run` once" in older
        assert "would make  /etc/edge-uploader/claim-token" not in older
        again = machine.program("ingest_server", "setup")
        assert "  is there  /etc/edge-uploader/claim-token" in again
