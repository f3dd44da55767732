"""Events while the broker is killed every two seconds: all arrive, and their order can be restored."""

import json
import os
import random

import pytest

from tests.support.mosquitto import Mosquitto, listening
from tests.support.reporting import Reporting

EVENTS = int(os.environ.get("MQTT_EVENTS", "300"))
EVERY_S = 2.0
EVENT = "edgeup/v1/drone-01/event"

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(max(120, EVENTS // 2))]


def test_all_events_arrive_and_can_be_put_in_order_although_the_broker_is_killed_again_and_again(
    tmp_path,
):
    random_one = random.Random(11)
    seen: list[tuple[str, bytes, bool]] = []
    told = kills = 0
    with Mosquitto(tmp_path / "broker") as broker, Reporting(tmp_path, broker.url) as agent:
        while told < EVENTS:
            with listening(broker, seen):
                until_s = agent.clock.now_s() + EVERY_S
                while (left_s := until_s - agent.clock.now_s()) > 0:
                    some = min(random_one.randint(1, 12), EVENTS - told)
                    agent.tell(some)
                    told += some
                    agent.drive_for(min(left_s, random_one.uniform(0.0, 0.3)))
                broker.kill()  # with events on their way
                kills += 1
            agent.drive_for(random_one.uniform(0.0, 0.2))
            broker.start()
        with listening(broker, seen):
            agent.drive(lambda: agent.store.outbox.undelivered() == [], 60)
            agent.drive_for(0.3)

    events = [json.loads(payload) for topic, payload, _ in seen if topic == EVENT]
    assert kills >= 3
    assert {one["seq"] for one in events} == set(range(1, EVENTS + 1)), "some are lost"
    assert len({one["id"] for one in events}) == EVENTS, "one came with two ids"
    first_time = list(dict.fromkeys(one["seq"] for one in events))
    assert first_time == sorted(first_time), "an event before an older one"
    assert len(events) - EVENTS <= 20 * kills, "more than what was on its way came twice"
