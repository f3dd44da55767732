"""Two operators who contradict each other over two ways, while agent, server and broker are killed in turn."""

import contextlib
import itertools
import json
import random
import time
from typing import Any

import paho.mqtt.publish as paho_publish
import pytest

from tests.support.processes import DEVICE, wait_for
from tests.support.requirements import require
from tests.support.site import Broker, Listener, site
from tests.support.steering import ENDS, Operator

pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(300)]

ROOT = f"edgeup/v1/{DEVICE}"
ROUNDS = 6
FAR = "far"
"""What the ids of the operator at the broker begin with."""


def send(broker: Broker, channel: str, document: dict[str, Any], *, retain: bool = False) -> None:
    payload = json.dumps(document)
    paho_publish.single(
        f"{ROOT}/{channel}", payload, 1, retain, hostname="127.0.0.1", port=broker.port
    )


def command(number: int, cmd: str, **args: Any) -> dict[str, Any]:
    good_until = int(time.time()) + 600
    return {"v": 1, "id": f"{FAR}-{number}", "cmd": cmd, "args": args, "expires_at": good_until}


def answers(heard: Listener) -> dict[str, list[str]]:
    """Return what became of each command: a broker that is killed forgets what it had to pass on."""
    found: dict[str, list[str]] = {}
    for one in heard.documents("cmd/ack"):
        found.setdefault(one["id"], []).append(one.get("first_status", one["status"]))
    return found


def test_each_command_runs_once_and_is_answered_whatever_is_killed_meanwhile(tmp_path):
    require("mosquitto")
    draw = random.Random(3)
    broker = Broker(tmp_path / "broker")
    with contextlib.closing(broker):
        broker.start()
        with (
            Listener(broker) as heard,
            site(
                tmp_path,
                server={"fleet": {"mqtt_url": broker.url}},
                mqtt={"url": broker.url},
                reports={"interval_seconds": 5.0},
            ) as here,
        ):
            here.agent.start()
            operator = Operator(here.server, here.agent.media)
            wait_for(lambda: operator.row().get("via") == ["server", "mqtt"], "both ways are seen")
            # Where the clock is not set, what the broker's way refuses comes with a report, seconds later; by
            # then the server has written down that there are two ways.
            first = operator.command("rescan")
            killed = itertools.cycle([here.agent, here.server, broker])
            sent: dict[str, dict[str, Any]] = {}
            given: list[str] = []
            for number in range(ROUNDS):
                victim = next(killed)
                order = command(number, ("pause", "resume")[number % 2])
                sent[order["id"]] = order
                send(broker, "cmd", order)
                given.append(operator.give("set_bandwidth", limit_bytes_per_s=10**6 + number))
                time.sleep(draw.uniform(0, 0.05))  # in one step or another of taking them
                victim.kill()
                victim.start()

            def all_answered() -> bool:
                told = answers(heard)
                for one, order in sent.items():  # who hears nothing sends it again
                    if one not in told:
                        send(broker, "cmd", order)
                return set(sent) <= set(told)

            wait_for(all_answered, "the broker's operator hears of each", 120, every_s=7)
            wait_for(
                lambda: all(operator.answer(one)["status"] in ENDS for one in given),
                "the server's operator hears of each",
                120,
                every_s=1,
            )
            ends = [operator.answer(one) for one in given]
            send(broker, "cmd", command(99, "resume"))
            wait_for(lambda: f"{FAR}-99" in answers(heard), "the last word")
            wished, _ = operator.ask(
                "PUT", f"/devices/{DEVICE}/desired", {"settings": {"limit_bytes_per_s": 77_000}}
            )

            def converged() -> dict[str, Any] | None:
                operator.nudge()
                reported = (heard.documents("reported") or [{"settings": {}}])[-1]
                return reported if reported["settings"].get("limit_bytes_per_s") == 77_000 else None

            reported = wait_for(converged, "the device reports what is wanted", every_s=1)
            told = answers(heard)
            taken = [one["id"] for one in here.agent.log() if one.get("event") == "command.taken"]

    assert first["status"] == "done"
    assert wished == 200
    assert [(one["status"], one["message"]) for one in ends if one["status"] != "done"] == []
    # One that is killed right after it has written a command down says nothing of that, and executes it.
    assert len(taken) == len(set(taken)), "one was taken twice"
    assert set(taken) <= {first["id"], *sent, *given, f"{FAR}-99"}
    assert {one: status[0] for one, status in told.items() if one in sent} == dict.fromkeys(
        sent, "done"
    )
    assert reported["settings"]["paused"] is False
    assert reported["status"] == "applied"
