"""What people were told, and whether it has come to all whom it is for: nothing else is called so."""

import json

import pytest

from ingest_server.fleet.told import SELDOM_S, SETTLING_S
from tests.support.fleet import state

HOOK = "https://hooks.example.org/services/one"
OTHER = "https://hooks.example.org/services/two"
FAILED = {"files": 0, "bytes": 0, "oldest_age_s": None, "failed": 1}


@pytest.fixture
def told(fleet):
    """A device of which something was told a minute ago."""
    fleet.report(state=state(queue=FAILED))
    fleet.pass_s(70)
    return fleet


def of_all(fleet):
    found = json.loads(fleet.service.view(None))["notices"]
    return {name: found[name] for name in ("nobody", "waiting", "unknown")}


def ways(fleet):
    [notice] = fleet.service.told["drone-1"]
    return [one["state"] for one in notice["to"]]


def take_in(fleet, target):
    fleet.events.outbox.take_in(target, lambda: lambda _kind, _device: True)
    fleet.pass_s(6)


def tell(fleet, target):
    fleet.events.outbox.done(*fleet.events.outbox.due(target, 0.0, 10))
    fleet.pass_s(6)


def test_what_nobody_takes_has_not_come(told):
    assert of_all(told) == {"nobody": 1, "waiting": 0, "unknown": 0}


def test_what_is_on_its_way_has_not_come(fleet):
    fleet.events.outbox.register(HOOK)
    fleet.report(state=state(queue=FAILED))
    fleet.pass_s(70)
    take_in(fleet, HOOK)
    assert of_all(fleet) == {"nobody": 0, "waiting": 1, "unknown": 0}

    tell(fleet, HOOK)
    assert of_all(fleet) == {"nobody": 0, "waiting": 0, "unknown": 0}


def test_who_takes_it_in_late_is_seen_all_the_same(fleet):
    fleet.events.outbox.register(HOOK)
    fleet.report(state=state(queue=FAILED))
    fleet.pass_s(70 + SETTLING_S)
    assert ways(fleet) == []

    take_in(fleet, HOOK)
    assert ways(fleet) == ["waiting"]
    tell(fleet, HOOK)
    assert ways(fleet) == ["told"]


def test_who_takes_it_in_long_after_another_has_it_is_seen_too(fleet):
    outbox = fleet.events.outbox
    outbox.register(HOOK)
    outbox.register(OTHER)
    fleet.report(state=state(queue=FAILED))
    fleet.pass_s(70)
    take_in(fleet, HOOK)
    tell(fleet, HOOK)
    fleet.pass_s(2 * SETTLING_S)
    assert ways(fleet) == ["told"]

    take_in(fleet, OTHER)
    fleet.pass_s(SELDOM_S)
    assert ways(fleet) == ["told", "waiting"]


def test_a_webhook_that_fails_is_not_hidden_by_another_of_its_host_that_was_given_up(fleet):
    outbox = fleet.events.outbox
    outbox.register(HOOK)
    outbox.register(OTHER)
    fleet.report(state=state(queue=FAILED))
    fleet.pass_s(70)
    take_in(fleet, HOOK)
    take_in(fleet, OTHER)
    [one] = outbox.due(HOOK, 0.0, 10)
    [other] = outbox.due(OTHER, 0.0, 10)
    outbox.later(one, 1e9, "it answered 500")
    outbox.give_up(other, "no answer")
    fleet.pass_s(6)

    missed = json.loads(fleet.service.view(None))["notices"]["undelivered"]

    assert [(one["to"], one["state"], one["error"]) for one in missed] == [
        ("hooks.example.org", "failing", "it answered 500"),
        ("hooks.example.org", "given_up", "no answer"),
    ]
