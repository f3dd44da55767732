"""The reporter against a real mosquitto."""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge_agent.base.reasons import ProblemCode
from edge_agent.report.payloads import encode, offline
from tests.support.mosquitto import Mosquitto, Seen, listening
from tests.support.processes import wait_for
from tests.support.reporting import QUICK, Reporting
from tests.support.state_documents import IDLE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STATUS = "edgeup/v1/drone-01/status"
INFO = "edgeup/v1/drone-01/info"
STATE = "edgeup/v1/drone-01/state"
EVENT = "edgeup/v1/drone-01/event"


def documents(seen: Seen, topic: str) -> list[dict[str, Any]]:
    return [json.loads(payload) for where, payload, _ in list(seen) if where == topic]


def seqs(seen: Seen) -> list[int]:
    return [event["seq"] for event in documents(seen, EVENT)]


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "broker") as one:
        yield one


def test_an_operator_who_comes_later_finds_presence_info_and_state(broker, tmp_path):
    with Reporting(tmp_path, broker.url) as agent:
        agent.tell()
        agent.drive(lambda: agent.store.outbox.undelivered() == [])
        agent.drive_for(0.3)

        late: Seen = []
        with listening(broker, late):
            agent.drive(lambda: len(late) >= 3)

    assert {(topic, is_retained) for topic, _, is_retained in late[:3]} == {
        (STATUS, True),
        (INFO, True),
        (STATE, True),
    }
    status = documents(late, STATUS)[0]
    assert (status["status"], status["boot_id"], status["reason"]) == ("online", "boot-1", "start")
    assert documents(late, INFO)[0]["version"] == "0.1.0"
    assert documents(late, STATE)[0] == agent.state


def test_an_event_is_a_cloud_event_and_leaves_the_outbox_once_the_broker_has_it(broker, tmp_path):
    seen: Seen = []
    with listening(broker, seen), Reporting(tmp_path, broker.url) as agent:
        agent.tell(length=3)
        told = agent.store.outbox.undelivered()[0]
        agent.drive(lambda: agent.store.outbox.undelivered() == [] and seqs(seen))

    event = documents(seen, EVENT)[0]
    assert event["specversion"] == "1.0"
    assert event["id"] == told.id
    assert event["source"] == "/devices/drone-01"
    assert event["type"] == "edgeup.file.completed"
    assert event["seq"] == told.seq
    assert event["data"] == {"name": "0.mp4", "length": 3}


def has_heard(seen: Seen, least: int) -> bool:
    return len(set(seqs(seen))) >= least


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.timeout(120)
def test_no_event_is_lost_when_the_broker_restarts(how, broker, tmp_path):
    seen: Seen = []
    with Reporting(tmp_path, broker.url) as agent:
        for goal in (60, 150, 240, 330):
            with listening(broker, seen):
                agent.tell(100)
                agent.drive(partial(has_heard, seen, goal))
                if how == "kill":
                    broker.kill()
                else:
                    broker.stop()
            agent.drive_for(0.1)
            broker.start()
        with listening(broker, seen):
            agent.drive(lambda: agent.store.outbox.undelivered() == [])
            agent.drive_for(0.2)

    arrived = seqs(seen)
    first_time = list(dict.fromkeys(arrived))
    assert first_time == list(range(1, 401)), "a gap, or an event before an older one"
    assert len(arrived) - 400 <= 4 * 20, "more than what was in flight was sent twice"


def test_a_killed_agent_is_told_of_by_its_last_will(broker, tmp_path):
    seen: Seen = []
    with listening(broker, seen):
        command = [sys.executable, "-m", "tests.support.reporting", tmp_path, broker.url, "boot-9"]
        with subprocess.Popen(command, cwd=ROOT) as agent:
            wait_for(lambda: documents(seen, STATUS), "the broker has told it")
            agent.kill()
        wait_for(lambda: len(documents(seen, STATUS)) == 2, "the broker has told it")

    born, died = documents(seen, STATUS)
    assert (born["status"], died["status"]) == ("online", "offline")
    assert died["reason"] == "lost"
    assert (died["boot_id"], died["session"]) == ("boot-9", born["session"])


def test_an_agent_that_is_stopped_says_so_and_leaves_no_will(broker, tmp_path):
    seen: Seen = []
    with listening(broker, seen):
        with Reporting(tmp_path, broker.url) as agent:
            agent.drive(lambda: documents(seen, STATE))
            agent.tell()
        wait_for(lambda: len(documents(seen, STATUS)) >= 2, "the broker has told it")
        wait_for(lambda: seqs(seen), "the broker has told it")
        time.sleep(1.5 * QUICK.will_delay_s)

    assert [(one["status"], one["reason"]) for one in documents(seen, STATUS)] == [
        ("online", "start"),
        ("offline", "shutdown"),
    ]
    assert seqs(seen) == [1], "what was told before the end goes out before the goodbye"


