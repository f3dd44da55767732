"""Recorders that pause between two lines: what they were seen to do is waited for from then on."""

from __future__ import annotations

import os

import pytest

from edge_agent.base.reasons import Reason
from edge_agent.core.upload import State
from tests.support.rim import append, sent


def test_a_file_that_grows_after_a_pause_is_waited_for_until_its_end(folder):
    log = folder.write("gps-2026-11-28.csv")
    lengths = []
    for _ in range(8):
        append(folder, log, 9.0)
        lengths += [one.identity.length for one in folder.store.in_states(State.STABLE)]
        for recording in folder.store.in_states(State.STABLE):
            sent(folder, recording)
    while_written = folder.states()
    reason = folder.activity.waits[folder.store.in_states(State.GROWING)[0].id]
    folder.pass_time(60.0)

    assert lengths == [9]
    assert while_written == {log.name: State.GROWING}
    assert reason.reason is Reason.STILL_RECORDING
    assert folder.store.in_states(State.STABLE)[0].identity.length == log.stat().st_size


def test_what_is_named_like_a_file_that_grew_after_a_pause_is_waited_for_from_the_start(folder):
    append(folder, folder.write("gps-2026-11-28.csv"), 9.0)
    folder.settle()
    folder.restart()
    folder.write("gps-2026-11-29.csv")
    folder.write("flight.mp4")
    folder.watcher.wake()
    folder.pass_time(20.0)

    states = folder.states()
    told = folder.activity.waits[folder.named("gps-2026-11-29.csv").id].detail
    assert states["gps-2026-11-29.csv"] is State.SEEN
    assert states["flight.mp4"] is State.STABLE
    assert "grew again after a pause of 9 s: it must be quiet for 45 s" in told
    folder.settle()
    assert folder.states()["gps-2026-11-29.csv"] is State.STABLE


@pytest.mark.parametrize("pause_s", [130.0, 360.0, pytest.param(86_400.0, marks=pytest.mark.slow)])
def test_a_file_that_is_taken_up_again_much_later_waits_no_longer(folder, pause_s):
    append(folder, folder.write("flights.csv"), pause_s)
    folder.pass_time(7.0)

    assert folder.states() == {"flights.csv": State.STABLE}


def test_a_pause_between_two_runs_is_no_pause_of_the_recorder(folder):
    log = folder.write("telemetry.csv")
    folder.settle()
    folder.restart()
    append(folder, log, 60.0)
    folder.pass_time(7.0)

    assert folder.states() == {"telemetry.csv": State.STABLE}


def test_the_longest_pause_makes_a_file_wait_for_three_minutes(folder):
    append(folder, folder.write("log.csv"), 100.0)
    folder.pass_time(170.0)
    before = folder.states()
    folder.pass_time(12.0)

    assert (before, folder.states()) == ({"log.csv": State.SEEN}, {"log.csv": State.STABLE})


def test_what_pauses_no_more_is_waited_for_half_as_long_with_each_file(folder):
    append(folder, folder.write("gps-0.csv"), 16.0)
    folder.pass_time(85.0)
    waited = []
    for number in range(1, 8):
        name = f"gps-{number}.csv"
        folder.write(name)
        folder.watcher.wake()
        folder.pass_time(1.0)
        began = folder.clock.now
        while folder.states()[name] is not State.STABLE:
            folder.pass_time(1.0)
        waited.append(round(folder.clock.now - began))

    assert waited == sorted(waited, reverse=True)
    assert (waited[0] > 75, waited[-1] <= 6) == (True, True)


def test_a_clock_that_is_set_between_two_lines_makes_no_long_pause(folder):
    log = folder.write("gps.csv")
    folder.watcher.wake()
    folder.pass_time(12.0)
    was_ns = log.stat().st_mtime_ns
    log.write_bytes(b"a longer recording")
    os.utime(log, ns=(was_ns, was_ns + 110 * 10**9))
    folder.watcher.wake()
    folder.pass_time(2.0)

    assert 5.0 < folder.settler.pauses.of(os.fsencode(log.resolve())) < 15.0
