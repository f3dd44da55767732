"""The rules of imports are really asked: a line that breaks one fails `make check`, and names that rule."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("edge_agent", "edge_host", "ingest_server", "upload_protocol")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
BREAKS = {
    "agent and server share only the protocol and the host": [
        ("edge_agent/base/clock.py", "ingest_server.core.events"),
        ("ingest_server/base/lead.py", "edge_agent.core.plan"),
        ("edge_host/clock.py", "upload_protocol.ranges"),
    ],
    "inside the agent imports run one way": [
        ("edge_agent/core/plan.py", "edge_agent.store.notes"),
        ("edge_agent/media/scan.py", "edge_agent.send.waits"),
        ("edge_agent/operate/check.py", "edge_agent.agent"),
    ],
    "inside the server imports run one way": [
        ("ingest_server/core/names.py", "ingest_server.base.lead"),
        ("ingest_server/uploads/room.py", "ingest_server.upkeep.retention"),
        ("ingest_server/app.py", "ingest_server.assembly.parts"),
    ],
    "the cores and the protocol are pure": [
        ("edge_agent/core/plan.py", "time"),
        ("ingest_server/core/names.py", "edge_host.clock"),
        ("upload_protocol/ranges.py", "os"),
    ],
    "only the agent's network and client know httpx": [("edge_agent/media/scan.py", "httpx")],
    "only the session with a broker on each side knows paho": [
        ("edge_agent/report/server/reports.py", "paho.mqtt.client"),
        ("edge_agent/send/waits.py", "paho.mqtt.client"),
        ("ingest_server/fleet/service.py", "paho.mqtt.client"),
    ],
    "only the folder of recordings knows watchdog": [("edge_agent/store/notes.py", "watchdog")],
    "only the two stores and what opens them know sqlite3": [
        ("edge_agent/operate/check.py", "sqlite3"),
        ("ingest_server/storage/sql/queries.py", "sqlite3"),
    ],
    "only one store knows psycopg": [("ingest_server/storage/sql/queries.py", "psycopg")],
    "only one store knows boto3": [("ingest_server/storage/s3/blobs.py", "boto3")],
    "only one module knows cheroot": [("ingest_server/front/connection.py", "cheroot.server")],
    "only the application, its document, the page and the protocols know falcon": [
        ("ingest_server/uploads/service.py", "falcon")
    ],
    "only the metrics know prometheus_client": [
        ("ingest_server/notify/webhooks.py", "prometheus_client")
    ],
    "the host carries neither side's dependencies": [("edge_host/clock.py", "falcon")],
    "a client of a server is known by its interface": [
        ("edge_agent/report/broker/reporter.py", "edge_agent.send.clients.native")
    ],
    "whoever sends knows what is below, and is called back by nobody": [
        ("edge_agent/send/permission.py", "edge_agent.send.lane")
    ],
    "each way of telling knows what is told, and nothing of the other way": [
        ("edge_agent/report/timing.py", "edge_agent.report.broker.outgoing"),
        ("edge_agent/report/server/reports.py", "edge_agent.report.broker.outgoing"),
    ],
    "the server carries no agent dependency": [("ingest_server/notify/webhooks.py", "httpx")],
    "the agent carries no server dependency": [("edge_agent/report/broker/reporter.py", "falcon")],
    "only the composition root chooses a store": [
        ("ingest_server/server.py", "ingest_server.storage.files.parts")
    ],
    "inside the storage imports run from the engines to the interface": [
        ("ingest_server/storage/interface/rows.py", "ingest_server.storage.claims"),
        ("ingest_server/storage/sql/queries.py", "ingest_server.storage.postgres.schema"),
    ],
    "a store knows no other store": [
        ("ingest_server/storage/s3/blobs.py", "ingest_server.storage.files.parts"),
    ],
}

pytestmark = pytest.mark.slow


def test_each_rule_is_broken_below():
    assert set(BREAKS) == {one["name"] for one in CONTRACTS}


def test_no_rule_has_exceptions():
    assert not [one["name"] for one in CONTRACTS if "ignore_imports" in one]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the packages, with what is known of their imports: only a changed file is read again."""
    root = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy2(ROOT / "pyproject.toml", root)
    assert linted(root).returncode == 0
    return root


def linted(root: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--cache-dir", ".linted"]
    environ = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "300"}
    return subprocess.run(
        command, cwd=root, env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("rule", "path", "imported"),
    [(rule, *one) for rule, found in BREAKS.items() for one in found],
)
def test_an_import_that_a_rule_forbids_is_told(tree, rule, path, imported):
    file = tree / path
    before = file.read_text()
    file.write_text(f"{before}\nimport {imported}\n")
    try:
        found = linted(tree)
    finally:
        file.write_text(before)

    assert found.returncode == 1
    assert f"{rule} BROKEN" in found.stdout


@pytest.mark.parametrize("package", ["edge_agent", "ingest_server", "ingest_server/storage"])
def test_a_room_that_nobody_gave_a_place_is_told(tree, package):
    file = tree / package / "attic.py"
    file.write_text("")
    try:
        found = linted(tree)
    finally:
        file.unlink()

    assert found.returncode != 0
    assert "attic" in found.stdout
