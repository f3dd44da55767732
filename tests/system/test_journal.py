"""What a real journal has of both programs: priorities, one JSON object a line, what happened first."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from functools import partial
from typing import Any

import pytest

from tests.support.journal import Journal, journal
from tests.support.processes import Agent, Server, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


@pytest.fixture(scope="module")
def book():
    with journal() as made:
        yield made


def said(book: Journal, who: str, *arguments: str) -> list[dict[str, Any]]:
    """Return the lines of *who* as the JSON objects that they are, each with its priority."""
    found = book.lines(who, *arguments)
    assert all(one["MESSAGE"].startswith('{"event":"') for one in found), found
    return [{**json.loads(one["MESSAGE"]), "PRIORITY": int(one["PRIORITY"])} for one in found]


@pytest.mark.parametrize("program", ["edge_agent", "ingest_server"])
def test_whatever_python_and_libraries_say_is_a_line_with_its_priority(book, program):
    who = f"{program}-all"
    level, warns = ("level='info', form='auto'", "ingest_server")
    configure = f"logs.configure({level})" if program == warns else "logs.configure('info', 'auto')"
    script = f"""
import logging, sys, threading, warnings
import structlog
from {program} import logs
from edge_host.logs import speak_in_lines
from edge_host.command_line import Program
{configure}
speak_in_lines("auto")
log = structlog.get_logger()
log.debug("thing.asked")
log.info("thing.done", text="two\\nlines", number=float("nan"), deep={{1: object()}})
log.info("thing.long", text="x" * 200_000)
warnings.warn("it will go", DeprecationWarning, stacklevel=1)
warnings.warn("look out", RuntimeWarning, stacklevel=1)
logging.getLogger("cheroot").error("a library says %s", "so")
logging.getLogger("paho").warning("a broken %d", "call")
thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()
class Worse:
    def __del__(self): raise ValueError("dropped")
worse = Worse(); del worse
Program("prog", {{}}, frozenset(), "", lambda: None).complain("it cannot go on")
raise RuntimeError("the end")
"""
    with book.stream(who) as (stream, environment):
        done = subprocess.run(
            [sys.executable, "-c", script], stderr=stream, env=environment, timeout=60, check=False
        )

    wait_for(lambda: "the end" in str(book.lines(who)), "all of it is in the journal")
    lines = said(book, who)
    told = {one["event"]: one for one in lines}
    assert done.returncode == 1
    assert [one["PRIORITY"] for one in lines] == [PRIORITY[one["level"]] for one in lines]
    assert "thing.asked" not in told
    assert told["thing.done"]["text"] == "two\nlines"
    assert len(told["thing.long"]["text"]) < 10_000
    assert told["library.warned"]["message"] == "look out"
    assert "library.unsaid" in told
    assert [one["event"] for one in said(book, who, "-p", "err")] == [
        next(
            event
            for event in told
            if event.startswith("library.") and told[event]["level"] == "error"
        ),
        "thread.died",
        "error.dropped",
        "program.failed",
        "program.died",
    ]
    assert "ZeroDivisionError" in told["thread.died"]["exception"]
    assert told["program.failed"]["detail"] == "it cannot go on"
    assert "RuntimeError: the end" in told["program.died"]["exception"]


def is_ready(server: Server) -> bool:
    return server.readiness() == 200


def test_a_running_server_tells_of_requests_at_debug_alone(book, tmp_path):
    quiet, talking = Server(tmp_path / "a"), Server(tmp_path / "b", log={"level": "debug"})
    for server in (quiet, talking):
        with book.stream(server.folder.name) as (stream, environment):
            process = subprocess.Popen(server.command, stderr=stream, env=environment)
        try:
            wait_for(partial(is_ready, server), "it is ready")
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz", timeout=10).close()
        finally:
            process.terminate()
            assert process.wait(20) == 0

    wait_for(lambda: "server.stopped" in str(book.lines("b")), "all of it is in the journal")
    asked = [one["PRIORITY"] for one in said(book, "b") if one["event"] == "request.answered"]
    assert set(asked) == {PRIORITY["debug"]}
    assert "request.answered" not in {one["event"] for one in said(book, "a")}
    assert {"server.started", "server.stopped"} <= {one["event"] for one in said(book, "a")}
    assert said(book, "a", "-p", "err") == []


def test_an_agent_that_cannot_start_is_an_error_in_the_journal(book, tmp_path):
    agent = Agent(tmp_path, url="http://127.0.0.1:9", token="t")
    agent.configure(log={"format": "auto"})
    with book.stream("first") as (stream, environment):
        first = subprocess.Popen(agent.command, stderr=stream, env=environment)
    try:
        wait_for(agent.state_if_any, "the first one runs")
        with book.stream("second") as (stream, environment):
            second = subprocess.run(agent.command, stderr=stream, env=environment, check=False)
        agent.config.write_text("device_id = 1\n")
        with book.stream("wrong") as (stream, environment):
            wrong = subprocess.run(agent.command, stderr=stream, env=environment, check=False)
    finally:
        os.kill(first.pid, signal.SIGTERM)
        first.wait(20)

    assert (second.returncode, wrong.returncode) == (1, 78)
    wait_for(lambda: book.lines("wrong") and book.lines("second"), "it is in the journal")
    [line] = said(book, "second", "-p", "err")
    assert "another agent" in line["detail"]
    sentences = [one["MESSAGE"] for one in book.lines("wrong", "-p", "err")]
    assert any(
        one.startswith(f"edge-agent: {agent.config}: device_id must be") for one in sentences
    )
    assert sentences == [one["MESSAGE"] for one in book.lines("wrong")]
    assert "agent.started" in {one["event"] for one in said(book, "first")}


@pytest.mark.parametrize("program", ["edge_agent", "ingest_server"])
def test_a_wrong_option_is_said_for_people_and_an_error_in_the_journal(book, program):
    who = f"{program}-option"
    with book.stream(who) as (stream, environment):
        command = [sys.executable, "-m", program, "run", "--no-such-option"]
        done = subprocess.run(command, stderr=stream, env=environment, check=False)

    wait_for(lambda: "unrecognized" in str(book.lines(who)), "it is in the journal")
    assert done.returncode == 2
    assert book.lines(who, "-p", "err") == book.lines(who)
    assert "error: unrecognized arguments: --no-such-option" in book.lines(who)[-1]["MESSAGE"]


def test_a_program_that_cannot_even_be_loaded_leaves_its_traceback_as_an_error(book, tmp_path):
    (tmp_path / "pydantic.py").write_text("raise ImportError('half installed')\n")
    with book.stream("broken") as (stream, environment):
        done = subprocess.run(
            [sys.executable, "-m", "edge_agent", "run"],
            stderr=stream,
            env={**environment, "PYTHONPATH": str(tmp_path)},
            check=False,
        )

    wait_for(lambda: "half installed" in str(book.lines("broken")), "it is in the journal")
    assert done.returncode == 1
    assert book.lines("broken", "-p", "err") == book.lines("broken")
