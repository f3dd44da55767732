"""What is told."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from edge_agent.report.payloads import (
    MAX_MESSAGE_BYTES,
    Presence,
    Topics,
    cloud_event,
    encode,
    excess_bytes,
    offline,
    online,
    read_presence,
)


def test_topics_stand_below_prefix_version_and_device():
    topics = Topics.of("/fleet/north/", "drone-01")

    assert topics.state == "fleet/north/v1/drone-01/state"
    assert topics.status == "fleet/north/v1/drone-01/status"


def test_a_status_is_read_as_it_was_written():
    birth = encode(
        online(boot_id="b", run_id="r", session=7, reason="start", ts="2026-11-21T00:00:00Z")
    )
    will = encode(offline(boot_id="b", run_id="r", session=7, reason="lost"))

    assert read_presence(birth) == Presence(is_online=True, boot_id="b", run_id="r", session=7)
    assert read_presence(will) == Presence(is_online=False, boot_id="b", run_id="r", session=7)


@pytest.mark.parametrize(
    "payload", [b"", b"online", b"[]", b"\xff\xfe", b'{"status":"sleeping"}', b"1" * 5000]
)
def test_what_is_no_status_is_nothing(payload):
    assert read_presence(payload) is None


@dataclass
class Happening:
    seq: int = 918
    id: str = "ab12"
    type: str = "file.completed"
    subject: str = "f1"
    data: dict[str, Any] = field(default_factory=lambda: {"name": "a\nb\ud800.mp4"})
    created_at: str = "1970-01-01T00:05:06Z"
    clock: str = "unsynced"
    boot_id: str = "b"
    mono_ms: int = 306_000


def test_an_event_is_a_structured_cloud_event():
    assert cloud_event(Happening(data={"name": "a.mp4"}), "drone-01") == {
        "specversion": "1.0",
        "id": "ab12",
        "source": "/devices/drone-01",
        "type": "edgeup.file.completed",
        "time": "1970-01-01T00:05:06Z",
        "subject": "f1",
        "datacontenttype": "application/json",
        "seq": 918,
        "bootid": "b",
        "clock": "unsynced",
        "monoms": 306_000,
        "data": {"name": "a.mp4"},
    }


def test_an_event_without_a_subject_has_none():
    assert "subject" not in cloud_event(Happening(subject=""), "drone-01")


def test_extension_names_are_what_cloud_events_allows():
    names = set(cloud_event(Happening(), "drone-01")) - {"data"}

    assert all(name.isalnum() and name.islower() and len(name) <= 20 for name in names)


def test_any_name_can_be_encoded_and_read_again():
    name = json.loads(encode(cloud_event(Happening(), "drone-01")))["data"]["name"]

    assert name == "a\nb\ud800.mp4"


def test_a_message_is_measured_against_our_cap_and_the_brokers_limit():
    topic = "edgeup/v1/drone-01/event"

    assert excess_bytes(topic, b"x" * MAX_MESSAGE_BYTES, maximum_packet_bytes=None) == 0
    assert excess_bytes(topic, b"x" * (MAX_MESSAGE_BYTES + 3), maximum_packet_bytes=None) == 3
    assert excess_bytes(topic, b"x" * 1000, maximum_packet_bytes=1000) > 0
    assert excess_bytes(topic, b"x" * 800, maximum_packet_bytes=1000) == 0