def test_each_session_has_a_higher_number_also_after_a_restart_of_the_agent(broker, tmp_path):
    seen: Seen = []
    with listening(broker, seen):
        for _ in range(2):
            with Reporting(tmp_path, broker.url) as agent:
                agent.drive(lambda: documents(seen, STATUS))
                agent.drive_for(0.2)
        wait_for(lambda: len(documents(seen, STATUS)) == 4, "the broker has told it")

    first, _, second, _ = (one["session"] for one in documents(seen, STATUS))
    assert second > first


def test_a_refused_event_is_not_delivered_and_the_next_goes_on(tmp_path):
    acl = f"user drone-01\ntopic write {STATUS}\ntopic read {STATUS}\ntopic write {STATE}\n"
    watcher = "user ops\ntopic read #\n"
    password = tmp_path / "password"
    password.write_text("secret\n")
    users = {"drone-01": "secret", "ops": "ops"}
    seen: Seen = []
    with (
        Mosquitto(tmp_path / "broker", users=users, acl=acl + watcher) as broker,
        listening(broker, seen, username="ops", password="ops"),
        Reporting(tmp_path, broker.url, username="drone-01", password_file=password) as agent,
    ):
        agent.tell(3)
        agent.drive(lambda: agent.store.outbox.undelivered() == [])
        assert ProblemCode.MQTT_ACL in agent.problems
        assert seqs(seen) == []

        broker.set_acl(acl + f"topic write {EVENT}\ntopic write {INFO}\n" + watcher)
        broker.reload()
        agent.drive(lambda: len(seqs(seen)) == 3)

    assert seqs(seen) == [1, 2, 3], "refused events are kept and offered again"


def test_the_acl_problem_ends_when_the_rules_are_mended(tmp_path):
    closed = f"topic readwrite {STATUS}\ntopic write {STATE}\ntopic write {INFO}\n"
    with (
        Mosquitto(tmp_path / "broker", acl=closed) as broker,
        Reporting(tmp_path, broker.url) as agent,
    ):
        agent.tell()
        agent.drive(lambda: ProblemCode.MQTT_ACL in agent.problems)

        broker.set_acl(closed + f"topic write {EVENT}\n")
        broker.reload()

        agent.drive(lambda: ProblemCode.MQTT_ACL not in agent.problems)
        assert agent.store.outbox.undelivered() == []


def test_a_wrong_password_is_a_problem_and_a_mended_one_is_taken_up(tmp_path):
    password = tmp_path / "password"
    password.write_text("wrong\n")
    with (
        Mosquitto(tmp_path / "broker", users={"drone-01": "secret"}) as broker,
        Reporting(tmp_path, broker.url, username="drone-01", password_file=password) as agent,
    ):
        agent.tell()
        agent.drive(lambda: ProblemCode.MQTT_AUTH in agent.problems)
        assert ProblemCode.MQTT_UNREACHABLE not in agent.problems

        password.write_text("secret\n")

        agent.drive(lambda: agent.store.outbox.undelivered() == [])
        assert ProblemCode.MQTT_AUTH not in agent.problems


def test_a_broker_that_is_away_at_the_start_is_found_later(tmp_path):
    broker = Mosquitto(tmp_path / "broker")
    with Reporting(tmp_path, broker.url) as agent:
        agent.tell()
        agent.drive(lambda: ProblemCode.MQTT_UNREACHABLE in agent.problems)

        with broker:
            agent.drive(lambda: agent.store.outbox.undelivered() == [])

            assert ProblemCode.MQTT_UNREACHABLE not in agent.problems


def test_no_state_of_the_time_offline_is_told_later(broker, tmp_path):
    seen: Seen = []
    with Reporting(tmp_path, broker.url) as agent:
        agent.drive(lambda: agent.reporter.step(agent.clock.now_s()) > 0.2)
        broker.stop()
        for state in ("uploading", "blocked", "error"):
            agent.change(state=state)
            agent.drive_for(0.3)
        agent.change(state="paused")

        broker.start()
        with listening(broker, seen):
            agent.drive(lambda: documents(seen, STATE))
            agent.drive_for(0.5)

    assert {one["state"] for one in documents(seen, STATE)} == {"paused"}


def test_an_event_over_the_brokers_limit_is_set_aside_without_a_reconnect(tmp_path):
    seen: Seen = []
    with (
        Mosquitto(tmp_path / "broker", max_packet_bytes=2000) as broker,
        listening(broker, seen),
        Reporting(tmp_path, broker.url) as agent,
    ):
        agent.tell(detail="x" * 3000)
        agent.tell()
        agent.drive(lambda: agent.store.outbox.undelivered() == [])
        agent.drive(lambda: seqs(seen))

        assert ProblemCode.MQTT_REFUSED in agent.problems
        assert seqs(seen) == [2]
        assert len(documents(seen, STATUS)) == 1, "it reconnected"


