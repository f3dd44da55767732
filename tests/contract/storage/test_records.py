"""What every store of facts has to do with the records of uploads."""

from dataclasses import replace

import pytest

from ingest_server.core.errors import Refused, StateFailed
from ingest_server.core.record import State
from ingest_server.storage.interface import Census, Removal
from ingest_server.storage.interface.keeping import KEPT_ENDED, KEPT_REPEATS
from tests.support.state_rows import RECORD, TOKEN, insert, published, record
from upload_protocol.ranges import ByteRange, RangeSet


class TestRecords:
    def test_a_record_comes_back_as_it_went_in(self, state):
        insert(state, RECORD)

        assert state.get(RECORD.id) == state.find(RECORD.id) == RECORD
        assert state.by_key("cam", "key") == RECORD
        assert state.by_key("cam", "other") is None
        assert (state.device_of(RECORD.id), state.state_of(RECORD.id)) == ("cam", State.OPEN)

    def test_what_is_not_there_is_refused_or_none(self, state):
        with pytest.raises(Refused, match="upload-not-found"):
            state.get("0" * 32)

        assert state.find("0" * 32) is None
        assert state.device_of("0" * 32) is None
        assert state.state_of("0" * 32) is None

    def test_one_that_takes_no_bytes_is_not_open(self, state):
        insert(state, record(1), record(2, state=State.ABORTED))

        assert state.get_open(record(1).id) == record(1)
        with pytest.raises(Refused, match="upload-aborted"):
            state.get_open(record(2).id)

    def test_saving_changes_what_may_change(self, state):
        insert(state, RECORD)
        changed = replace(
            RECORD, name="other", folder="away", modified_at=None, length=11, digest=None,
            state=State.COMPLETE, received=RangeSet(), touched_s=2.0, rewrites=3,
        )  # fmt: skip

        state.run(lambda rows: rows.save(replace(changed, device="other", key="other")))

        assert state.get(RECORD.id) == changed

    def test_an_id_and_a_key_are_there_once(self, state):
        insert(state, record(1))

        for again in (record(1, key="2"), record(2, key="1")):
            with pytest.raises(StateFailed):
                insert(state, again)
        assert state.page(device=None, state=None, after=None, limit=9) == [record(1)]

    def test_pages_follow_each_other_and_know_their_device(self, state):
        insert(state, *(record(n, device="cam" if n % 2 else "other") for n in range(5)))

        first = state.page(device=None, state=None, after=None, limit=3)
        second = state.page(device=None, state="open", after=first[-1].id, limit=3)
        own = state.page(device="cam", state="open", after=None, limit=9)

        assert [int(one.id, 16) for one in first + second] == [0, 1, 2, 3, 4]
        assert [int(one.id, 16) for one in own] == [1, 3]
        assert state.open_count("cam") == 2
        assert state.page(device=None, state="complete", after=None, limit=9) == []

    def test_bytes_are_reserved_by_length_or_as_far_as_they_reach(self, state):
        reach = RangeSet([ByteRange(1, 3), ByteRange(50, 70)])
        insert(
            state,
            record(1, length=100),
            record(2, length=None, received=reach),
            record(3, length=None),
            record(4, length=1000, state=State.COMPLETE),
            record(5, length=7, device="other"),
            record(6, length=9, state=State.VERIFYING),
        )

        assert state.reserved_bytes("cam", besides=record(6).id) == 170
        assert state.reserved_bytes("cam", besides="") == 179
        assert state.reserved_bytes("nobody", besides="") == 0

    def test_idle_uploads_are_the_open_ones_without_a_byte_since(self, state):
        insert(
            state, record(1, touched_s=5.0), record(2, touched_s=9.0),
            record(3, touched_s=5.0, state=State.VERIFYING),
        )  # fmt: skip

        assert state.idle_open(9.0) == [record(1).id]
        assert [one.id for one in state.in_states(State.VERIFYING)] == [record(3).id]

    def test_uploads_are_found_in_any_of_several_states(self, state):
        insert(
            state, record(1), record(2, state=State.VERIFYING), record(3, state=State.PUBLISHING)
        )

        found = {one.id for one in state.in_states(State.OPEN, State.VERIFYING)}

        assert found == {record(1).id, record(2).id}

    def test_the_census_counts_what_has_not_ended(self, state):
        assert state.census() == Census({}, None, 0)
        insert(
            state,
            record(1, length=10, received=RangeSet([ByteRange(2, 5)])),
            record(2, length=None, created_at="2026-11-20T10:00:00Z"),
            record(3, state=State.PUBLISHING, received=RangeSet([ByteRange(0, 5)])),
            record(4, state=State.COMPLETE, created_at="2020-01-01T10:00:00Z"),
        )

        assert state.census() == Census({"open": 2, "publishing": 1}, "2026-11-20T10:00:00Z", 7)

    def test_notes_stand_beside_an_upload_and_go_with_it(self, state):
        insert(state, record(1, state=State.EXPIRED), record(2))
        for upload_id in (record(1).id, record(2).id):
            state.run(lambda rows, one=upload_id: rows.write_note(one, "k", "old"))
            state.run(lambda rows, one=upload_id: rows.write_note(one, "k", "new"))

        assert state.note(record(1).id, "k") == "new"
        assert state.note(record(1).id, "none") is None
        assert state.run(lambda rows: rows.forget_ended(99.0)) == 1
        assert state.notes(record(1).id) == {}
        assert state.notes(record(2).id) == {"k": "new"}

    def test_ended_uploads_are_forgotten_after_their_time(self, state):
        for number, ended in enumerate([State.EXPIRED, State.ABORTED, State.COMPLETE, State.OPEN]):
            insert(state, record(number, state=ended, touched_s=5.0))

        assert state.run(lambda rows: rows.forget_ended(5.0)) == 0
        assert state.run(lambda rows: rows.forget_ended(5.1, 1)) == 1
        assert state.run(lambda rows: rows.forget_ended(5.1)) == 1

    def test_of_what_a_device_gave_up_the_newest_are_remembered(self, state):
        def end(rows) -> None:
            for number in range(KEPT_ENDED + 3):
                rows.insert(record(number, touched_s=float(number)))
                rows.write_note(record(number).id, "k", "v")
                rows.save(record(number, state=State.ABORTED, touched_s=float(number)))
            rows.insert(record(9999, device="dog"))
            rows.save(record(9999, device="dog", state=State.EXPIRED))

        state.run(end)

        gone = [number for number in range(KEPT_ENDED + 3) if not state.find(record(number).id)]
        assert gone == [0, 1, 2]
        assert state.notes(record(2).id) == {}
        assert state.find(record(9999).id) is not None

    def test_of_the_uploads_of_one_file_the_first_and_the_newest_are_remembered(self, state):
        def repeat(rows) -> None:
            rows.insert(record(0))
            rows.save(published(0, "a"))
            for number in range(1, KEPT_REPEATS + 3):
                rows.insert(record(number))
                rows.save(published(number, "a", by=0, touched_s=float(number)))

        state.run(repeat)

        gone = [number for number in range(KEPT_REPEATS + 3) if not state.find(record(number).id)]
        assert gone == [1, 2]

    def test_texts_of_complete_uploads_are_forgotten_and_nothing_else_of_them(self, state):
        old = replace(published(1, "a"), metadata={"k": "v"})
        dialect = replace(published(2, "b"), metadata={"protocol": "tus", "k": "v"})
        insert(state, old, dialect, record(3, metadata={"k": "v"}))
        for number in (1, 2, 3):
            for key in ("chunk:0", "ended"):
                state.run(lambda rows, n=number, key=key: rows.write_note(record(n).id, key, "v"))

        step = state.run(lambda rows: rows.forget_texts(99.0, after="", limit=2))
        last = state.run(lambda rows: rows.forget_texts(99.0, after=record(2).id, limit=2))

        assert (step, last) == ((2, record(2).id), (0, None))
        assert state.get(old.id) == replace(old, metadata={})
        assert state.get(dialect.id) == dialect
        assert state.get(record(3).id).metadata == {"k": "v"}
        ended, both = {"ended": "v"}, {"chunk:0": "v", "ended": "v"}
        assert [state.notes(record(number).id) for number in (1, 2, 3)] == [ended, ended, both]
        assert state.run(lambda rows: rows.forget_texts(10.0, after="")) == (0, None)

    def test_an_upload_whose_file_was_removed_is_forgotten_once_the_name_is_gone(self, state):
        insert(state, published(1, "a"), published(2, "b"))
        removal = Removal("a", record(1).id, "identity")
        state.run(lambda rows: rows.mark_removed(published(1, "a"), removal, "2026-11-21"))

        early = state.run(lambda rows: rows.forget_removed(99.0, "2026-12-01"))
        state.run(lambda rows: rows.end_removal("a"))
        clocks = [("2026-11-20", 99.0), ("2026-12-01", 10.0)]
        by_one_clock = [
            state.run(lambda rows, by=by, before_s=before_s: rows.forget_removed(before_s, by))
            for by, before_s in clocks
        ]

        assert (early, by_one_clock) == (0, [0, 0])
        assert state.run(lambda rows: rows.forget_removed(99.0, "2026-12-01")) == 1
        assert (state.find(record(1).id), state.find(record(2).id) is None) == (None, False)

    def test_devices_are_those_with_uploads_or_a_devices_token_and_those_that_were_here(
        self, state
    ):
        insert(state, record(1), record(2, state=State.FAILED), record(3, device="dog"))
        state.access.add_token(TOKEN)
        state.access.add_token(replace(TOKEN, token_id="t2", device="new", token_hash=b"h2"))
        for name, scopes in (
            ("ops", "admin"),
            ("lab", "upload admin"),
            ("quiet", "status group:admin"),
        ):
            of = replace(TOKEN, token_id=name, device=name, token_hash=name.encode())
            state.access.add_token(replace(of, scopes=tuple(scopes.split())))
        state.run(lambda rows: rows.note_contact("cam", "2026-11-22T10:00:00Z", "agent"))
        state.run(lambda rows: rows.note_contact("gone", "2026-11-22T10:00:00Z", "x"))

        found = state.devices()
        forgotten = state.run(lambda rows: rows.forget_contacts("2026-11-23"))

        assert [(one.device, one.contact_at, one.program, dict(one.by_state)) for one in found] == [
            ("cam", "2026-11-22T10:00:00Z", "agent", {"open": 1, "failed": 1}),
            ("dog", "2026-11-21T10:00:00Z", "", {"open": 1}),
            ("gone", "2026-11-22T10:00:00Z", "x", {}),
            ("new", None, "", {}),
            ("quiet", None, "", {}),
        ]
        assert forgotten == 1
        assert [one.device for one in state.devices()] == ["cam", "dog", "new", "quiet"]

    def test_the_uptime_is_kept(self, state):
        assert state.uptime_s() == 0.0
        state.run(lambda rows: rows.set_uptime(12.5))
        assert state.uptime_s() == 12.5


def test_each_route_is_known_with_what_is_on_it_and_a_later_change_moves_nothing(state):
    insert(state, *(record(number, route="s3://a") for number in range(3)))
    insert(state, record(3, route="s3://b/raw"), record(4, route="survey"), record(5))
    ended = replace(record(0, route="elsewhere"), state=State.ABORTED)

    state.run(lambda rows: rows.save(ended))
    insert(state, published(7, "s3://a/x", route="s3://a"))

    assert state.routes() == ["s3://a", "s3://b/raw", "survey"]
    assert state.on_route("s3://a") == (2, 1)
    assert state.on_route("s3://nobody") == (0, 0)
    assert state.find(ended.id).route == state.route_of(ended.id) == "s3://a"
    assert (state.route_of(record(5).id), state.route_of("f" * 32)) == ("", None)
