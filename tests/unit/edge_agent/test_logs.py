"""A line of the agent's log, whatever is in it."""

import io
import logging

import structlog

from edge_agent import logs
from edge_host.logs import set_level


def test_a_hostile_name_stays_in_one_line_and_sends_nothing_to_a_terminal(log_lines):
    hostile = 'a\x1b[2J\n{"event":"forged"}\udcff'
    stream = io.StringIO()

    structlog.get_logger().info("upload.seen", path=hostile)
    lines = log_lines()
    logs.configure("info", "console", stream)
    structlog.get_logger().info("upload.seen", path=hostile)

    assert [line["path"] for line in lines] == [hostile]
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_the_level_changes_for_loggers_that_exist_already(log_lines):
    log = structlog.get_logger()
    log.debug("a.b")
    set_level("debug")
    log.debug("c.d")
    set_level("error")
    log.warning("e.f")

    assert [line["event"] for line in log_lines()] == ["c.d"]


def test_libraries_speak_through_our_log_and_quietly(log_lines):
    logging.getLogger("httpx").info("GET https://server/secret")
    logging.getLogger("paho").warning("hm %s", "there")

    (line,) = log_lines()
    assert (line["event"], line["logger"], line["message"]) == ("library.said", "paho", "hm there")
