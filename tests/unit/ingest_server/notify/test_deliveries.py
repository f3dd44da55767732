"""When an event is told, again, in which order and until when: a worker over a clock by hand."""

import pytest
from structlog.testing import capture_logs

from ingest_server.core import events
from ingest_server.core.errors import StateFailed
from ingest_server.notify.deliveries import Deliveries, DeliveryWorker, Outcome
from ingest_server.notify.retries import TRIES_AWAY
from tests.support.delivery_desk import Desk, Fake


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path / "data", Fake())
    yield made
    made.site.stop()


def test_many_events_are_noted_as_told_together_and_a_failure_between_them_is_not(desk):
    target = desk.worker.target
    target.outcomes = [Outcome.DONE, Outcome.FAILED]
    names = [f"{number}.mp4" for number in range(6)]
    for name in names:
        desk.site.create(name)

    desk.settle()

    assert [one.data["name"] for one in target.told] == names
    states = {one.event.data["name"]: one.state for one in desk.outbox.listing()}
    assert states == {name: "pending" if name == "1.mp4" else "done" for name in names}


def test_a_stop_is_looked_for_between_two_events_and_what_was_told_is_noted(desk):
    for number in range(3):
        desk.site.create(f"{number}.mp4")

    desk.worker.step(is_stopping=lambda: True)

    assert [one.state for one in desk.outbox.listing()] == ["done", "pending", "pending"]


def test_a_worker_waits_as_long_as_it_was_asked_to(desk):
    target = desk.worker.target
    target.outcomes, target.retry_after_s = [Outcome.FAILED], 600.0
    desk.site.create()
    desk.settle()

    desk.site.clock.seconds += 599
    desk.settle()
    assert len(target.told) == 1
    desk.site.clock.seconds += 2
    desk.settle()

    assert len(target.told) == 2


def test_what_waits_for_a_removed_target_is_a_dead_letter_until_it_is_back(desk):
    target = desk.worker.target
    target.outcomes = [Outcome.FAILED]
    desk.site.create()
    desk.settle()

    removed = Deliveries(desk.outbox, [])
    removed.start()

    [dead] = desk.outbox.listing("dead")
    assert (dead.target, dead.tries) == ("fake", 1)
    assert "not in the configuration any more" in dead.error
    assert desk.outbox.queue().length == 0
    assert desk.outbox.replay(None) == desk.outbox.replay("fake") == 0
    desk.outbox.register("fake")
    assert desk.outbox.replay(None) == 1
    desk.settle()
    assert len(target.told) == 2


def test_an_event_is_in_the_commit_that_makes_it_true(desk):
    upload_id = desk.site.create(length=5)

    kinds = desk.site.state.rows("SELECT type, subject FROM events")

    assert kinds == [(events.CREATED, upload_id)]


def test_a_failed_event_is_told_again_after_its_wait_and_is_the_same(desk):
    target = desk.worker.target
    target.outcomes = [Outcome.FAILED]
    desk.site.create()

    desk.settle()
    assert len(target.told) == 1
    desk.site.clock.seconds += 4.9
    desk.settle()
    assert len(target.told) == 1
    desk.site.clock.seconds += 0.2
    desk.settle()

    assert [one.id for one in target.told] == [target.told[0].id] * 2
    assert desk.outbox.queue().length == 0


def test_a_target_that_is_back_is_told_at_once_of_all_that_it_missed(desk):
    """However long its outage was: otherwise some would wait for hours more."""
    target = desk.worker.target
    target.outcomes = [Outcome.UNREACHED] * 4
    for name in "abc":
        desk.site.create(f"{name}.mp4")
    for _ in range(4):  # the next tries are due in half an hour
        desk.settle()
        desk.site.clock.seconds += 400
    target.told.clear()

    desk.site.create("d.mp4")
    desk.settle()

    assert sorted(one.data["name"] for one in target.told) == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]


