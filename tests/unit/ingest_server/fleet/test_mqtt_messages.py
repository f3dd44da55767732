"""What the server hears of devices over a broker: the same fleet, whatever brings it."""

import json
import sys
from typing import Any

import pytest
from structlog.testing import capture_logs

from edge_host.clock import SystemClock
from ingest_server.assembly.fleet import Fleet
from ingest_server.auth.audit import Unaudited
from ingest_server.core.errors import ServerError
from ingest_server.fleet.intake import Intake
from ingest_server.fleet.mqtt_messages import HEARD, Messages
from ingest_server.fleet.settings import BrokerSettings
from ingest_server.storage.memory.overwriting import OverwritingBlobs
from ingest_server.storage.memory.state import MemoryState
from tests.support.fleet import info, state


@pytest.fixture
def hear(fleet):
    messages = Messages(fleet.service, Intake(fleet.service), "edgeup")

    def take(channel, document, device="drone-1", *, is_retained=False):
        payload = document if isinstance(document, bytes) else json.dumps(document).encode()
        messages.take(f"edgeup/v1/{device}/{channel}", payload, is_retained=is_retained)

    return take


def status(word, session=1, run="r"):
    return {"v": 1, "status": word, "boot_id": "b", "run_id": run, "session": session}


def test_a_device_that_speaks_over_a_broker_alone_is_one_of_the_fleet(fleet, hear):
    hear("status", status("online"))
    hear("info", info())
    hear("state", state(state="paused"))
    hear("event", {"id": "e1", "type": "edgeup.file.failed", "seq": 1})

    row = fleet.row()
    assert (row["presence"], row["via"], row["state"]) == ("online", ["mqtt"], "paused")
    assert row["version"] == "1.0"
    assert [one.id for one in fleet.store.events("drone-1", after=None, limit=9)] == ["e1"]


def test_a_device_is_offline_when_its_broker_says_so(fleet, hear):
    hear("status", status("online", session=2))
    hear("status", status("offline", session=1))
    before = fleet.row()["presence"]
    hear("status", status("offline", session=2))

    assert (before, fleet.row()["presence"]) == ("online", "offline")
    hear("status", status("online", session=3))
    assert fleet.row()["presence"] == "online"


def test_a_device_that_reports_to_the_server_too_is_there_without_its_broker(fleet, hear):
    fleet.report(next_s=30)
    hear("status", status("online"))
    assert fleet.row()["via"] == ["server", "mqtt"]

    hear("status", status("offline"))

    assert (fleet.row()["presence"], fleet.row()["via"]) == ("online", ["server"])
    fleet.pass_s(200)
    assert fleet.row()["presence"] == "offline"


def test_an_agent_that_was_stopped_is_offline_whichever_way_says_so(fleet, hear):
    fleet.report(next_s=30)
    hear("status", status("online", run="run"))
    hear("status", {**status("offline", run="run"), "reason": "shutdown"})

    assert fleet.row()["presence"] == "offline"


def test_the_end_of_an_older_run_at_the_broker_says_nothing_of_the_one_that_reports(fleet, hear):
    fleet.report(next_s=30)
    hear("status", {**status("offline", run="the one before"), "reason": "shutdown"})

    assert fleet.row()["presence"] == "online"


def test_what_the_broker_still_brings_of_a_stopped_agent_does_not_bring_it_back(fleet, hear):
    fleet.report(next_s=30)
    hear("status", status("online", run="run"))
    fleet.report(next_s=30, status="offline", reason="shutdown")
    hear("state", state())
    hear("status", {**status("offline", run="run"), "reason": "shutdown"})

    assert fleet.row()["presence"] == "offline"


def test_what_a_broker_had_kept_says_nothing_of_now(fleet, hear):
    hear("status", status("offline"), is_retained=True)
    hear("state", state(state="uploading"), is_retained=True)

    assert (fleet.row()["presence"], fleet.row()["state"]) == ("offline", "uploading")


def test_an_acknowledgement_counts_whatever_brings_it(fleet, hear):
    fleet.report()
    given = fleet.operations.give("drone-1", "pause", {}, 120, "me")["id"]

    hear("cmd/ack", {"v": 1, "id": given, "status": "done", "code": "ok"})
    fleet.report(acks=[{"id": given, "status": "duplicate"}])

    assert fleet.operations.command("drone-1", given)["status"] == "done"


@pytest.mark.parametrize("reports", [True, False])
def test_a_command_that_a_broker_brings_to_a_device_without_a_clock_waits_for_its_report(
    fleet, hear, reports
):
    hear("status", status("online"))
    hear("info", info())
    if reports:
        fleet.report()
    given = fleet.operations.give("drone-1", "retry_failed", {}, 600, "me")["id"]

    hear("cmd/ack", {"v": 1, "id": given, "status": "rejected", "code": "clock_unsynced"})

    ended = fleet.operations.command("drone-1", given)["status"]
    if not reports:
        assert ended == "rejected", "nothing else would bring it"
        return
    assert ended == "waiting"
    assert [one["id"] for one in fleet.report(seq=2)["commands"]] == [given]
    fleet.report(seq=3, acks=[{"id": given, "status": "done", "code": "ok"}])
    assert fleet.operations.command("drone-1", given)["status"] == "done"


