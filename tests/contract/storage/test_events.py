"""What every store of facts has to do with events that somebody is to be told of."""

import pytest

from ingest_server.core import events
from ingest_server.core.record import State
from ingest_server.storage.interface import NOT_REACHED, GivenUp, HandedOn, Queue
from ingest_server.storage.interface.keeping import KEPT_EVENTS, STEP, WAITING_EVENTS
from tests.support.events import of_types
from tests.support.state_rows import RECORD, insert, published, record, tell_of_corruption


class TestEvents:
    TYPES = frozenset({events.CREATED, events.COMPLETED})

    def told(self, state, target="ops") -> list[str]:
        """Take everything in and deliver it; returns the types."""
        state.outbox.take_in(target, of_types(events.TYPES))
        found = []
        while delivery := state.outbox.next(target):
            found.append(delivery.event.type)
            state.outbox.done(delivery)
        return found

    def test_what_becomes_true_is_told_in_order(self, state):
        insert(state, record(0))
        state.outbox.register("ops")
        state.outbox.register("ops")
        insert(state, record(1))
        state.run(lambda rows: rows.save(published(1, "a")))
        state.tell(events.CORRUPTED, record(1).id, path="a")
        state.tell(events.CORRUPTED, "f" * 32, path="a")
        state.run(lambda rows: rows.tell_of_server(events.STORAGE_LOW, {"free": 1}))

        assert self.told(state) == [
            events.CREATED, events.COMPLETED, events.CORRUPTED, events.STORAGE_LOW
        ]  # fmt: skip
        assert self.told(state) == []
        [seq] = state.corruptions_after(0)
        assert state.corruptions_after(seq) == []
        assert state.last_of(events.STORAGE) == events.STORAGE_LOW
        assert state.last_of({events.REMOVED}) is None

    def test_an_event_carries_its_upload(self, state):
        state.outbox.register("ops")
        insert(state, RECORD)
        assert state.outbox.take_in("ops", of_types(self.TYPES)) == 1
        assert state.outbox.take_in("ops", of_types(self.TYPES)) == 0
        assert state.outbox.take_in("nobody", of_types(self.TYPES)) == 0

        [one] = state.outbox.listing()

        assert one.event.data == events.upload_data(RECORD)
        assert (one.target, one.state, one.tries, one.event.subject, one.event.device) == (
            "ops", "pending", 0, RECORD.id, "cam",
        )  # fmt: skip
        assert state.outbox.queue() == Queue(1, one.event.time)

    def test_an_upload_whose_event_waits_holds_up_no_other(self, state):
        state.outbox.register("ops")
        insert(state, record(1))
        state.run(lambda rows: rows.save(record(1, state=State.ABORTED)))
        insert(state, record(2))
        state.outbox.take_in("ops", of_types(events.TYPES))

        first = state.outbox.next("ops")
        state.outbox.later(first, 50.0, "busy")

        assert state.outbox.next("ops").event.subject == record(2).id
        state.outbox.done(state.outbox.next("ops"))
        again = state.outbox.next("ops")
        assert (again.event, again.tries, again.next_try_s) == (first.event, 1, 50.0)
        assert again.error == "busy"

    def test_what_waits_for_want_of_its_target_is_due_once_that_is_reached(self, state):
        for target in ("ops", "others"):
            state.outbox.register(target)
        insert(state, record(1), record(2))
        for target in ("ops", "others"):
            state.outbox.take_in(target, of_types(events.TYPES))
        missed = state.outbox.next("ops")
        state.outbox.later(missed, 50.0, f"{NOT_REACHED}nobody listens")
        state.outbox.later(state.outbox.next("ops"), 60.0, "it answered 500")
        state.outbox.later(state.outbox.next("others"), 70.0, f"{NOT_REACHED}nobody listens")

        state.outbox.reached("ops")

        waits = [(one.target, one.tries, one.next_try_s) for one in state.outbox.listing()]
        assert sorted(waits) == [
            *[("ops", 0, 0.0), ("ops", 1, 60.0), ("others", 0, 0.0), ("others", 1, 70.0)]
        ]

    def test_all_that_is_due_is_put_off_together_each_by_its_own_tries(self, state):
        state.outbox.register("ops")
        insert(state, record(1), record(2), record(3), record(4))
        state.run(lambda rows: rows.save(record(2, state=State.ABORTED)))
        state.outbox.take_in("ops", of_types(events.TYPES))
        first, second, third, _ = state.outbox.due("ops", 0.0, 4)
        state.outbox.later(first, 0.0, "busy")
        for _ in range(2):
            state.outbox.later(second, 0.0, "busy")
            [second] = [one for one in state.outbox.due("ops", 0.0, 9) if one.event == second.event]
        state.outbox.later(third, 70.0, "busy")

        why = f"{NOT_REACHED}nobody listens"
        assert state.outbox.put_off("ops", 1.0, (5.0, 60.0), why, gives_up=True) == (3, 1)

        def seen():
            return [
                (one.event.subject, one.event.type, one.state, one.tries, one.next_try_s)
                for one in state.outbox.listing()
            ]

        assert seen() == [
            (record(1).id, events.CREATED, "pending", 2, 61.0),
            (record(2).id, events.CREATED, "dead", 3, 0.0),
            (record(3).id, events.CREATED, "pending", 1, 70.0),
            (record(4).id, events.CREATED, "pending", 1, 6.0),
            (record(2).id, events.ABORTED, "pending", 1, 6.0),
        ]
        assert state.outbox.given_up() == [GivenUp("ops", 1, why)]
        assert state.outbox.put_off("ops", 61.0, (5.0, 60.0), why, gives_up=False) == (3, 0)
        assert {one[3:] for one in seen() if one[2] == "pending"} == {(2, 121.0), (1, 70.0)}
        assert state.outbox.put_off("nobody", 999.0, (5.0,), why, gives_up=True) == (0, 0)

    def test_a_great_deal_that_waits_is_changed_in_steps_so_that_others_commit_in_between(
        self, state
    ):
        def tell(rows) -> None:
            for number in [*range(STEP + 10)] * 2:
                rows.tell(events.CORRUPTED, record(number))

        state.outbox.register("ops")
        state.run(tell)
        while state.outbox.take_in("ops", of_types(events.TYPES)):
            pass
        held, spent = state.outbox.due("ops", 0.0, 2)
        state.outbox.later(held, 70.0, "busy")
        state.outbox.later(spent, 0.0, "busy")
        why, waiting = f"{NOT_REACHED}nobody listens", 2 * STEP + 20 - 3

        def jobs_of(change):
            before = state.commits()[1]
            found = change()
            return found, state.commits()[1] - before

        def waits() -> list[tuple[int, float]]:
            first = state.outbox.due("ops", 6.0, 9 * STEP)
            return [(one.tries, one.next_try_s) for one in first]

        put_off = jobs_of(lambda: state.outbox.put_off("ops", 1.0, (5.0,), why, gives_up=True))
        assert put_off == ((waiting, 1), 1 + 3)
        assert waits() == [(1, 6.0)] * waiting
        assert jobs_of(lambda: state.outbox.reached("ops")) == (None, 3)
        assert waits() == [(0, 0.0)] * waiting
        removed = jobs_of(lambda: state.outbox.keep_only(frozenset()))
        assert removed == ({"ops": waiting + 2}, 3 + 1)
        assert state.outbox.queue().length == 0

    def test_what_a_person_has_tried_again_is_not_given_up_by_what_was_read_before(
        self, state, monkeypatch
    ):
        state.outbox.register("ops")
        insert(state, record(1), record(2))
        state.outbox.take_in("ops", of_types(events.TYPES))
        for one in state.outbox.due("ops", 0.0, 2):
            state.outbox.later(one, 0.0, "busy")
        run = state.run

        def replayed_first(job):
            """As `webhook replay URL` does, between what is read and what is changed."""
            monkeypatch.undo()
            assert state.outbox.replay("ops") == 2
            return run(job)

        monkeypatch.setattr(state, "run", replayed_first)
        why = f"{NOT_REACHED}nobody listens"
        assert state.outbox.put_off("ops", 1.0, (5.0,), why, gives_up=True) == (2, 0)

        kept = [(one.state, one.tries, one.next_try_s) for one in state.outbox.listing()]
        assert kept == [("pending", 1, 6.0)] * 2

    def test_whom_an_event_is_for_is_complete_once_every_target_has_looked_at_it(self, state):
        for target in ("ops", "others"):
            state.outbox.register(target)
        insert(state, record(1))
        found = state.run(lambda rows: rows.tell_of_device(events.DEVICE_SILENT, "cam", {}))

        def handed_on():
            one = state.outbox.of_events([found, "evt_nobody"])[found]
            return [each.target for each in one.deliveries], one.is_complete

        assert handed_on() == ([], False)
        state.outbox.take_in("ops", of_types(events.TYPES))
        assert handed_on() == (["ops"], False)
        state.outbox.take_in("others", of_types(set()))
        assert handed_on() == (["ops"], True)
        assert "evt_nobody" not in state.outbox.of_events(["evt_nobody"])

    def test_an_event_of_a_server_that_tells_nobody_is_for_nobody_at_once(self, state):
        found = state.run(lambda rows: rows.tell_of_device(events.DEVICE_SILENT, "cam", {}))

        assert state.outbox.of_events([found]) == {found: HandedOn([], True)}

    def test_what_is_due_comes_in_the_order_in_which_it_happened(self, state):
        state.outbox.register("ops")
        insert(state, record(1), record(2))
        state.run(lambda rows: rows.save(record(1, state=State.ABORTED)))
        state.run(lambda rows: rows.save(record(2, state=State.ABORTED)))
        state.outbox.take_in("ops", of_types(events.TYPES))

        def due(now_s=0.0, limit=9):
            found = state.outbox.due("ops", now_s, limit)
            return [(one.event.subject, one.event.type) for one in found]

        one = [(record(1).id, kind) for kind in (events.CREATED, events.ABORTED)]
        two = [(record(2).id, kind) for kind in (events.CREATED, events.ABORTED)]
        everything = [one[0], two[0], one[1], two[1]]
        assert due() == everything
        assert due(limit=3) == everything[:3]
        assert state.outbox.due("nobody", 0.0, 9) == []

        state.outbox.later(state.outbox.due("ops", 0.0, 1)[0], 50.0, "busy")
        assert due() == two  # nothing of the one whose event waits
        assert due(50.0) == everything
        state.outbox.done(*state.outbox.due("ops", 50.0, 3))
        assert due(50.0) == everything[3:]

    def test_what_is_most_likely_answered_comes_first_and_nothing_before_what_it_follows(
        self, state
    ):
        state.outbox.register("ops")
        insert(state, *(record(number) for number in range(1, 6)))
        for number in (1, 2, 3):
            state.run(lambda rows, of=number: rows.save(record(of, state=State.ABORTED)))
        state.outbox.take_in("ops", of_types(events.TYPES))
        of = {(one.event.subject, one.event.type): one for one in state.outbox.due("ops", 0.0, 99)}
        created = [of[record(number).id, events.CREATED] for number in range(1, 6)]
        state.outbox.done(created[0])  # so its second event is the first that waits
        state.outbox.later(created[1], 0.0, "no answer")
        state.outbox.later(created[2], 50.0, "no answer")

        def found(unanswered, now_s=0.0, limit=99):
            some = state.outbox.most_hopeful("ops", now_s, limit, unanswered)
            return [(one.event.subject, one.event.type) for one in some]

        aborted = (record(1).id, events.ABORTED)
        second, third, fourth, fifth = (
            (record(number).id, events.CREATED) for number in range(2, 6)
        )
        assert found({events.COMPLETED}) == found(set()) == [fourth, fifth, aborted, second]
        assert found({events.CREATED}) == [aborted, fourth, fifth, second]
        assert found({events.CREATED, events.ABORTED}, limit=3) == [fourth, fifth, aborted]
        assert found({events.CREATED}, 50.0) == [aborted, fourth, fifth, second, third]
        assert state.outbox.most_hopeful("nobody", 0.0, 9, {events.CREATED}) == []

    def test_what_was_given_up_is_told_again_when_somebody_says_so(self, state):
        state.outbox.register("ops")
        insert(state, record(1), record(2))
        state.outbox.take_in("ops", of_types(events.TYPES))
        for _ in range(2):
            state.outbox.give_up(state.outbox.next("ops"), "down")
        assert state.outbox.next("ops") is None
        dead = state.outbox.listing("dead")
        assert len(dead) == 2

        assert state.outbox.replay(dead[0].event.id) == 1
        assert state.outbox.replay(None) == 1
        assert state.outbox.replay("nobody") == 0

        assert len(state.outbox.listing("pending")) == state.outbox.queue().length == 2

    def test_a_disabled_target_is_enabled_by_a_replay(self, state):
        state.outbox.register("ops")
        state.outbox.register("other")
        for target in ("ops", "other"):
            state.outbox.disable(target, "2026-12-01")
        assert state.outbox.disabled() == {"ops": "2026-12-01", "other": "2026-12-01"}

        assert state.outbox.replay("ops") == 1
        assert state.outbox.disabled() == {"other": "2026-12-01"}
        state.outbox.replay(None)
        assert state.outbox.disabled() == {}

    def test_what_waits_for_a_target_that_is_gone_is_dead(self, state):
        for target in ("ops", "gone"):
            state.outbox.register(target)
        insert(state, record(1))
        for target in ("ops", "gone"):
            state.outbox.take_in(target, of_types(events.TYPES))

        assert state.outbox.keep_only({"ops"}) == {"gone": 1}
        assert state.outbox.given_up() == []  # nobody is to be told of it any more

        assert [one.target for one in state.outbox.listing("dead")] == ["gone"]
        assert state.outbox.replay(None) == 0
        assert state.outbox.keep_only({"ops"}) == {}

    def test_of_a_device_that_makes_many_events_those_that_nobody_waits_for_go(self, state):
        state.outbox.register("ops")
        tell_of_corruption(state, KEPT_EVENTS + 200)
        waiting = len(state.corruptions_after(0))
        state.outbox.keep_only({"other"})  # so nobody is to be told of them
        tell_of_corruption(state, 64)

        assert waiting == KEPT_EVENTS + 200
        assert KEPT_EVENTS <= len(state.corruptions_after(0)) <= KEPT_EVENTS + 64

    @pytest.mark.slow
    def test_of_events_that_wait_for_a_target_that_is_dead_the_oldest_go_in_the_end(self, state):
        state.outbox.register("ops")
        tell_of_corruption(state, WAITING_EVENTS + 500)

        assert WAITING_EVENTS <= len(state.corruptions_after(0)) <= WAITING_EVENTS + 64
        assert state.outbox.dropped() >= 500 - 64

    def test_events_are_counted_by_type_from_a_number_on(self, state):
        tell_of_corruption(state, 3)
        before = state.outbox.newest()
        insert(state, record(1))
        tell_of_corruption(state, 2)
        upto = state.outbox.newest()
        tell_of_corruption(state, 1)

        assert state.outbox.counted(before, upto) == {events.CREATED: 1, events.CORRUPTED: 2}
        assert state.outbox.counted(upto, upto) == {}

    def test_old_events_are_forgotten_but_for_what_waits_and_how_the_disk_is(self, state):
        state.outbox.register("ops")
        insert(state, record(1))
        state.outbox.take_in("ops", of_types({events.CREATED}))
        insert(state, record(2))
        for kind in (events.STORAGE_LOW, events.STORAGE_RECOVERED):
            state.run(lambda rows, kind=kind: rows.tell_of_server(kind, {}))
        state.run(lambda rows: rows.set_uptime(100.0))
        state.outbox.take_in("ops", of_types(set()))
        insert(state, record(3))

        state.run(lambda rows: rows.forget_events(50.0))

        assert state.last_of({events.STORAGE_LOW}) is None
        assert state.last_of(events.STORAGE) == events.STORAGE_RECOVERED
        assert state.last_of({events.CREATED}, subject=record(2).id) is None
        state.outbox.take_in("ops", of_types(events.TYPES))
        subjects = {one.event.subject for one in state.outbox.listing()}
        assert subjects == {record(1).id, record(3).id}

    def test_old_events_that_a_target_has_not_taken_in_yet_are_kept_for_it(self, state):
        state.outbox.register("ops")
        insert(state, record(1))
        state.outbox.register("later")
        state.outbox.take_in("later", of_types(set()))
        state.run(lambda rows: rows.set_uptime(100.0))

        assert state.run(lambda rows: rows.forget_events(200.0)) == 0
        state.outbox.take_in("ops", of_types(events.TYPES))

        assert [one.event.subject for one in state.outbox.listing()] == [record(1).id]
