"""The device that Home Assistant is told of."""

import json
import re
from typing import Any

import pytest

from edge_agent.report.broker.home_assistant import config_topic, discovery
from edge_agent.report.payloads import MAX_MESSAGE_BYTES, Topics, encode
from edge_agent.report.state_document import STATES
from tests.support.home_assistant import FIELDS, faults
from tests.support.state_documents import IDLE

DEVICE = "drone-01"
TOPICS = Topics.of("edgeup", DEVICE)
ALL = ["pause", "resume", "set_bandwidth", "retry_failed", "rescan", "report"]
ABOUT = {
    "version": "1.2.3",
    "host": {"model": "Raspberry Pi 4", "os": "Debian 12", "arch": "arm64"},
}


def entities(commands=ALL) -> dict[str, dict[str, Any]]:
    return discovery(DEVICE, TOPICS, commands=commands, about=ABOUT)["cmps"]


def test_the_description_is_kept_where_home_assistant_looks_for_devices():
    assert config_topic("homeassistant", DEVICE) == "homeassistant/device/edgeup-drone-01/config"


def test_the_device_has_a_name_a_version_an_origin_and_one_availability():
    document = discovery(DEVICE, TOPICS, commands=ALL, about=ABOUT)

    assert document["dev"]["name"] == DEVICE
    assert document["dev"]["sw"] == document["o"]["sw"] == "1.2.3"
    assert document["dev"]["mdl"] == "Raspberry Pi 4"
    assert document["avty"] == [{"t": TOPICS.status, "val_tpl": "{{ value_json.status }}"}]
    assert (document["stat_t"], document["cmd_t"]) == (TOPICS.state, TOPICS.command)


@pytest.mark.parametrize("device_id", [DEVICE, "a" * 63])
def test_the_description_fits_into_one_message(device_id):
    topics = Topics.of("a/long/prefix/of/a/fleet", device_id)

    document = discovery(device_id, topics, commands=ALL, about=ABOUT)

    assert len(encode(document)) < MAX_MESSAGE_BYTES


def test_each_entity_has_an_id_of_its_own_and_a_name_with_its_domain():
    found = entities()

    assert len({one["uniq_id"] for one in found.values()}) == len(found)
    for one in found.values():
        domain, _, name = one["default_entity_id"].partition(".")
        assert domain == one["p"]
        assert re.fullmatch(r"drone_01_[a-z_]+", name)
        assert "obj_id" not in one
        assert "object_id" not in one


@pytest.mark.parametrize(
    ("needed", "key"),
    [
        ("pause", "uploading"),
        ("resume", "uploading"),
        ("set_bandwidth", "limit"),
        ("retry_failed", "retry_failed"),
        ("rescan", "rescan"),
        ("report", "report"),
    ],
)
def test_what_the_configuration_forbids_has_no_entity(needed, key):
    assert key in entities()
    assert key not in entities([one for one in ALL if one != needed])


def test_an_agent_that_takes_no_command_is_only_looked_at():
    assert {one["p"] for one in entities([]).values()} == {"sensor", "binary_sensor", "event"}


def test_home_assistant_takes_the_device_as_it_is():
    document = discovery(DEVICE, TOPICS, commands=ALL, about=ABOUT)

    assert faults(document) == []
    assert document["avty"][0].keys() == {"t", "val_tpl"}
    assert FIELDS["abbreviations"]["val_tpl"] == "value_template"


IDS = {
    "state": "sensor",
    "waits_for": "sensor",
    "pending": "sensor",
    "pending_size": "sensor",
    "oldest": "sensor",
    "rate": "sensor",
    "time_left": "sensor",
    "progress": "sensor",
    "sent": "sensor",
    "completed": "sensor",
    "failed": "sensor",
    "disk_free": "sensor",
    "last_completed": "sensor",
    "problem": "binary_sensor",
    "events": "event",
    "uploading": "switch",
    "limit": "number",
    "retry_failed": "button",
    "rescan": "button",
    "report": "button",
}


def test_the_ids_of_all_entities_stay_as_they_are():
    """Home Assistant keeps what people made of an entity by these."""
    found = {key: (one["uniq_id"], one["default_entity_id"]) for key, one in entities().items()}

    assert found == {
        key: (f"edgeup_drone-01_{key}", f"{domain}.drone_01_{key}") for key, domain in IDS.items()
    }


def test_every_null_of_the_state_is_unknown_to_home_assistant_and_no_fault():
    """Sensors read keys that are always there; only what stands in `current` may be away."""
    for one in entities().values():
        if one["p"] != "sensor":
            continue
        path = re.fullmatch(r"\{\{ value_json\.([a-z_.]+)( or '[a-z]+')? \}\}", one["val_tpl"])
        if path is None:
            assert one["val_tpl"] == "{{ (value_json.current or {}).get('percent') }}"
            continue
        document = IDLE
        for word in path[1].split("."):
            assert word in document
            document = document[word]


def test_the_state_sensor_knows_every_word():
    assert entities()["state"]["ops"] == list(STATES)


def test_a_command_made_by_a_template_has_an_id_an_expiry_and_is_json():
    for one in entities().values():
        if "cmd_tpl" not in one:
            continue
        rendered = re.sub(r'"\{\{[^}]*\}\}"|"ha-\{\{[^}]*\}\}"', '"x"', one["cmd_tpl"])
        document = json.loads(re.sub(r"\{\{[^}]*\}\}", "1", rendered))

        assert set(document) == {"v", "id", "cmd", "args", "expires_at"}
