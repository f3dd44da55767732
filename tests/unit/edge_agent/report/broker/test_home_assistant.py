"""The device that Home Assistant is told of."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from edge_agent.report.broker.home_assistant import config_topic, discovery
from edge_agent.report.payloads import MAX_MESSAGE_BYTES, Topics, encode
from edge_agent.report.state_document import STATES
from tests.support.state_documents import IDLE

ROOT = Path(__file__).parents[5]
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


FIELDS = json.loads((ROOT / "tests" / "support" / "home_assistant_fields.json").read_text("utf-8"))
"""What Home Assistant's discovery takes, read out of one."""


def spelt_out(entity: dict[str, Any]) -> dict[str, Any]:
    return {FIELDS["abbreviations"].get(key, key): value for key, value in entity.items()}


def test_home_assistant_knows_every_key_of_the_device():
    document = spelt_out(discovery(DEVICE, TOPICS, commands=ALL, about=ABOUT))

    assert set(document) <= set(FIELDS["root"])
    assert set(document["device"]) <= set(FIELDS["device"])
    assert set(document["origin"]) <= set(FIELDS["origin"])
    assert document["availability"][0].keys() == {"t", "val_tpl"}
    assert FIELDS["abbreviations"]["val_tpl"] == "value_template"


@pytest.mark.parametrize(
    "key", sorted(discovery(DEVICE, TOPICS, commands=ALL, about=ABOUT)["cmps"])
)
def test_home_assistant_takes_the_entity_as_it_is(key):
    entity = spelt_out(entities()[key])
    platform = FIELDS["platforms"][entity.pop("platform")]
    shared = {"state_topic", "command_topic"}  # said once, for all entities
    kind = entity.get("device_class")

    assert set(entity) <= set(platform["keys"])
    assert set(platform["required"]) <= set(entity) | shared
    assert entity.get("entity_category", "config") in FIELDS["entity_categories"]
    if "unit_of_measurement" in entity and kind is not None:
        assert entity["unit_of_measurement"] in FIELDS["units"][kind]
    if "state_class" in entity and kind is not None:
        assert entity["state_class"] in FIELDS["state_classes"][kind]


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
