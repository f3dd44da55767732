"""What a device did, minute by minute: right, thinned out, and never more than so much."""

import sqlite3
from contextlib import closing

from ingest_server.fleet.history import (
    DAY_S,
    HOUR_S,
    KEPT_RUNS,
    MINUTE_S,
    MOST_BYTES,
    QUARTER_S,
    RUN_S,
    History,
    Sample,
    pack,
    unpack,
)
from ingest_server.storage.interface import Samples
from ingest_server.storage.sqlite.fleet import SqliteFleet
from tests.support.fleet import state

NOON = 20_000 * DAY_S + 12 * HOUR_S


def test_a_hundred_devices_take_at_most_ten_megabytes_a_month():
    assert 100 * 2 * MOST_BYTES < 10_000_000
    assert KEPT_RUNS[MINUTE_S] * RUN_S[MINUTE_S] >= DAY_S
    assert KEPT_RUNS[QUARTER_S] * RUN_S[QUARTER_S] >= 31 * DAY_S


def test_the_bound_is_what_the_database_takes_for_a_month_of_a_hundred_devices(tmp_path):
    fleet = SqliteFleet(tmp_path / "fleet.db")
    runs = [
        Samples(
            f"drone-{device}", step_s, start * RUN_S[step_s], bytes(9 * RUN_S[step_s] // step_s)
        )
        for device in range(100)
        for step_s, kept in KEPT_RUNS.items()
        for start in range(kept)
    ]
    fleet.save({}, {}, runs)
    fleet.close()

    with closing(sqlite3.connect(tmp_path / "fleet.db")) as database:
        [taken] = database.execute(
            "SELECT sum(pgsize) FROM dbstat WHERE name = 'samples'"
        ).fetchone()
    assert taken < 10_000_000


def test_a_sample_comes_back_as_it_went_in():
    samples = [Sample(812_345, 10_240, 1.0), Sample(0, 0, 0.0), Sample(7, 1024, None)]

    assert unpack(b"".join(pack(one) for one in samples)) == samples


def test_a_sample_beyond_all_measure_is_the_most_there_is():
    assert unpack(pack(Sample(2**63, 2**63, 1.0))) == [Sample(2**32 - 1, (2**32 - 1) * 1024, 1.0)]


def test_minutes_are_written_as_they_come_and_quarters_at_their_end():
    history = History.begun("drone-1", NOON)
    written = [history.note(NOON + 60 * minute, Sample(minute, 0, 1.0)) for minute in range(15)]

    assert [[one.step_s for one in each] for each in written] == [[60]] * 14 + [[60, 900]]
    quarter = unpack(written[-1][1].packed)[48]
    assert quarter == Sample(7, 0, 1.0)


def test_a_new_hour_begins_a_new_run():
    history = History.begun("drone-1", NOON + 59 * 60)
    [first] = history.note(NOON + 59 * 60, Sample(1, 0, 1.0))[:1]
    [second] = history.note(NOON + 60 * 60, Sample(2, 0, 1.0))[:1]

    assert (first.start_s, second.start_s) == (NOON, NOON + HOUR_S)
    assert unpack(second.packed)[0].rate_bytes_per_s == 2
    assert {one.online for one in unpack(second.packed)[1:]} == {None}


def test_a_clock_that_is_set_writes_where_it_says_and_stops_nothing():
    history = History.begun("drone-1", NOON)
    for at_s in (NOON, NOON - 40 * DAY_S, NOON + 400 * DAY_S, 0, NOON):
        written = history.note(at_s, Sample(1, 0, 1.0))

        assert written[0].start_s == at_s - at_s % HOUR_S


def test_what_a_device_did_is_kept_though_the_clock_of_the_server_was_ahead_for_a_day(fleet):
    now = fleet.clock.now_utc()
    fleet.clock.set_wall(now.replace(year=now.year + 10), synchronised=True)
    fleet.report(next_s=3600)
    fleet.pass_s(30 * HOUR_S, step_s=60)

    fleet.clock.set_wall(now, synchronised=True)
    fleet.report(next_s=3600)
    fleet.pass_s(5 * HOUR_S, step_s=60)

    told = fleet.operations.past.history("drone-1", 24)["presence"]
    known = sum(one is not None for one in told)
    assert known >= 60 * 4


def test_availability_is_of_the_time_that_the_server_ran():
    history = History.begun("drone-1", NOON)
    assert history.availability() is None
    for minute in range(30):
        history.note(NOON + 60 * minute, Sample(0, 0, 1.0 if minute < 15 else 0.0))

    assert history.availability() == 0.5


def test_availability_goes_back_seven_days():
    history = History.begun("drone-1", NOON)
    for day in range(10):
        online = 1.0 if day >= 3 else 0.0
        for quarter in range(4):
            history.note(NOON + day * DAY_S + quarter * QUARTER_S, Sample(0, 0, online))

    assert history.availability() == 1.0


def test_a_device_is_written_down_each_minute_and_shown(fleet):
    for _ in range(4):
        fleet.report(state=state(rate_bytes_per_s=1000, queue={"files": 1, "bytes": 4096}))
        fleet.pass_s(30)
    fleet.pass_s(300)

    found = fleet.operations.past.history("drone-1", 1)
    known = [
        (rate, pending, online)
        for rate, pending, online in zip(
            found["rate"], found["pending"], found["presence"], strict=True
        )
        if online is not None
    ]

    assert (found["step_s"], len(found["rate"])) == (60, 60)
    assert known[:2] == [(1000, 4096, 1.0)] * 2
    assert known[-1] == (0, 4096, 0.0)


def test_history_and_availability_go_on_after_a_restart(fleet, make_fleet):
    fleet.report(next_s=7200)
    fleet.pass_s(20 * 60)
    before = fleet.operations.past.history("drone-1", 1)
    fleet.worker.stop()

    after = make_fleet(fleet.store)
    after.clock.pass_s(fleet.clock.now_s() - after.clock.now_s())

    assert after.row()["availability_7d"] == 1.0
    found = after.operations.past.history("drone-1", 1)
    assert found["rate"] == before["rate"]