@pytest.mark.parametrize(("limit", "is_without"), [(790, "link"), (650, "disk")])
def test_a_broker_of_small_packets_is_told_the_state_in_a_shorter_form(tmp_path, limit, is_without):
    seen: Seen = []
    with (
        Mosquitto(tmp_path / "broker", max_packet_bytes=limit) as broker,
        listening(broker, seen),
        Reporting(tmp_path, broker.url) as agent,
    ):
        agent.drive(lambda: documents(seen, STATE))

        (told, *_) = documents(seen, STATE)
        assert told[is_without] is None
        assert told["state"] == "idle"
        assert told.keys() == IDLE.keys()
        assert agent.problems == set()


@pytest.mark.parametrize("boot_ids", [("a", "b"), ("one host", "one host")])
def test_two_agents_of_one_id_are_named_and_do_not_fight(broker, tmp_path, boot_ids):
    seen: Seen = []
    patient = replace(QUICK, refused_base_s=60.0, refused_cap_s=60.0)
    with (
        listening(broker, seen),
        Reporting(tmp_path / "a", broker.url, boot_id=boot_ids[0], timing=patient) as one,
        Reporting(tmp_path / "b", broker.url, boot_id=boot_ids[1], timing=patient) as other,
    ):
        for _ in range(40):
            one.drive_for(0.05)
            other.drive_for(0.05)

    assert ProblemCode.DUPLICATE_ID in one.problems
    assert ProblemCode.DUPLICATE_ID in other.problems
    births = [document for document in documents(seen, STATUS) if document["status"] == "online"]
    assert len(births) <= 6, "they threw each other out again and again"


def test_a_stale_offline_is_contradicted(broker, tmp_path):
    seen: Seen = []
    with listening(broker, seen) as operator, Reporting(tmp_path, broker.url) as agent:
        agent.drive(lambda: documents(seen, STATUS))
        agent.drive_for(0.4)

        stale = encode(offline(boot_id="old", run_id="old", session=1, reason="lost"))
        operator.publish(STATUS, stale, 1, retain=True)

        agent.drive(lambda: len(documents(seen, STATUS)) >= 3)

    last = documents(seen, STATUS)[2]
    assert (last["status"], last["boot_id"]) == ("online", "boot-1")


def test_a_broker_that_falls_silent_is_left(broker, tmp_path):
    with Reporting(tmp_path, broker.url, keepalive_seconds=5) as agent:
        agent.drive(lambda: agent.reporter.step(agent.clock.now_s()) > 0.2)
        broker.freeze()
        try:
            agent.tell()
            agent.drive(lambda: ProblemCode.MQTT_UNREACHABLE in agent.problems, 40)
        finally:
            broker.thaw()

        agent.drive(lambda: agent.store.outbox.undelivered() == [])


def test_a_step_never_waits_for_a_silent_broker_and_stop_keeps_its_time(broker, tmp_path):
    agent = Reporting(tmp_path, broker.url)
    agent.reporter.start()
    agent.drive(lambda: agent.reporter.step(agent.clock.now_s()) > 0.2)
    broker.freeze()
    try:
        agent.tell(50)
        began_s = agent.clock.now_s()
        agent.reporter.step(began_s)
        assert agent.clock.now_s() - began_s < 0.5

        began_s = agent.clock.now_s()
        agent.reporter.stop(1.5)
        assert agent.clock.now_s() - began_s < 2.0
    finally:
        broker.thaw()
        agent.store.close()


@pytest.fixture
def full(broker, tmp_path):
    """An agent that can write down of no event that the broker has it, and what an operator sees of it."""
    seen: Seen = []
    with listening(broker, seen), Reporting(tmp_path, broker.url) as agent:
        agent.drive(lambda: documents(seen, STATE))
        with closing(sqlite3.connect(tmp_path / "state.db")) as database, database:
            database.execute(
                "CREATE TRIGGER full_disk BEFORE DELETE ON event"
                " BEGIN SELECT RAISE(ABORT, 'no room'); END"
            )
        agent.tell()
        agent.drive(lambda: documents(seen, EVENT))
        agent.drive_for(0.3)
        yield agent, seen


def test_where_no_event_can_be_settled_the_state_is_told_all_the_same(full):
    agent, seen = full

    agent.change(last_completed_at="2026-11-29T00:00:00Z")
    agent.drive(
        lambda: documents(seen, STATE)[-1]["last_completed_at"] == "2026-11-29T00:00:00Z", 5
    )

    assert len(agent.store.outbox.undelivered()) == 1


def test_where_no_event_can_be_settled_the_end_of_the_run_is_told_all_the_same(full):
    agent, seen = full

    agent.reporter.stop(3.0)

    wait_for(lambda: documents(seen, STATUS)[-1]["reason"] == "shutdown", "the farewell")
