"""What every store of facts has to keep of a transaction: all of it, or nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ingest_server.core.errors import Refused
from tests.support.state_rows import record


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
