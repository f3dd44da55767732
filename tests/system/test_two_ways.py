"""A device that a broker and its server reach at once: what both bring is done once."""

import contextlib
import json
import time

import paho.mqtt.publish as paho_publish
import pytest

from tests.support.processes import DEVICE, wait_for
from tests.support.requirements import require
from tests.support.site import Broker, Listener, site
from tests.support.steering import Operator

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(120)]


def test_a_command_that_comes_over_both_ways_is_executed_once(tmp_path):
    require("mosquitto")
    broker = Broker(tmp_path / "broker")
    with contextlib.closing(broker):
        broker.start()
        server = {"fleet": {"mqtt_url": broker.url}}
        with (
            Listener(broker) as heard,
            site(
                tmp_path, server=server, mqtt={"url": broker.url}, reports={"interval_seconds": 5.0}
            ) as here,
        ):
            here.agent.start()
            operator = Operator(here.server, here.agent.media)
            wait_for(lambda: operator.row().get("via") == ["server", "mqtt"], "both ways are seen")
            given = operator.give("pause", for_s=600)
            ended = operator.end(given)
            again = {"v": 1, "id": given, "cmd": "pause", "expires_at": int(time.time()) + 60}
            topic = f"edgeup/v1/{DEVICE}/cmd"
            paho_publish.single(topic, json.dumps(again), 1, hostname="127.0.0.1", port=broker.port)

            def acks() -> list[str]:
                return [one["status"] for one in heard.documents("cmd/ack") if one["id"] == given]

            wait_for(lambda: "duplicate" in acks(), "the second one is known")
            paused = wait_for(
                lambda: (found := heard.documents("state")) and found[-1]["paused"] and found[-1],
                "the state over the broker",
            )
            wait_for(lambda: operator.row().get("state") == "paused", "the state at the server")
            taken = [one["id"] for one in here.agent.log() if one.get("event") == "command.taken"]
            after = operator.answer(given)

    assert ended["status"] == "done"
    assert acks()[0] == "done"
    assert taken == [given]
    assert paused["blocked_by"] == "paused"
    assert after["status"] == "done", "a duplicate takes nothing back"
