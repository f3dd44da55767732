"""The flow that is handed out, in a real Node-RED, beside a real broker and a real agent."""

import json

import pytest
from paho.mqtt import publish

from demo.ports import LOOPBACK
from tests.support.fleet import state
from tests.support.mosquitto import Mosquitto
from tests.support.node_red import NodeRed, installed
from tests.support.processes import DEVICE, Agent, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with Mosquitto(tmp_path_factory.mktemp("broker")) as made:
        yield made


@pytest.fixture(scope="module")
def flow(tmp_path_factory, broker):
    made = NodeRed(tmp_path_factory.mktemp("flow"), installed(), broker.port, offline_minutes=0)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def agent(tmp_path, broker):
    # No server: what waits there stays, and MQTT works all the same.
    made = Agent(
        tmp_path / "device", url=f"http://{LOOPBACK}:9", token="x" * 40, mqtt={"url": broker.url}
    )
    try:
        made.start()
        wait_for(made.state_if_any, "the agent answers")
        yield made
    finally:
        made.close()


def test_a_button_pauses_a_device_and_its_answer_is_on_the_page_and_its_end_an_alarm(flow, agent):
    def row() -> dict[str, str]:
        return flow.page().devices.get(DEVICE, {})

    wait_for(lambda: row().get("There") == "online", "the device is in the table")

    assert flow.press("pause", DEVICE).status_code == 303
    answer = wait_for(lambda: row()["Answer"].removeprefix("pause: sent"), "it is acknowledged")
    assert answer == "pause: done, nothing is sent for 600 s"
    assert agent.state()["paused"] is True

    flow.press("resume", DEVICE)
    wait_for(lambda: row()["Answer"].startswith("resume: done"), "it goes on")
    assert agent.state()["paused"] is False

    agent.stop()
    alarms = wait_for(lambda: flow.page().alarms, "its owner is told")
    assert f"{DEVICE}: offline, its agent was stopped" in alarms[0]
    assert row()["There"] == "offline"


def test_another_page_presses_no_button_and_no_other_command_or_device_is_reached(flow, agent):
    wait_for(lambda: flow.page().devices, "the device is in the table")

    before = flow.page().devices[DEVICE]["Answer"]

    assert flow.press("pause", DEVICE, origin="http://elsewhere.example").status_code == 403
    assert flow.press("pause", "+").status_code == 404
    assert flow.press("rotate_token", DEVICE).status_code == 400
    assert flow.page().devices[DEVICE]["Answer"] == before
    assert agent.state()["paused"] is False


def test_what_failed_is_an_alarm_once_and_what_a_device_says_is_text(flow, broker):
    def say(channel: str, **said: object) -> None:
        topic = f"edgeup/v1/drone-2/{channel}"
        publish.single(topic, json.dumps({"v": 1} | said), qos=1, port=broker.port)

    def row() -> dict[str, str]:
        return flow.page().devices.get("drone-2", {})

    failing = state(blocked_detail="<b>bold</b>", queue={"files": 2, "bytes": 9e9, "failed": 1})
    say("status", status="online", boot_id="b", session=2)
    say("status", status="offline", boot_id="b", session=1, reason="lost")
    say("state", **failing)
    say("state", **failing)
    say("state", **{**failing, "state": "idle", "blocked_detail": "the last word"})

    wait_for(lambda: row().get("Doing") == "the last word", "all was heard")
    assert row()["There"] == "online"
    assert (row()["Waits"], row()["Failed"]) == ("2, 9.0 GB", "1")
    mine = [alarm for alarm in flow.page().alarms if "drone-2" in alarm]
    assert len(mine) == 1
    assert "drone-2: 1 failed and not tried again" in mine[0]

    say("state", **failing)
    wait_for(lambda: "bold" in row()["Doing"], "it says something else")
    assert row()["Doing"] == "<b>bold</b>"
