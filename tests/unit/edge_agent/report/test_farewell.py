"""The last report of a run: over the connection that is there, and never where it would be waited for."""

import threading

import pytest

from edge_agent.base.clock import SystemClock
from edge_agent.net.link_monitor import LinkMonitor
from edge_agent.send.report_wiring import ReportsThread


def end(agent):
    """Have *agent* stop as its thread does."""
    agent.worker.stop()
    agent.step()
    agent.worker.say_goodbye()


def test_the_last_report_says_that_the_run_has_ended_and_nothing_else(server, agent):
    agent.run_for(1)
    agent.change(problems=["disk_low"])

    end(agent)

    assert server.reports[-1] == {
        "v": 1,
        "device": "drone-01",
        "boot_id": "0b9c8f1e-6f0a-4f64-9d6c-0e5a1c9e2b11",
        "run_id": "51f0aa0b12cd34ef",
        "seq": 2,
        "clock": "unsynced",
        "status": "offline",
        "reason": "shutdown",
        "next_s": 120,
    }
    assert server.connections == 1


def test_commands_that_come_with_the_answer_are_left_for_the_next_run(server, agent):
    agent.run_for(1)
    server.commands = [{"v": 1, "id": "c-1", "cmd": "pause", "args": {}}]

    end(agent)

    assert server.reports[-1]["status"] == "offline"
    assert agent.desk.taken == []


@pytest.mark.parametrize(
    "fault", ["it hangs up", "an older server", "another login", "never asked"]
)
def test_where_the_last_report_was_not_taken_nothing_is_tried_at_the_stop(server, agent, fault):
    if fault != "never asked":
        server.loses_answers = fault == "it hangs up"
        server.status = {"an older server": 404, "another login": 401}.get(fault, 200)
        agent.step()
    before = server.connections

    end(agent)

    assert server.connections == before
    assert [one for one in server.reports if "status" in one] == []


def test_a_goodbye_that_nobody_answers_is_broken_off(server, agent):
    agent.run_for(1)
    has_come, may_go = threading.Event(), threading.Event()

    def take(_path, _document):
        has_come.set()
        may_go.wait(30)
        return b"{}"

    server.take = take
    goodbye = threading.Thread(target=end, args=[agent], daemon=True)

    goodbye.start()
    assert has_come.wait(30)
    agent.worker.cut()
    goodbye.join(30)

    assert not goodbye.is_alive()
    assert not may_go.is_set()
    may_go.set()


def test_no_goodbye_begins_once_there_is_no_time_for_it(server, agent):
    agent.run_for(1)
    agent.worker.cut()

    end(agent)

    assert len(server.reports) == 1


class Line:
    """A connection of an upload."""

    def live_socket(self):
        return None

    def cut(self): ...


@pytest.mark.parametrize("is_away", [False, True])
def test_where_uploads_have_seen_that_the_link_is_dead_nothing_is_tried(server, agent, is_away):
    clock, line = SystemClock(), Line()
    watch = LinkMonitor(("127.0.0.1", 1), ask=bool, on_return=lambda: None, clock=clock)
    reports = ReportsThread(agent.worker, agent.activity, clock, watch)
    take, has_come = server.take, threading.Event()

    def take_and_tell(path, document):
        has_come.set()
        return take(path, document)

    server.take = take_and_tell
    reports.start()
    assert has_come.wait(30)

    watch.begin(line)
    watch.end(line, was_answered=not is_away)
    reports.stop()
    reports.close(30)
    watch.stop()

    farewells = [one for one in server.reports if "status" in one]
    assert len(farewells) == (0 if is_away else 1)
