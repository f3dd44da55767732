"""The schemas of what goes over the broker: what they let through, and that they know the agent's words."""

import json
from typing import Any

import jsonschema_rs
import pytest

from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.core.command import SETTINGS, VOCABULARY
from edge_agent.core.left_out import Cause
from edge_agent.report import contract
from edge_agent.report.broker.home_assistant import EVENTS
from edge_agent.report.payloads import Topics, birth, encode, offline, online, shorter
from edge_agent.report.state_document import STATES
from edge_agent.report.timing import Timing
from tests.support.mqtt_contract import strict, violations
from tests.support.reporting import ABOUT
from tests.support.state_documents import IDLE

ROOT = "edgeup/v1/drone-01"


def command(**changed) -> dict[str, Any]:
    good = {"v": 1, "id": "a.B-1_", "cmd": "pause", "args": {}, "expires_at": 1795219855}
    return {**good, **changed}


def is_good(name: str, document: object) -> bool:
    return jsonschema_rs.is_valid(contract.schema(name), document, validate_formats=True)


@pytest.mark.parametrize("name", contract.NAMES)
def test_each_schema_is_one_of_2020_12_and_says_what_it_is_of(name):
    schema = contract.schema(name)

    jsonschema_rs.meta.validate(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:edge-uploader:mqtt:v1:{name}"
    assert schema["title"]
    assert schema["description"]


def test_a_schema_says_nothing_twice():
    def lists(part):
        if isinstance(part, dict):
            yield from (one for key, one in part.items() if key in {"enum", "allOf", "required"})
        for one in part.values() if isinstance(part, dict) else part:
            if isinstance(one, dict | list):
                yield from lists(one)

    for name in contract.NAMES:
        for found in lists(contract.schema(name)):
            told = [str(one.get("if", one)) if isinstance(one, dict) else one for one in found]
            assert len(told) == len(set(told)), name


def test_every_shorter_form_of_a_state_is_one_and_is_shorter():
    current = {"file_id": "f", "name": "ä" * 200, "length": 9, "acknowledged": 3, "in_flight": 0}
    state = {
        **IDLE,
        "blocked_by": "link",
        "blocked_detail": "w" * 500,
        "current": {**current, "percent": 33.3, "attempt": 1},
        "problems": sorted(ProblemCode)[:20],
    }

    forms = [state, *shorter(state)]

    lengths = [len(encode(form)) for form in forms]
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) == 4
    assert lengths[-1] < 1000
    assert [is_good("state", form) for form in forms] == [True] * 4
    assert [form.keys() for form in forms] == [state.keys()] * 4


def test_every_topic_has_a_schema():
    topics = Topics.of("edgeup", "drone-01")
    channels = {getattr(topics, one).removeprefix(f"{ROOT}/") for one in topics.__slots__}

    assert {"ack" if one == "cmd/ack" else one for one in channels} == set(contract.NAMES)


def test_the_schema_of_the_state_knows_each_word_of_the_agent():
    properties = contract.schema("state")["properties"]

    assert properties["state"]["enum"] == list(STATES)
    assert set(properties["blocked_by"]["enum"]) == {*map(str, Reason), None}
    assert set(properties["problems"]["items"]["enum"]) == set(map(str, ProblemCode))
    assert set(properties["left_out"]["anyOf"][1]["propertyNames"]["enum"]) == set(map(str, Cause))


def test_the_schema_of_events_knows_each_type_of_the_agent():
    assert contract.schema("event")["properties"]["type"]["enum"] == [f"edgeup.{e}" for e in EVENTS]


def test_the_schema_of_commands_knows_each_command_with_its_arguments():
    schema = contract.schema("cmd")
    arguments = {
        one["if"]["properties"]["cmd"]["const"]: one["then"]["properties"]["args"]
        for one in schema["allOf"]
    }

    assert set(schema["properties"]["cmd"]["enum"]) == set(arguments) >= set(VOCABULARY)
    for cmd, known in VOCABULARY.items():
        assert set(arguments[cmd]["properties"]) == set(known), cmd
        needed = {name for name, one in known.items() if one.is_needed}
        assert set(arguments[cmd]["required"]) == needed, cmd


