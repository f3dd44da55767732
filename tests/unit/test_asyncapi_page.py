"""docs/asyncapi*.yaml: read by the parser of those who made the format, and the same as the programs do."""

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from edge_agent.report import contract
from edge_agent.report.broker.command_traffic import ACK_EXPIRY_S
from edge_agent.report.broker.mqtt_client import MAX_PACKET_BYTES
from edge_agent.report.payloads import Topics
from edge_agent.report.timing import Timing
from ingest_server.core.events import DEVICE, Event
from ingest_server.fleet.intake import Intake
from ingest_server.fleet.mqtt_messages import Messages
from ingest_server.fleet.service import FleetService
from ingest_server.storage.memory.fleet import MemoryFleet
from tests.support.clock import VirtualClock
from tests.support.mqtt_contract import strict
from tests.support.requirements import missing, require

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "asyncapi.yaml"
DOCUMENT = yaml.safe_load(PAGE.read_text(encoding="utf-8"))
FLEET_PAGE = ROOT / "docs" / "asyncapi-fleet.yaml"
FLEET = yaml.safe_load(FLEET_PAGE.read_text(encoding="utf-8"))

PARSE = """
import {Parser, fromFile} from '@asyncapi/parser';
const {document, diagnostics} = await fromFile(new Parser(), process.argv[2]).parse();
console.log(JSON.stringify({
  addresses: document === undefined ? null : document.channels().all().map(one => one.address()),
  payloads: document === undefined ? null
    : document.messages().all().map(one => one.payload().json()['x-parser-schema-id'] ?? one.payload().json().$id),
  errors: diagnostics.filter(one => one.severity < 2).map(one => `${one.path.join('.')}: ${one.message}`),
}));
"""


def test_each_topic_of_the_agent_is_a_channel():
    topics = Topics.of("{prefix}", "{device}")

    addresses = {name: channel["address"] for name, channel in DOCUMENT["channels"].items()}

    assert addresses == {name: getattr(topics, name) for name in Topics.__slots__}


def test_each_message_is_a_schema_of_the_package():
    named = {
        (PAGE.parent / message["payload"]["$ref"]).resolve()
        for message in DOCUMENT["components"]["messages"].values()
    }

    schemas = ROOT / "edge_agent" / "report" / "schemas"
    assert named == {schemas / f"{name}.json" for name in contract.NAMES} == set(schemas.iterdir())


def test_what_is_said_of_qos_retaining_and_expiry_is_what_the_agent_does():
    how = {
        one["channel"]["$ref"].rpartition("/")[2]: one["bindings"]["mqtt"]
        for one in DOCUMENT["operations"].values()
    }

    assert {name for name, one in how.items() if one["qos"] == 0} == {"state"}
    assert {name for name, one in how.items() if one["retain"]} == {
        *("status", "info", "state", "desired", "reported")
    }
    assert how["state"]["messageExpiryInterval"] == Timing().state_expiry_s
    assert how["ack"]["messageExpiryInterval"] == ACK_EXPIRY_S
    session = DOCUMENT["servers"]["broker"]["bindings"]["mqtt"]
    assert session["sessionExpiryInterval"] == Timing().session_s
    assert session["maximumPacketSize"] == MAX_PACKET_BYTES


@pytest.fixture
def said_of_the_fleet():
    """Each message of the server's own, by its topic."""
    fleet = FleetService(MemoryFleet(), VirtualClock(wall=datetime(2026, 11, 30, tzinfo=UTC)))
    messages = Messages(fleet, Intake(fleet), "{prefix}")
    data = {"detail": "silent for 3 h"}
    told = [
        Event(1, "e1", one, "2026-11-30T00:00:00Z", "drone-1", "drone-1", data) for one in DEVICE
    ]
    tiles = json.loads(fleet.view(None))["tiles"]
    said = [messages.status("online"), messages.status("offline"), messages.summary(tiles, 0)]
    return [*said, *map(messages.notice, told)]


def test_each_message_of_the_server_is_as_the_page_has_it(said_of_the_fleet):
    channels = {channel["address"]: name for name, channel in FLEET["channels"].items()}
    how = {
        one["channel"]["$ref"].rpartition("/")[2]: one["bindings"]["mqtt"]
        for one in FLEET["operations"].values()
    }

    for said in said_of_the_fleet:
        name = channels[said.topic]
        schema = strict(FLEET["components"]["messages"][name]["payload"])
        jsonschema_rs.Draft202012Validator(schema).validate(json.loads(said.payload))
        assert how[name]["retain"] == said.is_retained
    assert {said.topic for said in said_of_the_fleet} == set(channels)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_parser_of_asyncapi_finds_no_fault(tmp_path):
    """One test, for what is installed for it."""
    npm, node = require("npm"), require("node")
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    (tmp_path / "parse.js").write_text(PARSE)
    install: list[str | Path] = [
        npm,
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "@asyncapi/parser@3",
    ]
    done = subprocess.run(
        install, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    if done.returncode:
        missing(f"@asyncapi/parser cannot be installed: {done.stderr[-400:]}")

    answer = parsed(node, tmp_path, PAGE)
    assert answer["errors"] == []
    assert len(answer["addresses"]) == len(Topics.__slots__)
    assert answer["payloads"] == [f"urn:edge-uploader:mqtt:v1:{name}" for name in contract.NAMES]
    answer = parsed(node, tmp_path, FLEET_PAGE)
    assert answer["errors"] == []
    assert len(answer["addresses"]) == len(FLEET["channels"])


def parsed(node: Path, folder: Path, page: Path) -> dict[str, Any]:
    said = subprocess.run(
        [node, "parse.js", page],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    answer: dict[str, Any] = json.loads(said.stdout)
    return answer