def test_what_the_target_itself_refused_keeps_its_wait_when_others_are_told(desk):
    target = desk.worker.target
    target.outcomes = [Outcome.FAILED]
    desk.site.create("a.mp4")
    desk.settle()

    desk.site.create("b.mp4")
    desk.settle()

    assert [one.data["name"] for one in target.told] == ["a.mp4", "b.mp4"]
    assert [one.event.data["name"] for one in desk.outbox.listing("pending")] == ["a.mp4"]


def test_a_target_that_comes_and_goes_is_not_given_up_for_that(desk):
    target = desk.worker.target
    desk.site.create("a.mp4")
    for number in range(20):
        target.outcomes = [Outcome.UNREACHED, Outcome.DONE, Outcome.UNREACHED]
        desk.site.create(f"{number}-b.mp4")
        desk.settle()
        desk.site.create(f"{number}-c.mp4")
        desk.settle()
        desk.site.clock.seconds += 1

    assert desk.outbox.listing("dead") == []
    assert max(one.tries for one in desk.outbox.listing("pending")) <= 2


def test_that_a_target_is_away_is_found_out_once_for_all_that_waits_and_said_once(desk):
    target = desk.worker.target
    for number in range(50):
        desk.site.create(f"{number}.mp4")

    with capture_logs() as lines:
        for outcome, tries, passed_s in (
            (Outcome.AWAY, 1, 6),
            (Outcome.AWAY, 2, 70),
            (Outcome.UNREACHED, 3, 400),
            (Outcome.UNREACHED, 4, 1),
        ):
            target.outcomes = [outcome]
            desk.settle()
            assert len(target.told) == tries
            assert {(one.state, one.tries) for one in desk.outbox.listing()} == {("pending", tries)}
            desk.site.clock.seconds += passed_s
        desk.worker.is_back()
        desk.settle()

    assert len(target.told) == 4 + 50
    assert {one.state for one in desk.outbox.listing()} == {"done"}
    said = [(one["event"], one.get("waiting")) for one in lines if one["log_level"] != "debug"]
    assert said == [
        ("target.not_reached", 50),
        ("target.reached", None),
    ]


def test_an_event_that_a_target_never_answers_holds_up_no_other(desk):
    target = desk.worker.target
    desk.site.create("bad.mp4")
    target.outcomes = [Outcome.SILENT]
    for number in range(3):
        desk.site.create(f"{number}.mp4")
    desk.settle()

    for tries in range(2, 5):
        desk.site.clock.seconds += 2000
        target.outcomes = [Outcome.SILENT]
        desk.settle()
        [waiting] = desk.outbox.listing("pending")
        assert (waiting.event.data["name"], waiting.tries) == ("bad.mp4", tries)

    target.outcomes = [Outcome.SILENT]
    desk.site.clock.seconds += 8000
    desk.site.create("new.mp4")
    desk.settle()

    assert [one.data["name"] for one in target.told[-2:]] == ["bad.mp4", "new.mp4"]


def test_what_was_due_as_often_as_it_is_tried_is_given_up_together_and_the_newer_is_not(desk):
    target = desk.worker.target
    for number in range(3):
        desk.site.create(f"{number}.mp4")
    for _ in range(7):
        target.outcomes = [Outcome.UNREACHED]
        desk.settle()
        desk.site.clock.seconds += 60_000
    desk.site.create("new.mp4")

    target.outcomes = [Outcome.UNREACHED]
    desk.settle()

    states = {one.event.data["name"]: (one.state, one.tries) for one in desk.outbox.listing()}
    assert states == {
        **{f"{number}.mp4": ("dead", 8) for number in range(3)},
        "new.mp4": ("pending", 1),
    }
    [given_up] = desk.outbox.given_up()
    assert (given_up.target, given_up.count, given_up.error) == ("fake", 3, "not reached: because")


def test_who_is_back_after_a_restart_of_the_server_is_told_at_once_too(tmp_path):
    first = Desk(tmp_path / "data", Fake(Outcome.UNREACHED))
    first.site.create("a.mp4")
    first.settle()
    first.site.stop()

    told = Fake()
    second = Desk(tmp_path / "data", told)
    second.site.create("b.mp4")
    second.settle()

    assert {one.data["name"] for one in told.told} == {"a.mp4", "b.mp4"}
    second.site.stop()


