"""Who may record a range, and who has taken something over for a while, in every store of facts."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ingest_server.core.errors import Refused
from ingest_server.core.record import State, UploadRecord
from tests.support.state_rows import WHOLE, insert, record
from upload_protocol.ranges import ByteRange, RangeSet


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

    @pytest.mark.parametrize(
        "end",
        [State.COMPLETE, State.FAILED, State.EXPIRED, State.ABORTED],
        ids=lambda one: one.value,
    )
    def test_with_an_upload_its_claims_end_and_no_others(self, state, end):
        insert(state, record(1), record(2))
        for upload in (record(1), record(2)):
            for start in (0, 10, 20):
                state.claim(upload.id, ByteRange(start, start + 10))
        assert state.count_claims(record(1).id) == 3

        state.run(lambda rows: rows.save(record(1, state=State.VERIFYING)))
        assert state.count_claims(record(1).id) == 3
        state.run(lambda rows: rows.save(record(1, state=end)))

        assert state.count_claims(record(1).id) == 0
        assert state.count_claims(record(2).id) == 3

    def test_claims_that_were_taken_over_or_let_go_count_no_more(self, state):
        insert(state, record(1))
        claims = [state.claim(record(1).id, ByteRange(at, at + 10))[0] for at in (0, 10, 20)]
        state.claim(record(1).id, ByteRange(5, 15))
        assert state.count_claims(record(1).id) == 2

        state.release(claims[-1])

        assert state.count_claims(record(1).id) == 1

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
            # Where several share the state nobody waits, but one of the two is run again, and sees the other.
            assert state.is_shared or not taking.done()
            gate.set()
            is_refused = isinstance(recording.exception(10), Refused)
            _, found = taking.result(10)

        assert found.received.to_pairs() == ([] if is_refused else [[0, 5]])
        assert state.is_shared or not is_refused

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
