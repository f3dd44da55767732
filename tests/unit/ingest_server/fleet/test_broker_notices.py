"""The server at a broker: what it takes, and what it says of the way there, without one that answers."""

from types import SimpleNamespace

import pytest

from demo.ports import LOOPBACK, free_port
from ingest_server.core.events import DEVICE_SILENT, Event
from ingest_server.fleet.broker_notices import BrokerNotices
from ingest_server.fleet.intake import Intake
from ingest_server.fleet.mqtt_client import MOST_ON_THE_WAY, Login, Session
from ingest_server.fleet.mqtt_messages import Messages, Saying
from ingest_server.notify.deliveries import Outcome
from tests.support.fleet import fleet_at
from tests.support.present import present
from tests.support.switched_lead import SwitchedLead

SAYING = Saying("edgeup/fleet/v1/notice", b"{}")


@pytest.fixture
def session():
    """One whose broker acknowledges nothing."""
    login = Login(LOOPBACK, 1883, None, None, None)
    return Session(login, SAYING, (), SimpleNamespace(), is_v5=True, now_s=lambda: 0.0)


@pytest.fixture
def tell():
    """Tell a notice in that session."""
    service = fleet_at(f"mqtt://{LOOPBACK}").service
    messages = Messages(service, Intake(service), "edgeup")
    event = Event(1, "evt_1", DEVICE_SILENT, "2026-11-29T10:00:00Z", "drone-1", "drone-1", {})
    return lambda session: BrokerNotices(
        "mqtt://b", SimpleNamespace(open_session=session), messages
    ).tell(event)


def fill(session):
    return sum(session.publish(SAYING) for _ in range(MOST_ON_THE_WAY))


@pytest.mark.slow
def test_what_finds_no_room_is_not_said_to_be_on_its_way(session):
    assert fill(session) == MOST_ON_THE_WAY
    assert not session.has_room

    assert session.publish(SAYING) is False


def test_a_notice_that_finds_no_room_is_told_later_and_waits_for_no_answer(session, tell):
    fill(session)
    session.is_open = True

    told = tell(session)

    assert told.outcome is Outcome.AWAY
    assert "has not taken" in told.error


def test_a_broker_that_is_not_there_is_away(tell):
    assert tell(None).outcome is Outcome.AWAY


def test_only_the_server_that_leads_says_that_it_has_no_way_to_the_broker():
    lead = SwitchedLead()
    fleet = fleet_at(f"mqtt://{LOOPBACK}:{free_port()}", lead=lead)
    broker = present(fleet.broker)
    broker.start()
    try:
        assert fleet.service.reaches_at_once()

        lead.give()

        assert not fleet.service.reaches_at_once()
    finally:
        broker.stop()
