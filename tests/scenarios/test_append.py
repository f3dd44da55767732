"""Of a file that is written on after it was sent only what is new goes; whatever befalls it, the copy is true."""

from __future__ import annotations

import os
import random

import pytest

from edge_agent.core.upload import State
from tests.support.lane import scene
from tests.support.link import Fault

MIB = 1024 * 1024
DATA = random.Random(1).randbytes(3 * MIB + 5000)
TAIL = random.Random(2).randbytes(40_000)
HEADS = 4000
"""What the requests' own documents take, at most."""


@pytest.fixture
def made(tmp_path):
    with scene(tmp_path) as found:
        found.lane.appends = lambda recording: recording.name.endswith(".csv")
        yield found


def sent(made, work):
    before = made.link.body_bytes
    work()
    made.lane.run()
    return made.link.body_bytes - before


def contents(made):
    return sorted(made.published().values(), key=len)


def begin(made, data=DATA):
    recording = made.lane.record("log.csv", data)
    made.lane.run()
    return recording


def test_only_the_tail_goes_and_both_contents_are_published(made):
    first = begin(made)

    count = sent(made, lambda: made.lane.write_on(first, TAIL))

    assert count - len(TAIL) in range(HEADS)
    assert contents(made) == [DATA, DATA + TAIL]


def test_nobody_asked_for_it_then_all_of_it_goes(made):
    made.lane.appends = lambda _: False
    first = begin(made)

    count = sent(made, lambda: made.lane.write_on(first, TAIL))

    assert count > len(DATA)
    assert contents(made) == [DATA, DATA + TAIL]


def test_a_header_that_was_written_again_costs_its_block(made):
    first = begin(made)
    with open(first.path, "r+b") as file:
        file.write(b"closed properly")

    count = sent(made, lambda: made.lane.write_on(first, TAIL))

    assert count - len(TAIL) - MIB in range(HEADS)
    assert contents(made)[1] == b"closed properly" + DATA[15:] + TAIL


def test_a_log_that_was_begun_anew_and_is_longer_by_now_goes_whole_once(made):
    first = begin(made)
    other = random.Random(3).randbytes(4 * MIB)
    with open(first.path, "wb") as file:
        file.write(other)

    count = sent(made, lambda: made.lane.write_on(first, TAIL))

    assert count - len(other + TAIL) in range(HEADS)
    assert contents(made)[1] == other + TAIL


def test_a_log_that_was_begun_anew_and_is_shorter_is_a_file_like_any_other(made):
    first = begin(made)
    os.truncate(first.path, 0)

    count = sent(made, lambda: made.lane.write_on(first, TAIL))

    assert count - len(TAIL) in range(HEADS)
    assert contents(made) == [TAIL, DATA]


def test_what_is_written_while_it_is_sent_costs_nothing_that_was_sent(made):
    first = begin(made)
    second = made.lane.write_on(first, DATA)
    made.link.script(Fault(cut_after=MIB), only="PUT")
    before = made.link.body_bytes
    made.lane.run(until=lambda: made.link.body_bytes - before >= MIB)
    with open(second.path, "ab") as file:
        file.write(TAIL)
    made.lane.run(until=lambda: made.lane.now(second).state is State.SEEN)
    made.lane.settle(second)
    made.lane.run()

    assert made.link.body_bytes - before - len(DATA + TAIL) in range(300_000)
    assert contents(made)[1] == DATA + DATA + TAIL


def test_a_first_content_that_is_written_on_while_it_is_sent_goes_on(made):
    first = made.lane.record("log.csv", DATA)
    made.link.script(Fault(cut_after=2 * MIB), only="PUT")
    made.lane.run(until=lambda: made.link.body_bytes >= 2 * MIB)
    with open(first.path, "ab") as file:
        file.write(TAIL)
    made.lane.run(until=lambda: made.lane.now(first).state is State.SEEN)
    made.lane.settle(first)
    made.lane.run()

    assert made.link.body_bytes - len(DATA + TAIL) in range(300_000)
    assert contents(made) == [DATA + TAIL]


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault(lose_request=True), Fault(lose_answer=True)])
@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
def test_a_lost_request_or_answer_costs_nothing_that_is_there(made, method, fault):
    first = begin(made)
    made.link.script(fault, only=method)

    count = sent(made, lambda: made.lane.write_on(first, TAIL))

    assert count - len(TAIL) in range(len(TAIL) + HEADS)
    assert contents(made) == [DATA, DATA + TAIL]


@pytest.mark.slow
def test_a_device_that_loses_its_power_after_any_step_sends_no_more_than_the_tail(made):
    latest, data = begin(made), DATA
    for steps in range(1, 9):
        before = made.link.body_bytes
        latest, data = made.lane.write_on(latest, TAIL), data + TAIL
        for _ in range(steps):
            made.lane.step()
        made.lane.restart()
        made.lane.run()

        assert made.lane.now(latest).state is State.VERIFIED
        assert made.link.body_bytes - before - len(TAIL) in range(HEADS)
    assert contents(made) == [data[: len(DATA) + n * len(TAIL)] for n in range(9)]


def test_a_server_that_knows_nothing_of_it_gets_all_bytes(made):
    first = begin(made)
    made.server.receiver._seeding.fill = lambda *_: None

    count = sent(made, lambda: made.lane.write_on(first, TAIL))

    assert count > len(DATA)
    assert contents(made) == [DATA, DATA + TAIL]


def test_damage_in_the_published_file_costs_its_block_and_is_not_published_again(made):
    first = begin(made)
    [path] = [one for one in (made.server.data_dir / "published").rglob("*") if one.is_file()]
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"rotten")

    count = sent(made, lambda: made.lane.write_on(first, TAIL))

    assert count - len(TAIL) - MIB in range(HEADS)
    assert contents(made)[1] == DATA + TAIL
