"""A log that cannot be written ends nobody who logs."""

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