def test_events_of_one_upload_stay_in_order_and_hold_up_no_other(desk):
    target = desk.worker.target
    target.outcomes = [Outcome.FAILED]
    first = desk.site.create("a.mp4", 0)
    desk.site.complete(first, b"")
    second = desk.site.create("b.mp4", 0)

    desk.settle()
    assert [(one.subject, one.type) for one in target.told] == [
        (first, events.CREATED),
        (second, events.CREATED),
    ]
    desk.site.clock.seconds += 6
    desk.settle()

    assert [one.type for one in target.told[2:]] == [events.CREATED, events.COMPLETED]


def test_what_was_given_up_is_kept_and_can_be_replayed(desk):
    target = desk.worker.target
    target.outcomes = [Outcome.FAILED] * 8
    desk.site.create()
    for _ in range(8):
        desk.settle()
        desk.site.clock.seconds += 50_000

    [dead] = desk.outbox.listing("dead")
    assert (dead.tries, dead.error) == (8, "because")
    desk.settle()
    assert len(target.told) == 8

    assert desk.outbox.replay(None) == 1
    desk.settle()
    assert [one.state for one in desk.outbox.listing()] == ["done"]


def test_a_consumer_that_is_gone_is_told_nothing_until_it_is_replayed(desk):
    target = desk.worker.target
    target.outcomes = [Outcome.GONE]
    desk.site.create("a.mp4")
    desk.settle()
    desk.site.create("b.mp4")
    desk.settle()
    assert len(target.told) == 1

    desk.outbox.replay("fake")
    desk.settle()

    assert [one.data["name"] for one in target.told] == ["a.mp4", "a.mp4", "b.mp4"]


def test_events_outlive_a_restart(tmp_path):
    desk = Desk(tmp_path / "data", Fake())
    desk.site.create()
    desk.site.restart()
    target = Fake()
    worker = DeliveryWorker(
        target,
        desk.site.state.outbox,
        desk.site.clock,
        desk.site.store.uptime,
        draw=lambda: 0.5,
    )

    worker.step()

    assert [one.type for one in target.told] == [events.CREATED]
    desk.site.stop()


def test_every_end_of_an_upload_is_told(desk):
    site = desk.site
    site.receiver.abort("cam", site.create("aborted.mp4"))
    site.create("expired.mp4")
    site.clock.seconds += 15 * 86400
    site.receiver.expiry.sweep()

    desk.settle()

    kinds = [one.type.rpartition(".")[2] for one in desk.worker.target.told]
    assert sorted(kinds) == ["aborted", "created", "created", "expired"]


def test_who_says_when_it_is_back_is_not_given_up_and_a_refusal_then_is_tried_again_for_a_day(desk):
    target = desk.worker.target
    desk.site.create()
    target.outcomes = [Outcome.AWAY] * 30
    for _ in range(30):
        desk.settle()
        desk.site.clock.seconds += 50_000
    [waiting] = desk.outbox.listing()
    assert (waiting.state, waiting.tries) == ("pending", TRIES_AWAY)

    target.outcomes = [Outcome.FAILED] * 3
    target.told.clear()
    desk.worker.is_back()
    for _ in range(4):
        desk.settle()
        desk.site.clock.seconds += 50_000

    assert len(target.told) == 4
    assert [one.state for one in desk.outbox.listing()] == ["done"]


def test_that_a_target_is_back_is_not_forgotten_where_the_database_fails_just_then(
    desk, monkeypatch
):
    target = desk.worker.target
    target.outcomes = [Outcome.UNREACHED]
    desk.site.create()
    desk.settle()
    desk.worker.is_back()

    def refuse(_name):
        raise StateFailed("storage-full", "the database cannot grow")

    with monkeypatch.context() as broken:
        broken.setattr(desk.outbox, "reached", refuse)
        with pytest.raises(StateFailed):
            desk.worker.step()
    desk.settle()

    assert len(target.told) == 2
