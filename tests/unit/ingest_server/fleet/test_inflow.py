"""What a device says over a broker is bounded, and what is told once is not forgotten by the broker."""

import json

import pytest
from structlog.testing import capture_logs

from ingest_server.core.errors import StateFailed
from ingest_server.fleet.inflow import SAY_AGAIN_S, TokenBucket
from ingest_server.fleet.intake import Intake
from ingest_server.fleet.mqtt_messages import Messages, Taken
from tests.support.fleet import info, state


@pytest.fixture
def messages(fleet):
    return Messages(fleet.service, Intake(fleet.service), "edgeup")


def say(messages, channel, document, **more):
    payload = json.dumps(document).encode()
    return messages.take(f"edgeup/v1/drone-1/{channel}", payload, is_retained=False, **more)


def event(number):
    return {"id": f"e{number}", "type": "edgeup.file.failed", "seq": number}


def kept(fleet):
    return len(fleet.store.events("drone-1", after=None, limit=10_000))


class Full:
    """Fails where the disk is full."""

    def __init__(self, fleet):
        self.is_full = True
        for name in ("add_events", "put_command"):
            setattr(fleet.store, name, self._failing(getattr(fleet.store, name)))

    def _failing(self, method):
        def call(*args, **more):
            if self.is_full:
                raise StateFailed("storage-full", "the server's database cannot grow")
            return method(*args, **more)

        return call


def test_a_bucket_takes_its_burst_and_then_so_many_a_second():
    bucket = TokenBucket(3, 2.0)

    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(101.0) for _ in range(3)] == [True, True, False]


def test_of_a_device_gone_mad_the_newest_state_is_shown_and_one_line_is_written(fleet, messages):
    with capture_logs() as lines:
        taken = [say(messages, "state", state(state="idle")) for _ in range(500)]
        taken.append(say(messages, "state", state(state="paused")))
        before = fleet.row()["state"]
        fleet.clock.pass_s(1.0)
        messages.step()

    assert taken.count(Taken.DONE) == 60
    assert (before, fleet.row()["state"]) == ("idle", "paused")
    [line] = [one for one in lines if one["event"] == "fleet.message_left_out"]
    assert "sends more than any agent does" in line["error"]


def first_in_line(alone, first):
    """Return what lets somebody else be alone with a device, once, before the one who asks."""
    waiting = [first]

    def after_others(device):
        while waiting:
            waiting.pop()()
        return alone(device)

    return after_others


def test_what_waited_for_a_turn_gives_way_to_what_its_device_said_meanwhile(fleet, messages):
    for _ in range(61):
        say(messages, "state", state(state="idle"))
    fleet.clock.pass_s(2.0)
    newest = state(state="paused")
    service = fleet.service
    service.alone = first_in_line(service.alone, lambda: say(messages, "state", newest))
    messages.step()

    assert fleet.row()["state"] == "paused"


def test_that_a_device_is_still_mad_is_said_again_with_the_number(fleet, messages):
    with capture_logs() as lines:
        for _ in range(100):
            say(messages, "state", state())
        fleet.clock.pass_s(SAY_AGAIN_S)
        for _ in range(61):
            say(messages, "state", state())

    told = [one["count"] for one in lines if one["event"] == "fleet.message_left_out"]
    assert told == [1, 40]


@pytest.mark.slow
def test_a_device_that_was_away_for_weeks_tells_all_that_its_outbox_holds(fleet, messages):
    taken = {say(messages, "event", event(number)) for number in range(10_000)}

    assert taken == {Taken.DONE}
    assert kept(fleet) == 1000


@pytest.mark.slow
def test_more_events_than_any_outbox_holds_are_left_out(fleet, messages):
    for _ in range(12_000):
        say(messages, "event", event(1))

    assert say(messages, "event", event(2)) is Taken.LEFT_OUT
    assert kept(fleet) == 1


def test_one_mad_device_takes_nothing_from_another(fleet, messages):
    for _ in range(100):
        say(messages, "state", state())
    other = json.dumps(state(state="paused")).encode()
    messages.take("edgeup/v1/drone-2/state", other, is_retained=False)

    assert fleet.row("drone-2")["state"] == "paused"


def test_nonsense_of_one_device_is_one_line(messages):
    with capture_logs() as lines:
        for _ in range(50):
            messages.take("edgeup/v1/drone-1/event", b"{}", is_retained=False)

    assert len(lines) == 1
    assert "cannot be read" in lines[0]["error"]


def test_an_event_that_is_not_stored_is_not_taken_and_that_is_said_once(fleet, messages):
    disk = Full(fleet)
    with capture_logs() as lines:
        first = [say(messages, "event", event(1), is_again=again) for again in (False, True, True)]
        disk.is_full = False
        last = say(messages, "event", event(1), is_again=True)

    assert (set(first), last) == ({Taken.NOT_STORED}, Taken.DONE)
    assert kept(fleet) == 1
    assert [one["event"] for one in lines] == ["fleet.events_not_kept", "fleet.events_kept"]


def test_the_answer_to_a_command_that_is_not_stored_is_not_taken_either(fleet, messages):
    say(messages, "info", info())
    given = fleet.operations.give("drone-1", "pause", {}, 600, "me")
    disk = Full(fleet)
    done = {"v": 1, "id": given["id"], "status": "done", "code": "ok"}

    with capture_logs() as lines:
        first = [say(messages, "cmd/ack", done, is_again=again) for again in (False, True, True)]
    disk.is_full = False
    last = say(messages, "cmd/ack", done, is_again=True)

    assert (set(first), last) == ({Taken.NOT_STORED}, Taken.DONE)
    assert [one["event"] for one in lines] == ["fleet.not_kept"], "said once"
    assert fleet.operations.command("drone-1", given["id"])["status"] == "done"
