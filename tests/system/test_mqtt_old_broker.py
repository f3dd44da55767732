"""Brokers that speak only MQTT 3.1.1, where nobody says that a message was refused."""

import json
from dataclasses import replace
from functools import partial

import pytest

from edge_agent.base.reasons import ProblemCode
from edge_agent.base.settings import MqttSettings
from edge_agent.report.broker.check import check_broker
from edge_agent.report.broker.fallback import fallback_note
from tests.support.mosquitto import Mosquitto, listening
from tests.support.old_broker import (
    HANGS_UP,
    REFUSES,
    REFUSES_THE_OLD_WAY,
    SAYS_NOTHING,
    OldBroker,
)
from tests.support.reporting import QUICK, Reporting

pytestmark = pytest.mark.slow

STATUS = "edgeup/v1/drone-01/status"
EVENT = "edgeup/v1/drone-01/event"


def seqs(broker: OldBroker) -> list[int]:
    return [json.loads(payload)["seq"] for topic, payload in broker.taken if topic == EVENT]


ANSWERS = [REFUSES, REFUSES_THE_OLD_WAY, HANGS_UP, SAYS_NOTHING]


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_broker_that_refuses_mqtt_5_is_spoken_to_in_3_1_1(answer, tmp_path):
    with OldBroker(to_v5=answer) as broker, Reporting(tmp_path, broker.url) as agent:
        agent.tell(30)
        agent.drive(lambda: agent.store.outbox.undelivered() == [])

        assert seqs(broker) == list(range(1, 31))
        assert broker.levels[0] == 5
        assert broker.levels[-1] == 4


def has_told_all(agent):
    return agent.store.outbox.undelivered() == []


@pytest.mark.parametrize("answer", [REFUSES, SAYS_NOTHING])
def test_the_older_protocol_is_remembered_across_restarts_of_the_agent(answer, tmp_path):
    with OldBroker(to_v5=answer) as broker:
        for boot_id in ("boot-1", "boot-1", "boot-2"):
            with Reporting(tmp_path, broker.url, boot_id=boot_id) as agent:
                agent.tell()
                agent.drive(partial(has_told_all, agent))

    assert broker.levels == [5, 4, 4, 4]


def test_the_newer_protocol_is_tried_again_when_the_memory_has_run_out(tmp_path):
    with OldBroker() as broker:
        for _ in range(2):
            with Reporting(tmp_path, broker.url, timing=replace(QUICK, fallback_s=0.0)) as agent:
                agent.tell()
                agent.drive(partial(has_told_all, agent))

    assert broker.levels.count(5) >= 2


def test_events_wait_while_the_broker_throws_our_messages_away(tmp_path):
    rules = {"is_closed": True}
    with (
        OldBroker(drops=lambda _topic: rules["is_closed"]) as broker,
        Reporting(tmp_path, broker.url) as agent,
    ):
        agent.tell(3)
        agent.drive(lambda: ProblemCode.MQTT_ACL in agent.problems)
        assert len(agent.store.outbox.undelivered()) == 3

        rules["is_closed"] = False

        agent.drive(lambda: agent.store.outbox.undelivered() == [])
        assert ProblemCode.MQTT_ACL not in agent.problems
        assert seqs(broker) == [1, 2, 3]


def test_a_real_broker_that_acknowledges_and_drops_is_seen_through(tmp_path):
    seen: list[tuple[str, bytes, bool]] = []
    with Mosquitto(tmp_path / "broker", acl="topic read #\n") as broker:
        agent = Reporting(tmp_path, broker.url)
        note = fallback_note(
            f"127.0.0.1:{broker.port}",
            boot_id="boot-1",
            now_s=agent.clock.now_s(),
            timing=QUICK,
        )
        agent.store.notes.put("mqtt.fallback", note)
        with listening(broker, seen), agent:
            agent.tell(3)
            agent.drive(lambda: ProblemCode.MQTT_ACL in agent.problems)

            assert len(agent.store.outbox.undelivered()) == 3
            assert seen == []


def test_an_event_that_makes_the_broker_hang_up_is_set_aside_at_last(tmp_path):
    with (
        OldBroker(hangs_up_on=lambda payload: b"poison" in payload) as broker,
        Reporting(tmp_path, broker.url, timing=replace(QUICK, retry_refused_s=3600.0)) as agent,
    ):
        agent.tell(2)
        agent.tell(note="poison")
        agent.tell(2)
        agent.drive(lambda: agent.store.outbox.undelivered() == [])

        assert sorted(set(seqs(broker))) == [1, 2, 4, 5]
        assert ProblemCode.MQTT_REFUSED in agent.problems
        assert len(broker.levels) < 12


@pytest.mark.parametrize("answer", [REFUSES, HANGS_UP, SAYS_NOTHING])
def test_check_falls_back_as_well_and_says_what_cannot_be_known(answer):
    with OldBroker(to_v5=answer) as broker:
        said = check_broker(MqttSettings(url=broker.url), "drone-01", 3.0)

    assert "MQTT 3.1.1" in said
    assert broker.levels == [5, 4]
