"""A real agent that is steered over a real broker: command to answer, wanted to reported."""

import contextlib
import json
import os
import signal
import socket
import time
from typing import Any

import paho.mqtt.publish as paho_publish
import pytest

from edge_agent.base.clock import SystemClock
from edge_agent.base.state_lock import DATABASE
from edge_agent.store.recordings import Store
from tests.support.processes import DEVICE, wait_for
from tests.support.site import Broker, Listener, site

pytestmark = pytest.mark.slow

ROOT = f"edgeup/v1/{DEVICE}"


@pytest.fixture
def broker(tmp_path):
    one = Broker(tmp_path / "broker")
    one.start()
    yield one
    one.close()


def send(broker: Broker, channel: str, payload: bytes, *, retain: bool = False) -> None:
    paho_publish.single(
        f"{ROOT}/{channel}", payload, qos=1, retain=retain, hostname="127.0.0.1", port=broker.port
    )


def command(key: str, cmd: str, **changed: Any) -> bytes:
    good = {"v": 1, "id": key, "cmd": cmd, "args": {}, "expires_at": int(time.time()) + 120}
    return json.dumps({**good, **changed}).encode()


def answers(operator: Listener) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for one in operator.documents("cmd/ack"):
        found.setdefault(one["id"], []).append((one["status"], one["code"]))
    return found


def state(operator: Listener) -> dict[str, Any]:
    return (operator.documents("state") or [{"paused": None}])[-1]


def test_an_agent_is_steered_over_the_broker_and_says_what_became_of_it(tmp_path, broker):
    send(broker, "cmd", command("kept", "pause"), retain=True)
    allowed = ["pause", "resume", "report"]
    with (
        Listener(broker) as operator,
        site(tmp_path, mqtt={"url": broker.url}, commands={"allowed": allowed}) as here,
    ):
        here.agent.start()
        wait_for(lambda: operator.documents("info"), "the birth")
        assert operator.documents("info")[-1]["commands"] == allowed

        send(broker, "cmd", command("stop", "pause", args={"for_s": 600}))
        wait_for(lambda: state(operator)["paused"], "it is paused")
        send(broker, "cmd", command("stop", "pause"))
        send(broker, "cmd", command("go", "resume"))
        wait_for(lambda: state(operator)["paused"] is False, "it goes on")
        send(broker, "cmd", command("old", "pause", expires_at=1))
        send(broker, "cmd", command("far", "pause", expires_at=int(time.time()) + 9000))
        send(broker, "cmd", command("none", "pause", expires_at=None))
        send(broker, "cmd", command("odd", "exec"))
        send(broker, "cmd", b"nonsense")
        send(broker, "cmd", b"[]" * 3000)
        births = len(operator.documents("info"))
        send(broker, "cmd", command("again", "report"))
        wait_for(lambda: len(operator.documents("info")) > births, "the rebirth")
        wait_for(lambda: {"odd", "none", "far", "again"} <= set(answers(operator)), "the answers")

        told = answers(operator)
        assert told["stop"][0] == ("done", "ok")
        assert told["stop"][-1][0] == "duplicate"
        assert told["go"] == [("done", "ok")]
        assert told["far"] == [("rejected", "expiry_too_far")] or not is_synced(operator)
        assert told["none"] == [("rejected", "no_expiry")]
        assert told["odd"] == [("rejected", "unsupported")]
        assert "kept" not in told, "a retained command is never obeyed, nor answered"
        assert state(operator)["paused"] is False


def is_synced(operator: Listener) -> bool:
    return bool(state(operator)["clock"] == "synced")


@pytest.mark.parametrize("how", ["is away", "says nothing", "is stuck"])
@pytest.mark.timeout(240)
def test_recordings_arrive_whatever_the_broker_does_and_are_told_of_when_it_is_back(
    tmp_path, broker, how
):
    names = [f"flight-{number}.mp4" for number in range(3)]
    with contextlib.ExitStack() as stack:
        here = stack.enter_context(site(tmp_path, mqtt={"url": broker.url}))
        if how == "is stuck":
            os.kill(broker.pid, signal.SIGSTOP)
            stack.callback(os.kill, broker.pid, signal.SIGCONT)
        else:
            broker.stop()
        mute = stack.enter_context(contextlib.ExitStack())
        if how == "says nothing":
            mute.enter_context(socket.create_server(("127.0.0.1", broker.port)))
        here.agent.start()
        for name in names:
            (here.agent.media / name).write_bytes(name.encode() * 1000)
        here.wait_until_published(3)

        if how == "is stuck":
            os.kill(broker.pid, signal.SIGCONT)
        else:
            mute.close()
            broker.start()
        with Listener(broker) as operator:
            wait_for(lambda: operator.documents("state"), "it is back", 120)
            (here.agent.media / "last.mp4").write_bytes(b"last" * 1000)
            wait_for(lambda: "file.completed" in operator.events("last.mp4"), "the event")
            told = operator.documents("event")[-1]["seq"]
        here.agent.stop()

    path = here.agent.state_dir / DATABASE
    store = Store.open(path, clock=SystemClock(), boot_id="after")
    with contextlib.closing(store):
        assert [one.seq for one in store.outbox.undelivered() if one.seq <= told] == []


def test_wanted_settings_hold_over_a_restart_and_a_lower_version_changes_nothing(tmp_path, broker):
    with Listener(broker) as operator, site(tmp_path, mqtt={"url": broker.url}) as here:
        wanted = {"paused": True, "limit_bytes_per_s": 250_000, "telemetry_interval_s": 60}
        document = {"v": 1, "version": 7, "settings": wanted}
        send(broker, "desired", json.dumps(document).encode(), retain=True)
        here.agent.start()
        wait_for(lambda: operator.documents("reported"), "what became of it")
        first = operator.documents("reported")[-1]
        assert (first["version"], first["status"], first["settings"]) == (7, "applied", wanted)
        wait_for(lambda: operator.documents("info")[-1]["telemetry"]["interval_s"] == 60, "a pace")

        here.agent.kill()
        here.agent.start()
        births = len(operator.documents("info"))
        late = {"v": 1, "version": 6, "settings": {"paused": False}}
        send(broker, "desired", json.dumps(late).encode(), retain=True)
        wait_for(lambda: len(operator.documents("info")) > births, "another birth")
        send(broker, "cmd", command("again", "report"))
        wait_for(lambda: "again" in answers(operator), "the answer")

        assert operator.documents("reported")[-1]["settings"] == wanted
        wait_for(lambda: state(operator)["paused"] is True, "it is paused")