@pytest.mark.parametrize("reports_once_more", [True, False])
def test_a_command_that_a_device_without_a_clock_never_takes_ends_with_what_the_device_said(
    fleet, hear, reports_once_more
):
    hear("status", status("online"))
    hear("info", info())
    fleet.report()
    given = fleet.operations.give("drone-1", "retry_failed", {}, 600, "me")["id"]
    said = {"code": "clock_unsynced", "message": "the clock is not set"}

    hear("cmd/ack", {"v": 1, "id": given, "status": "rejected", **said})

    def seen() -> tuple[str, str, str]:
        found = fleet.operations.command("drone-1", given)
        return found["status"], found["code"], found["message"]

    assert seen() == ("waiting", *said.values())
    assert fleet.store.command("drone-1", given).code == "clock_unsynced"
    if reports_once_more:
        assert [one["id"] for one in fleet.report(seq=2)["commands"]] == [given]
    fleet.pass_s(601)
    assert seen() == ("expired", *said.values())


def test_a_server_that_was_killed_knows_by_which_ways_a_device_speaks(fleet, hear, make_fleet):
    hear("status", status("online"))
    hear("info", info())
    fleet.pass_s(30)
    fleet.report()
    fleet.pass_s(2)

    assert make_fleet(fleet.store).row()["via"] == ["server", "mqtt"]


def test_a_device_cannot_acknowledge_for_another(fleet, hear):
    fleet.report()
    given = fleet.operations.give("drone-1", "pause", {}, 120, "me")["id"]

    hear("cmd/ack", {"id": given, "status": "done"}, device="drone-2")

    assert fleet.operations.command("drone-1", given)["status"] == "waiting"


@pytest.mark.parametrize("channel", ["status", "info", "state", "event", "cmd/ack", "reported"])
@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff", b"[]", b"null", b"[" * 9000, b'{"a":1e999}', b'{"a":"' + b"x" * 99_999, b"{}"],
)
def test_what_is_no_message_of_ours_changes_nothing_of_what_is_known(fleet, hear, channel, payload):
    fleet.report(state=state(state="paused"))
    before = (fleet.row()["presence"], fleet.store.events(None, after=None, limit=9))

    hear(channel, payload)

    assert (fleet.row()["presence"], fleet.store.events(None, after=None, limit=9)) == before


@pytest.mark.parametrize("device", ["_fleet", "a b", "+", "", "UPPER", "x" * 64])
def test_a_name_that_no_device_has_is_left_out_of_account(fleet, hear, device):
    hear("status", status("online"), device=device)

    assert fleet.service.members == {}


def test_a_server_without_the_extra_says_what_to_install_before_it_opens_anything(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    for module in ("broker", "mqtt_client"):
        monkeypatch.delitem(sys.modules, f"ingest_server.fleet.{module}", raising=False)

    with pytest.raises(ServerError, match=r"pip install '\.\[server,fleet\]'"):
        Fleet(
            tmp_path,
            MemoryState(),
            OverwritingBlobs(),
            clock=SystemClock(),
            audit=Unaudited(),
            broker=BrokerSettings("mqtt://localhost"),
        )

    assert list(tmp_path.iterdir()) == []


def test_an_outbox_of_a_thousand_events_is_taken_at_once(fleet, hear):
    for number in range(1, 1001):
        hear("event", {"id": f"e{number}", "type": "edgeup.file.failed", "seq": number})

    assert len(fleet.store.events("drone-1", after=None, limit=2000)) == 1000


@pytest.mark.slow
def test_nonsense_without_end_is_a_few_lines_in_the_log_that_say_how_many_there_were(fleet, hear):
    with capture_logs() as lines:
        for number in range(5000):
            hear("state", b"{", device=f"drone-{number}")
        fleet.pass_s(60)
        hear("state", b"{", device="drone-5000")

    told = [one for one in lines if one["event"].startswith("fleet.message_")]
    assert len(told) == 21
    assert told[-1]["lines_left_out"] == 4980


HOSTILE: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e308,
    10**400,
    "",
    "x" * 2000,
    [],
    [[]],
    {},
    {"a": None},
)
SAID = {
    "status": {"v": 1, "status": "online", "boot_id": "b", "run_id": "r", "session": 1},
    "info": info(telemetry={"heartbeat_s": 300}),
    "state": state(
        queue={"files": 2, "bytes": 9, "oldest_age_s": 90_000, "failed": 0},
        current={"file_id": "f", "name": "a.mp4", "length": 9, "acknowledged": 3},
    ),
    "event": {"id": "e1", "type": "edgeup.file.failed", "seq": 1},
    "cmd/ack": {"v": 1, "id": "c1", "status": "done", "code": "ok", "result": {"a": 1}},
    "reported": {"version": 1, "settings": {"paused": True}},
}


def each_with_something_else(document):
    """Return *document* with each of its values, inner ones too, replaced by each hostile one."""
    for key, value in document.items():
        yield from ({**document, key: hostile} for hostile in HOSTILE)
        if isinstance(value, dict):
            yield from ({**document, key: other} for other in each_with_something_else(value))


@pytest.mark.parametrize("channel", HEARD)
def test_whatever_stands_where_a_value_should_the_fleet_is_looked_at(fleet, hear, channel):
    with capture_logs() as lines:
        for said in each_with_something_else(SAID[channel]):
            hear("status", SAID["status"])
            hear("state", SAID["state"])
            hear(channel, said)
            fleet.pass_s(2, step_s=2)
            fleet.service.view(None)

    assert "fleet.step_failed" not in {one["event"] for one in lines}
