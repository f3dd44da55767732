"""A log that cannot be written ends nobody who logs."""

import json
import logging

import pytest
import structlog

from edge_host import logs

FINISH = [structlog.processors.JSONRenderer()]


@pytest.fixture
def as_before():
    before, level = structlog.get_config(), logging.getLogger().level
    yield
    structlog.configure(**before)
    logging.getLogger().setLevel(level)


@pytest.mark.usefixtures("as_before")
def test_a_log_on_a_full_disk_or_closed_ends_nobody_who_logs():
    full = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115 - closed below, with an error
    logs.configure("info", "json", stream=full, json=FINISH, console=FINISH)

    for _ in range(1000):
        structlog.get_logger().info("thing.done", filler="x" * 1000)
    with pytest.raises(OSError, match="space"):
        full.close()  # what it could not write it says now, to us
    structlog.get_logger().info("thing.done")


class Unspeakable:
    def __str__(self):
        raise ValueError("no words")

    __repr__ = __str__


def test_a_line_begins_with_what_happened_and_ends_with_when():
    event = {"path": "a", "level": "info", "timestamp": "t", "event": "thing.done"}

    line = logs.json_line(event)

    assert line == '{"event":"thing.done","level":"info","path":"a","timestamp":"t"}'


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), Unspeakable(), {1: {2}}, b"\xff", "\udc80\n\u2028", [[[]]]],
)
def test_a_line_is_json_of_one_line_whatever_the_value(value):
    looped: list[object] = []
    looped.append(looped)

    for one in (value, [value], {"in": value}, looped):
        line = logs.json_line({"event": "thing.done", "value": one})

        assert json.loads(line, parse_constant=pytest.fail)["event"] == "thing.done"
        assert line.isascii()
        assert line.isprintable()


@pytest.mark.parametrize(
    "more",
    [{"value": "x" * 10**6}, {"value": [["x"] * 10**5]}, {f"key{n}": "x" * 99 for n in range(999)}],
)
def test_a_line_is_short_enough_for_the_journal_to_keep_it_whole(more):
    line = logs.json_line({"event": "thing.done", "level": "info", **more})

    assert len(line) < 48 * 1024
    assert json.loads(line)["event"] == "thing.done"