@pytest.mark.parametrize("name", ["desired", "reported"])
def test_the_schemas_of_settings_know_each_setting(name):
    settings = contract.schema(name)["properties"]["settings"]

    assert set(settings["properties"]) == set(SETTINGS)


def test_what_the_agent_makes_is_what_the_schemas_say():
    told = {
        "status": online(
            boot_id="b", run_id="r", session=1, reason="start", ts="2026-11-21T00:05:06Z"
        ),
        "info": birth("drone-01", boot_id="b", timing=Timing(), about=ABOUT),
        "state": IDLE,
    }
    for name, document in told.items():
        assert violations(f"{ROOT}/{name}", encode(document)) == []
    will = offline(boot_id="b", run_id="r", session=1, reason="lost")
    assert violations(f"{ROOT}/status", encode(will)) == []


def test_a_key_that_nobody_has_documented_is_a_violation_of_ours_and_none_for_a_reader():
    document = {**IDLE, "surprise": 1}

    assert violations(f"{ROOT}/state", encode(document)) != []
    assert is_good("state", document)


@pytest.mark.parametrize("missing", sorted(IDLE))
def test_a_state_without_one_of_its_keys_is_a_violation(missing):
    document = {key: value for key, value in IDLE.items() if key != missing}

    assert not is_good("state", document)


@pytest.mark.parametrize(
    "document",
    [
        command(),
        command(expires_at="2026-11-21T00:05:06Z"),
        command(cmd="pause", args={"for_s": 600, "reason": "flight"}),
        command(cmd="set_bandwidth", args={"limit_bytes_per_s": None}),
        command(cmd="set_bandwidth", args={"limit_bytes_per_s": 250000, "for_s": 60}),
        command(cmd="upload_now", args={"file_id": "5f0e", "metered": True}),
        command(cmd="set_priority", args={"file_id": "5f0e", "priority": 90}),
        command(cmd="fetch", args={"query": {"name": "*.mp4"}, "limit": 10}),
        {key: value for key, value in command(cmd="resume").items() if key != "args"},
    ],
)
def test_a_command_in_its_form_is_good(document):
    assert is_good("cmd", document)


@pytest.mark.parametrize(
    "document",
    [
        command(v=2),
        command(id=""),
        command(id="a/b"),
        command(id="a" * 65),
        command(cmd="exec"),
        command(args={"path": "/etc/shadow"}),
        command(cmd="retry", args={}),
        command(cmd="upload_log", args={"lines": 501}),
        command(cmd="set_priority", args={"file_id": "5f0e", "priority": "high"}),
        command(expires_at=None),
        {key: value for key, value in command().items() if key != "expires_at"},
        [],
    ],
)
def test_a_command_in_another_form_is_not(document):
    assert not is_good("cmd", document)


def test_a_command_of_home_assistant_is_one_in_its_form():
    text = '{"v":1,"id":"ha-1795219855.23","cmd":"rescan","args":{},"expires_at":1795219975}'

    assert is_good("cmd", json.loads(text))


def test_an_event_of_the_outbox_has_all_that_orders_it_and_that_of_a_check_has_not():
    checked = {
        "specversion": "1.0",
        "id": "check-1",
        "source": "/devices/drone-01",
        "type": "edgeup.agent.checked",
        "time": "2026-11-21T00:05:06Z",
    }

    assert is_good("event", checked)
    assert not is_good("event", {**checked, "type": "edgeup.file.completed"})


def test_closing_a_schema_leaves_open_what_it_opens_itself():
    open_one = {"type": "object", "properties": {"a": {}}, "additionalProperties": True}

    assert strict(open_one) == open_one
