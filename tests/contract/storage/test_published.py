"""What every store of facts has to know about published files."""

from dataclasses import replace

from ingest_server.core.record import State
from ingest_server.storage.interface import Reading, Removal
from tests.support.state_rows import DIGEST, insert, published, record
from upload_protocol.digests import Digest


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
