"""The emulated links: what is drawn from a seed, and what is read from a run."""

import random
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import links_plot
from benchmarks.linkem import schedule
from benchmarks.linkem.profiles import PROFILES, both
from benchmarks.links import returns
from benchmarks.links_cases import cases


def row(t_s, is_up, payload, capacity=0.0):
    return links_plot.Row(t_s, is_up, capacity, payload, payload)


@pytest.mark.slow
def test_a_seed_draws_the_same_link_twice_and_another_seed_another():
    first, again, other = (schedule.rate_walk(1, 20, random.Random(seed)) for seed in "aab")

    assert first == again
    assert first != other


def test_a_rate_that_wanders_stays_within_its_bounds():
    times = schedule.rate_walk(1, 20, random.Random("seed"))

    per_s = [0] * (times[-1] // 1000)
    for ms in times:
        per_s[(ms - 1) // 1000] += 1  # an opportunity at 1000 ms ends the first second
    mbit = [count * schedule.OPPORTUNITY_BYTES * 8 / 1e6 for count in per_s]
    assert min(mbit) >= 1 - 0.02
    assert max(mbit) <= 20 + 0.02


@pytest.mark.parametrize(("loss", "burst"), [(0.01, 2), (0.015, 4), (0.5, 8)])
def test_bursts_lose_as_much_on_average_as_is_asked_for(loss, burst):
    enter, leave, bad, good = map(float, schedule.gilbert(loss, burst).split(":"))

    assert enter / (enter + leave) * bad + good == pytest.approx(loss)
    assert 1 / leave == burst


def test_outages_repeat_are_random_or_listed():
    rng = random.Random("seed")

    assert schedule.outages("20:40", rng) == ([(20.0, 60.0)], 60.0)
    assert schedule.outages("12-15,40-60", rng) == ([(12.0, 15.0), (40.0, 60.0)], 0)
    drawn, period_s = schedule.outages("~25:0.5-4", rng)
    assert period_s == 0
    assert all(0.5 <= stop - start <= 4 for start, stop in drawn)


def test_outages_that_overlap_are_refused():
    with pytest.raises(ValueError, match="overlap"):
        schedule.outages("1-5,4-6", random.Random("seed"))


def test_a_trace_that_runs_backwards_is_none(tmp_path):
    trace = tmp_path / "x.up"
    trace.write_text("1\n5\n3\n")

    with pytest.raises(ValueError, match="not a delivery trace"):
        schedule.read_trace(trace)


def test_a_lone_value_serves_both_directions():
    assert both("20") == ("20", "20")
    assert both("12-30/30-80") == ("12-30", "30-80")


def test_a_return_ends_with_data_and_not_with_a_question():
    rows = [
        row(0.0, True, 0),
        row(1.0, False, 50_000),
        row(3.0, True, 50_000),
        row(3.5, True, 50_200),  # a question
        row(4.25, True, 60_000),
        row(9.0, False, 90_000),  # went and came without any data
        row(9.5, True, 90_000),
        row(10.0, False, 90_000),
    ]

    assert returns(rows) == [1.25]


def test_traces_are_cases_only_where_they_are_given(tmp_path):
    (tmp_path / "train.up").write_text("1\n")

    assert "trace-train" in cases(tmp_path)
    assert not any(name.startswith("trace") for name in cases(None))


def test_a_picture_is_svg_with_a_line_for_each_program():
    case = cases(None)["flyby"]
    rows = [row(t_s, t_s < 20, t_s * 100_000, t_s * 2.5e6) for t_s in range(40)]

    drawn = ElementTree.fromstring(links_plot.draw(case, {"rsync-cubic": rows}))

    lines = drawn.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2  # the link's and the program's
    assert PROFILES["flyby"].note in "".join(drawn.itertext())


def test_the_forwarding_process_is_beside_its_module():
    assert Path(schedule.__file__).with_name("forward.c").exists()
