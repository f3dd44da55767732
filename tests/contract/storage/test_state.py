"""What every store of facts has to do."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ingest_server.core import events
from ingest_server.core.errors import Refused, StateFailed
from ingest_server.core.record import State, UploadRecord
from ingest_server.storage.interface import (
    NOT_REACHED,
    Census,
    Claimed,
    ClaimRecord,
    Queue,
    Reading,
    Removal,
    TokenRecord,
)
from ingest_server.storage.interface.keeping import (
    KEPT_ENDED,
    KEPT_EVENTS,
    KEPT_REPEATS,
    WAITING_EVENTS,
)
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt
from upload_protocol.ranges import ByteRange, RangeSet

DIGEST = Digest.of(b"x")
RECORD = UploadRecord(
    id="0" * 32,
    device="cam",
    key="key",
    name="nul \0 crlf \r\n quote ' \" é \U0001f3a5",
    folder="a/b",
    created_at="2026-11-21T10:00:00Z",
    length=10,
    digest=DIGEST,
    modified_at="2026-11-21T09:00:00Z",
    media_type="video/mp4",
    metadata={"a\ud800": "\0"},
    route="s3://survey/raw",
    received=RangeSet([ByteRange(1, 3), ByteRange(5, 2**62)]),
    touched_s=1.5,
    target="cam/x",
    receipt=Receipt("0" * 32, "cam", "x", 10, DIGEST, "t", "client", "cam/x"),
)

WHOLE = ByteRange(0, 100)
TOKEN = TokenRecord("t1", "cam", b"h1", "2026-01-01T00:00:00Z", ("upload",), "2027-01-01T00:00:00Z")
CLAIM = ClaimRecord("c1", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", 2, 0, None)


def insert(state, *records: UploadRecord) -> None:
    for record in records:
        state.run(lambda rows, record=record: rows.insert(record))


def record(number: int, **changes) -> UploadRecord:
    """Return an open upload of five bytes, one of many."""
    plain = UploadRecord(
        id=f"{number:032x}", device="cam", key=str(number), name="a", folder="",
        created_at="2026-11-21T10:00:00Z", length=5, touched_s=10.0,
    )  # fmt: skip
    return replace(plain, **changes)


def tell_of_corruption(state, count: int) -> None:
    def tell(rows) -> None:
        for _ in range(count):
            rows.tell(events.CORRUPTED, record(1))

    state.run(tell)


def published(number: int, target: str, *, by: int | None = None, verified_at="2026-11-21", **more):
    origin = f"{number if by is None else by:032x}"
    receipt = Receipt(origin, "cam", "a", 5, DIGEST, verified_at, "client", target)
    return record(
        number, state=State.COMPLETE, digest=DIGEST, target=target, receipt=receipt, **more
    )


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

    def test_devices_are_those_with_uploads_or_a_token_and_those_that_were_here(self, state):
        insert(state, record(1), record(2, state=State.FAILED), record(3, device="dog"))
        state.access.add_token(TOKEN)
        state.access.add_token(replace(TOKEN, token_id="t2", device="new", token_hash=b"h2"))
        state.run(lambda rows: rows.note_contact("cam", "2026-11-22T10:00:00Z", "agent"))
        state.run(lambda rows: rows.note_contact("gone", "2026-11-22T10:00:00Z", "x"))

        found = state.devices()
        forgotten = state.run(lambda rows: rows.forget_contacts("2026-11-23"))

        assert [(one.device, one.contact_at, one.program, dict(one.by_state)) for one in found] == [
            ("cam", "2026-11-22T10:00:00Z", "agent", {"open": 1, "failed": 1}),
            ("dog", "2026-11-21T10:00:00Z", "", {"open": 1}),
            ("gone", "2026-11-22T10:00:00Z", "x", {}),
            ("new", None, "", {}),
        ]
        assert forgotten == 1
        assert [one.device for one in state.devices()] == ["cam", "dog", "new"]

    def test_the_uptime_is_kept(self, state):
        assert state.uptime_s() == 0.0
        state.run(lambda rows: rows.set_uptime(12.5))
        assert state.uptime_s() == 12.5


class TestPublished:
    def test_a_file_is_found_again_by_what_it_is(self, state):
        insert(state, published(2, "b"), published(1, "a", by=2), record(3))

        insert(state, replace(published(0, "d"), folder="other"))

        found = state.published(record(9), 5, DIGEST)

        assert [int(one.id, 16) for one in found] == [1, 2, 0]
        assert state.published(record(9), 5, Digest.of(b"other")) == []
        assert state.published(record(9, device="other"), 5, DIGEST) == []
        under_another_name = state.published(record(9, name="b"), 5, DIGEST)
        assert [int(one.id, 16) for one in under_another_name] == [1, 2, 0]
        assert state.published(record(9), 6, DIGEST) == []

    def test_of_many_of_one_name_the_newest_are_found_in_their_order_and_none_but_them(self, state):
        insert(state, replace(published(99, "other"), name="other"))
        for number in range(1, 21):
            insert(state, published(number, "a", by=1 if number < 19 else 19))

        found = state.published(record(200), 5, DIGEST)

        assert [int(one.id, 16) for one in found] == list(range(5, 21))
        assert int(found[-1].receipt.upload_id, 16) == 19

    def test_that_a_device_has_published_something_of_a_length_is_known(self, state):
        insert(state, published(1, "a"), record(3))
        removed = replace(published(2, "b"), length=6, removed_at="2026-11-21T10:00:00Z")
        insert(state, removed)

        assert state.has_published("cam", 5)
        assert not state.has_published("cam", 6)
        assert not state.has_published("dog", 5)

    def test_what_a_device_has_completed_of_some_lengths_is_known_though_it_was_removed(
        self, state
    ):
        removed = replace(published(2, "b"), name="b", length=6, removed_at="2026-11-21T10:00:00Z")
        insert(state, replace(published(1, "a"), name="a"), removed, record(3))
        insert(state, replace(published(4, "c"), length=7))

        assert sorted(state.completed("cam", [5, 6])) == [(5, "a"), (6, "b")]
        assert state.completed("dog", [5, 6]) == []
        assert state.completed("cam", []) == []

    def test_a_repeated_upload_has_the_receipt_of_the_first(self, state):
        insert(state, published(1, "a"), published(2, "a", by=1), published(3, "c"))

        found = {(int(one.upload_id, 16), one.published_as) for one in state.receipts()}

        assert found == {(1, "a"), (3, "c")}

    def test_a_target_is_somebodys(self, state):
        insert(state, published(1, "a"), record(2, state=State.PUBLISHING, target="b"))

        assert state.has_target("a")
        assert state.has_target("b")
        assert not state.has_target("a", besides=record(1).id)
        assert not state.has_target("c")

    def test_only_what_is_on_its_way_there_is_being_published(self, state):
        insert(state, published(1, "a"), record(2, state=State.PUBLISHING, target="b"))

        assert state.is_being_published("b", besides=record(1).id)
        assert not state.is_being_published("b", besides=record(2).id)
        assert not state.is_being_published("a", besides=record(2).id)

    def test_a_target_is_used_again_by_a_later_upload_only(self, state):
        first = published(1, "a")
        insert(state, first, replace(published(2, "a"), touched_s=9.0), published(3, "a", by=1))
        assert not state.is_used_since("a", first)

        assert not state.is_published_over(first.receipt)

        insert(state, record(4, state=State.PUBLISHING, target="a", touched_s=1.0))
        assert state.is_used_since("a", first)
        assert state.is_published_over(first.receipt)
        assert not state.is_published_over(replace(first.receipt, upload_id="f" * 32))

    def test_the_newest_reading_of_a_file_counts(self, state):
        old = Reading(record(1).id, "identity", DIGEST, "run", 1.5, "2026-12-01")
        new = replace(old, identity="other", digest=Digest.of(b"rotten"))
        for reading in (old, new):
            state.run(lambda rows, reading=reading: rows.save_reading(reading))

        assert state.reading(record(1).id) == new
        assert state.reading(record(2).id) is None

    def test_old_files_are_due_in_pages_by_either_clock(self, state):
        insert(
            state,
            published(1, "a", verified_at="2026-11-02"),
            published(2, "b", verified_at="2026-11-01"),
            published(3, "c", verified_at="2026-11-02"),
            published(4, "a", by=1, verified_at="2026-11-02"),
            replace(published(5, "e", verified_at="2026-11-01"), touched_s=99.0),
            published(6, "f", verified_at="2026-12-01"),
        )

        first = state.due_for_removal("2026-11-20", 10.0, after=("", ""), limit=2)
        after = (first[-1][1].verified_at, first[-1][0].id)
        second = state.due_for_removal("2026-11-20", 10.0, after=after, limit=2)

        assert [int(one.id, 16) for one, _ in first + second] == [2, 1, 3]
        assert state.newest_verified_at(since_s=10.0) == "2026-12-01"
        assert state.newest_verified_at(since_s=50.0) == "2026-11-01"
        assert state.newest_verified_at(since_s=100.0) is None

    def test_a_removed_file_has_no_receipt_any_more_whoever_was_given_it(self, state):
        first, repeated = published(1, "a"), published(2, "a", by=1)
        insert(state, first, repeated, published(3, "c"))
        removal = Removal("a", first.id, "identity")

        state.run(lambda rows: rows.mark_removed(first, removal, "2026-12-01"))

        assert state.removals() == [removal]
        assert {state.get(one.id).removed_at for one in (first, repeated)} == {"2026-12-01"}
        assert [one.published_as for one in state.receipts()] == ["c"]
        assert [one.published_as for one in state.receipts("c")] == ["c"]
        assert state.receipts("a") == []
        assert state.published(record(9), 5, DIGEST) == [published(3, "c")]
        state.run(lambda rows: rows.end_removal("a"))
        assert state.removals() == []


class TestTransactions:
    def test_a_job_that_raises_stores_nothing_and_is_told_why(self, state):
        def job(rows):
            rows.insert(record(1))
            assert rows.find(record(1).id) == record(1)
            raise Refused("not-open", "no")

        with pytest.raises(Refused, match="not-open"):
            state.run(job)
        with pytest.raises(Refused, match="not-open"):
            state.submit(job).result(10)
        assert state.find(record(1).id) is None

    def test_nobody_sees_what_is_not_committed(self, state):
        seen, gate = threading.Event(), threading.Event()

        def job(rows):
            rows.insert(record(1))
            seen.set()
            assert gate.wait(10)

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(state.run, job)
            assert seen.wait(10)
            assert state.find(record(1).id) is None
            gate.set()
            running.result(10)
        assert state.find(record(1).id) == record(1)

    def test_jobs_of_many_threads_follow_each_other(self, state):
        def add(rows):
            rows.set_uptime(rows.uptime_s() + 1)

        with ThreadPoolExecutor(8) as pool:
            for future in [pool.submit(state.run, add) for _ in range(40)]:
                future.result(10)
        for future in [state.submit(add) for _ in range(10)]:
            future.result(10)

        assert state.uptime_s() == 50.0
        commits, jobs = state.commits()
        assert commits <= jobs == 50

    def test_what_goes_along_is_stored_with_the_next_commit_or_at_the_end(self, state):
        first = state.submit_along(lambda rows: rows.insert(record(1)))
        state.run(lambda rows: rows.insert(record(2)))
        first.result(10)
        assert state.find(record(1).id) == record(1)

        last = state.submit_along(lambda rows: rows.insert(record(3)))
        state.close()
        last.result(10)

    def test_after_the_end_jobs_are_refused_and_earlier_ones_are_stored(self, state):
        job = state.submit(lambda rows: rows.insert(record(1)))

        state.close()
        state.close()

        job.result(10)
        for late in (state.run, state.submit):
            with pytest.raises(Refused, match="stopping"):
                late(lambda _: None)


class TestClaims:
    def recorded(self, state, claim, stop: int) -> UploadRecord:
        """Record up to *stop* under *claim*."""

        def job(rows):
            found = rows.get_claimed(claim)
            kept = replace(found, received=RangeSet([ByteRange(0, stop)]))
            rows.save(kept)
            return kept

        return state.run(job)

    def test_a_claim_shows_the_upload_and_lets_record(self, state):
        insert(state, record(1))

        claim, found = state.claim(record(1).id, WHOLE)

        assert found == record(1)
        assert self.recorded(state, claim, 5) == state.get(record(1).id)

    def test_an_older_claim_records_nothing_any_more(self, state):
        insert(state, record(1))
        old, _ = state.claim(record(1).id, WHOLE)
        self.recorded(state, old, 1)

        new, found = state.claim(record(1).id, ByteRange(99, 200))

        assert new.epoch > old.epoch
        assert found.received.to_pairs() == [[0, 1]]
        with pytest.raises(Refused, match="superseded"):
            self.recorded(state, old, 2)
        assert self.recorded(state, new, 3).received.to_pairs() == [[0, 3]]

    def test_a_run_has_newer_epochs_than_the_one_before_whatever_that_recorded(self, state):
        insert(state, record(1))
        state.begin_run()
        claims = [state.claim(record(1).id, WHOLE)[0] for _ in range(3)]

        state.begin_run()

        assert state.claim(record(1).id, WHOLE)[0].epoch > max(one.epoch for one in claims)

    def test_claims_that_do_not_touch_stand_side_by_side(self, state):
        insert(state, record(1), record(2))
        claims = [
            state.claim(upload, where)[0]
            for upload, where in [
                (record(1).id, ByteRange(0, 10)),
                (record(1).id, ByteRange(10, 20)),
                (record(2).id, ByteRange(0, 10)),
            ]
        ]

        for claim in claims:
            self.recorded(state, claim, 5)

    def test_what_was_let_go_records_nothing(self, state):
        insert(state, record(1))
        ended, _ = state.claim(record(1).id, ByteRange(0, 10))
        released, _ = state.claim(record(1).id, ByteRange(10, 20))
        state.release(released)
        state.release(released)
        state.end_claims(record(1).id)

        for claim in (ended, released):
            with pytest.raises(Refused, match="superseded"):
                self.recorded(state, claim, 5)

    def test_a_claim_of_an_upload_that_ended_records_nothing(self, state):
        insert(state, record(1))
        claim, _ = state.claim(record(1).id, WHOLE)
        state.run(lambda rows: rows.save(record(1, state=State.ABORTED)))

        with pytest.raises(Refused, match="upload-aborted"):
            self.recorded(state, claim, 5)
        with pytest.raises(Refused, match="upload-not-found"):
            state.claim("f" * 32, WHOLE)

    def test_a_claim_waits_for_what_is_being_recorded_under_an_older_one(self, state):
        insert(state, record(1))
        old, _ = state.claim(record(1).id, WHOLE)
        checked, gate = threading.Event(), threading.Event()

        def slow(rows):
            found = rows.get_claimed(old)
            checked.set()
            assert gate.wait(10)
            rows.save(replace(found, received=RangeSet([ByteRange(0, 5)])))

        with ThreadPoolExecutor(2) as pool:
            recording = pool.submit(state.run, slow)
            assert checked.wait(10)
            taking = pool.submit(state.claim, record(1).id, WHOLE)
            assert not taking.done()
            gate.set()
            recording.result(10)
            _, found = taking.result(10)

        assert found.received.to_pairs() == [[0, 5]]

    def test_a_claim_costs_no_durable_commit(self, state):
        insert(state, record(1))
        before = state.commits()

        claims = [state.claim(record(1).id, WHOLE)[0] for _ in range(3)]
        state.release(claims[-1])
        state.end_claims(record(1).id)

        assert state.commits() == before


class TestLeases:
    def test_a_lease_is_one_servers_until_it_ends(self, state):
        lease = state.take_lease("finish", 60)

        assert state.take_lease("finish", 60) is None
        assert state.take_lease("another", 60) is not None
        assert state.keep_lease(lease, 60)
        assert state.run(lambda transaction: transaction.is_leased(lease))

        state.end_lease(lease)
        state.end_lease(lease)
        again = state.take_lease("finish", 60)
        assert again not in {None, lease}
        assert not state.keep_lease(lease, 60)
        assert not state.run(lambda transaction: transaction.is_leased(lease))

    def test_who_had_a_lease_before_ends_nobody_elses(self, state):
        first = state.take_lease("finish", 60)
        state.end_lease(first)
        second = state.take_lease("finish", 60)

        state.end_lease(first)

        assert state.run(lambda transaction: transaction.is_leased(second))


class TestEvents:
    TYPES = frozenset({events.CREATED, events.COMPLETED})

    def told(self, state, target="ops") -> list[str]:
        """Take everything in and deliver it; returns the types."""
        state.outbox.take_in(target, events.TYPES)
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
        assert state.outbox.take_in("ops", self.TYPES) == 1
        assert state.outbox.take_in("ops", self.TYPES) == 0
        assert state.outbox.take_in("nobody", self.TYPES) == 0

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
        state.outbox.take_in("ops", events.TYPES)

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
            state.outbox.take_in(target, events.TYPES)
        missed = state.outbox.next("ops")
        state.outbox.later(missed, 50.0, f"{NOT_REACHED}nobody listens")
        state.outbox.later(state.outbox.next("ops"), 60.0, "it answered 500")
        state.outbox.later(state.outbox.next("others"), 70.0, f"{NOT_REACHED}nobody listens")

        state.outbox.reached("ops")

        waits = [(one.target, one.tries, one.next_try_s) for one in state.outbox.listing()]
        assert sorted(waits) == [
            *[("ops", 0, 0.0), ("ops", 1, 60.0), ("others", 0, 0.0), ("others", 1, 70.0)]
        ]

    def test_what_is_due_comes_in_the_order_in_which_it_happened(self, state):
        state.outbox.register("ops")
        insert(state, record(1), record(2))
        state.run(lambda rows: rows.save(record(1, state=State.ABORTED)))
        state.run(lambda rows: rows.save(record(2, state=State.ABORTED)))
        state.outbox.take_in("ops", events.TYPES)

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

    def test_what_was_given_up_is_told_again_when_somebody_says_so(self, state):
        state.outbox.register("ops")
        insert(state, record(1), record(2))
        state.outbox.take_in("ops", events.TYPES)
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
            state.outbox.take_in(target, events.TYPES)

        assert state.outbox.keep_only({"ops"}) == {"gone": 1}

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
        state.outbox.take_in("ops", {events.CREATED})
        insert(state, record(2))
        for kind in (events.STORAGE_LOW, events.STORAGE_RECOVERED):
            state.run(lambda rows, kind=kind: rows.tell_of_server(kind, {}))
        state.run(lambda rows: rows.set_uptime(100.0))
        state.outbox.take_in("ops", set())
        insert(state, record(3))

        state.run(lambda rows: rows.forget_events(50.0))

        assert state.last_of({events.STORAGE_LOW}) is None
        assert state.last_of(events.STORAGE) == events.STORAGE_RECOVERED
        assert state.last_of({events.CREATED}, subject=record(2).id) is None
        state.outbox.take_in("ops", events.TYPES)
        subjects = {one.event.subject for one in state.outbox.listing()}
        assert subjects == {record(1).id, record(3).id}

    def test_old_events_that_a_target_has_not_taken_in_yet_are_kept_for_it(self, state):
        state.outbox.register("ops")
        insert(state, record(1))
        state.outbox.register("later")
        state.outbox.take_in("later", set())
        state.run(lambda rows: rows.set_uptime(100.0))

        assert state.run(lambda rows: rows.forget_events(200.0)) == 0
        state.outbox.take_in("ops", events.TYPES)

        assert [one.event.subject for one in state.outbox.listing()] == [record(1).id]


class TestAccess:
    def add(self, state, token_id: str, device="cam", **more) -> TokenRecord:
        token = replace(
            TOKEN, token_id=token_id, device=device, token_hash=token_id.encode(), **more
        )
        state.access.add_token(token)
        return token

    def test_tokens_are_added_found_and_revoked(self, state):
        first = self.add(state, "t1")
        self.add(state, "t2", expires_at=None, scopes=())
        self.add(state, "t3", "dog")

        assert state.access.find_token(b"t1") == state.access.token("t1") == first
        assert state.access.find_token(b"nobody") is None
        assert state.access.token("nobody") is None
        assert [token.token_id for token in state.access.tokens()] == ["t1", "t2", "t3"]
        assert state.access.revoke("t3") == 1
        assert state.access.revoke("cam") == 2
        assert state.access.revoke("cam") == 0
        assert state.access.tokens() == []

    def test_a_use_is_noted(self, state):
        self.add(state, "t1")
        state.access.touch_token("t1", "2026-11-21T10:00:00Z")
        state.access.touch_token("nobody", "2026-11-21T10:00:00Z")

        assert state.access.token("t1").last_used_at == "2026-11-21T10:00:00Z"

    def test_a_token_is_there_once(self, state):
        self.add(state, "t1")

        with pytest.raises(StateFailed):
            self.add(state, "t1")

    def test_a_successor_takes_the_place_once_it_is_used(self, state):
        old = self.add(state, "t1")
        after = [
            replace(old, token_id=token_id, token_hash=token_id.encode(), replaces="t1")
            for token_id in ("t2", "t3")
        ]
        assert all(state.access.succeed(old, new) for new in after)
        assert [one.token_id for one in state.access.tokens()] == ["t1", "t3"]

        assert state.access.confirm_token("t3")

        assert [one.replaces for one in state.access.tokens()] == [None]
        assert not state.access.confirm_token("t1")
        assert not state.access.succeed(old, replace(after[-1], token_id="t4", token_hash=b"t4"))

    def test_a_revoked_token_takes_its_successor_with_it(self, state):
        old = self.add(state, "t1")
        state.access.succeed(
            old, replace(old, token_id="t2", device="x", token_hash=b"2", replaces="t1")
        )

        assert state.access.revoke("t1") == 2

    def claim(
        self, state, device: str, *, serial="s", token_id=None, since="2026-11-21", at="2026-11-22"
    ):
        token_id = token_id or f"token-{device}"
        token = replace(TOKEN, token_id=token_id, device=device, token_hash=token_id.encode())
        wanted = Claimed(device, "c1", serial, at, token_id)
        return state.access.claim(wanted, token, repeat_since=since)

    def test_a_claim_token_is_for_so_many_devices(self, state):
        state.access.add_claim(CLAIM, b"hash")
        state.outbox.register("ops")

        assert self.claim(state, "one") is None
        assert self.claim(state, "two") is None
        assert self.claim(state, "three") == "used-up"

        assert state.access.find_claim(b"hash") == replace(CLAIM, used=2)
        assert state.access.find_claim(b"other") is None
        assert state.access.token("token-one").device == "one"
        state.outbox.take_in("ops", events.TYPES)
        told = [one.event for one in state.outbox.listing()]
        assert [(one.type, one.device) for one in told] == [
            (events.CLAIMED, "one"), (events.CLAIMED, "two")
        ]  # fmt: skip
        assert told[0].data == {"device": "one", "claim_id": "c1", "serial": "s"}

    def test_a_device_is_claimed_once_unless_the_answer_was_lost(self, state):
        state.access.add_claim(CLAIM, b"hash")
        self.claim(state, "one")

        assert self.claim(state, "one", serial="other") == "claimed"
        assert self.claim(state, "one", since="2026-11-23") == "claimed"
        assert self.claim(state, "one", token_id="again") is None
        assert self.claim(state, "one", token_id="third") is None
        assert [one.token_id for one in state.access.tokens()] == ["third", "token-one"]
        assert state.access.confirm_token("third")  # used
        assert self.claim(state, "one", token_id="fourth") == "claimed"
        assert [one.token_id for one in state.access.tokens()] == ["third"]
        assert state.access.find_claim(b"hash").used == 1

    def test_a_repeated_claim_takes_nothing_from_a_token_in_use(self, state):
        state.access.add_claim(CLAIM, b"hash")
        self.claim(state, "one")
        self.claim(state, "one", token_id="thiefs")

        state.access.touch_token("token-one", "2026-11-22")

        assert [one.token_id for one in state.access.tokens()] == ["token-one"]
        assert not state.access.confirm_token("thiefs")
        assert self.claim(state, "one", token_id="later") == "claimed"

    def test_a_later_use_ends_no_rotation(self, state):
        old = self.add(state, "t1")
        state.access.touch_token("t1", "2026-11-21")
        new = replace(old, token_id="t2", token_hash=b"t2", replaces="t1")
        state.access.succeed(old, new)

        state.access.touch_token("t1", "2026-11-22")

        assert [one.token_id for one in state.access.tokens()] == ["t1", "t2"]

    def test_a_device_with_a_token_of_the_operators_is_not_claimed(self, state):
        state.access.add_claim(CLAIM, b"hash")
        self.add(state, "t1", "one")

        assert self.claim(state, "one") == "claimed"

    def test_a_claim_token_that_ended_is_good_for_nothing(self, state):
        state.access.add_claim(CLAIM, b"hash")

        assert state.access.revoke_claim("c1", "2026-12-01")
        assert not state.access.revoke_claim("c1", "2026-12-02")
        assert not state.access.revoke_claim("none", "2026-12-02")

        assert state.access.claims() == [replace(CLAIM, revoked_at="2026-12-01")]
        assert self.claim(state, "one") == "gone"


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
