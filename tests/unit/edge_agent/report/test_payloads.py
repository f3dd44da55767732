"""What is told, and when."""

import json
from dataclasses import dataclass, field

import pytest

from edge_agent.report.payloads import (
    MAX_MESSAGE_BYTES,
    Presence,
    Timing,
    Topics,
    cloud_event,
    encode,
    excess_bytes,
    fallback_note,
    offline,
    online,
    read_presence,
    reconnect_wait_s,
    remembers_fallback,
    state_wait_s,
)

TIMING = Timing()
UPLOADING = {
    "state": "uploading",
    "blocked_by": None,
    "paused": False,
    "problems": [],
    "queue": {"files": 2, "bytes": 10, "failed": 0},
    "current": {"file_id": "a", "percent": 40.0},
    "totals": {"files_done": 3},
    "link": {"metered": None},
}
IDLE = {**UPLOADING, "state": "idle", "current": None}


def test_topics_stand_below_prefix_version_and_device():
    topics = Topics.of("/fleet/north/", "drone-01")

    assert topics.state == "fleet/north/v1/drone-01/state"
    assert topics.status == "fleet/north/v1/drone-01/status"


def test_the_first_state_of_a_session_goes_at_once():
    assert state_wait_s(None, IDLE, age_s=0.0, timing=TIMING) == 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"state": "blocked"},
        {"blocked_by": "link"},
        {"paused": True},
        {"problems": ["disk_low"]},
        {"current": {"file_id": "b", "percent": 0.0}},
        {"current": None},
        {"current": {"file_id": "a", "percent": 45.0}},
        {"queue": {"files": 2, "bytes": 10, "failed": 1}},
        {"totals": {"files_done": 4}},
    ],
)
def test_what_a_person_would_act_on_goes_at_once_but_not_twice_in_two_seconds(change):
    now = {**UPLOADING, **change}

    assert state_wait_s(UPLOADING, now, age_s=2.0, timing=TIMING) == 0.0
    assert state_wait_s(UPLOADING, now, age_s=0.5, timing=TIMING) == 1.5


@pytest.mark.parametrize(
    "change",
    [
        {"rate_bytes_per_s": 5},
        {"current": {"file_id": "a", "percent": 44.9}},
        {"queue": {"files": 3, "bytes": 12, "failed": 0}},
    ],
)
def test_a_mere_reading_waits_for_the_interval(change):
    assert state_wait_s(UPLOADING, {**UPLOADING, **change}, age_s=10.0, timing=TIMING) == 20.0


@pytest.mark.parametrize(
    ("state", "is_metered", "interval_s"),
    [("uploading", False, 30), ("idle", False, 300), ("uploading", True, 300), ("idle", True, 900)],
)
def test_the_interval_grows_with_idleness_and_on_a_metered_link(state, is_metered, interval_s):
    now = {**UPLOADING, "state": state, "link": {"metered": is_metered}}

    assert state_wait_s(now, now, age_s=0.0, timing=TIMING) == interval_s


def test_reconnecting_backs_off_to_the_cap_and_never_at_once():
    def waits(jitter):
        return [
            reconnect_wait_s(failures, base_s=1.0, cap_s=60.0, jitter=jitter)
            for failures in (1, 2, 3, 7, 5000)
        ]

    assert waits(0.0) == [0.5, 1.0, 2.0, 30.0, 30.0]
    assert waits(0.999) == pytest.approx([1, 2, 4, 60, 60], rel=0.01)


def test_a_status_is_read_as_it_was_written():
    birth = encode(online(boot_id="b", session=7, reason="start", ts="2026-11-21T00:00:00Z"))
    will = encode(offline(boot_id="b", session=7, reason="lost"))

    assert read_presence(birth) == Presence(is_online=True, boot_id="b", session=7)
    assert read_presence(will) == Presence(is_online=False, boot_id="b", session=7)


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
    data: dict = field(default_factory=lambda: {"name": "a\nb\ud800.mp4"})
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


def test_the_older_protocol_is_remembered_for_a_day_of_one_boot():
    note = fallback_note("broker:1883", boot_id="b", now_s=100.0, timing=TIMING)

    assert remembers_fallback(note, "broker:1883", boot_id="b", now_s=86_000.0)
    assert not remembers_fallback(note, "broker:1883", boot_id="b", now_s=87_000.0)
    assert not remembers_fallback(note, "other:1883", boot_id="b", now_s=100.0)


def test_across_boots_it_is_remembered_for_a_number_of_starts():
    note = fallback_note("broker:1883", boot_id="b", now_s=1e9, timing=TIMING)

    assert remembers_fallback(note, "broker:1883", boot_id="c", now_s=5.0)
    assert not remembers_fallback({**note, "starts_left": 0}, "broker:1883", boot_id="c", now_s=5.0)


@pytest.mark.parametrize("note", [None, 3, "x", [], {}, {"broker": "other:1"}])
def test_a_memory_that_is_none_means_mqtt_5(note):
    assert not remembers_fallback(note, "broker:1883", boot_id="b", now_s=0.0)
