"""A part that the server refuses is left out, and nothing else is held up by it."""

from typing import Any

import pytest

from tests.support.noted import noted
from tests.support.reports import STATE, named


def complaints(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if "report.part_refused" in line]


def with_problem(agent, number):
    agent.change(problems=[f"problem_{number}"])


@pytest.mark.parametrize("part", ["state", "info", "files", "reported", "holds"])
def test_a_part_that_is_refused_is_left_out_and_all_else_is_told(part, server, agent, capsys):
    server.desired = {"v": 1, "version": 7, "settings": {}}
    server.want = ["info", "state", "files"]
    server.refuses = lambda report: part in report
    agent.tell("1.mp4")

    agent.run_for(60)
    server.want = [part]  # as the real one, which goes on wanting what it has not got
    server.reports.clear()
    agent.run_for(600, lambda now_s: with_problem(agent, int(now_s)))

    told = set().union(*server.reports)
    assert part not in told
    assert ("state" in told) == (part != "state")
    assert [one["data"]["name"] for one in server.events] == ["1.mp4"]
    assert len(server.reports) <= 22
    assert len(complaints(capsys)) == 1


def test_all_that_is_not_refused_is_there_within_seconds(server, agent):
    server.refuses = lambda report: "files" in report
    agent.tell("1.mp4", "2.mp4")

    agent.run_for(20)

    assert named(server.reports, "info")[0]["device"] == "drone-01"
    assert named(server.reports, "state") == [STATE]
    assert [one["data"]["name"] for one in server.events] == ["1.mp4", "2.mp4"]


def test_one_event_that_is_refused_holds_up_no_other_and_is_not_lost(server, agent, capsys):
    def is_bad(report):
        return any(one["data"]["name"] == "2.mp4" for one in report.get("events", ()))

    server.refuses = is_bad
    agent.tell("1.mp4", "2.mp4", *(f"{number}.mp4" for number in range(3, 30)))

    agent.run_for(120)

    names = [one["data"]["name"] for one in server.events]
    assert names == ["1.mp4", *(f"{number}.mp4" for number in range(3, 30))]
    assert len(complaints(capsys)) == 1
    assert agent.store.outbox.retry_refused() == 1


def test_one_answer_that_is_refused_holds_up_no_other_nor_makes_reports_many(server, agent, capsys):
    server.commands = [
        {"v": 1, "id": f"c-{number}", "cmd": "pause", "args": {}} for number in range(3)
    ]
    server.refuses = lambda report: any(one["id"] == "c-1" for one in report.get("acks", ()))

    agent.run_for(600)

    assert {one["id"] for one in server.acks} == {"c-0", "c-2"}
    assert len(server.reports) < 40
    assert len(complaints(capsys)) == 1


def test_where_every_event_is_refused_they_wait_and_reports_are_no_more_for_it(
    server, agent, capsys
):
    asked: list[Any] = []
    server.refuses = noted(asked, lambda report: "events" in report)
    agent.tell(*(f"{number}.mp4" for number in range(500)))
    agent.run_for(1200)

    assert len(asked) < 30
    assert len(complaints(capsys)) == 1
    assert len(agent.store.outbox.undelivered(limit=1000)) == 495

    server.run, server.refuses = "e5f60718", lambda _report: False
    agent.run_for(300)

    assert {one["data"]["name"] for one in named(server.reports, "events")[0]} >= {
        "0.mp4",
        "19.mp4",
    }
    assert agent.store.outbox.undelivered() == []


def test_what_was_refused_is_told_again_once_the_server_was_started_anew(server, agent, capsys):
    server.refuses = lambda report: "files" in report or "events" in report
    agent.tell("1.mp4")
    agent.run_for(60)
    server.refuses = lambda _report: False
    agent.run_for(200)
    assert named(server.reports, "files") == named(server.reports, "events") == []

    server.run = "e5f60718"
    agent.run_for(200)

    assert named(server.reports, "files") == [{"pending": [], "failed": []}]
    assert [one["data"]["name"] for one in server.events] == ["1.mp4"]
    assert len(complaints(capsys)) == 2  # of each part


def test_what_an_older_server_refused_is_told_again_once_it_was_upgraded(server, agent):
    server.run = None
    server.refuses = lambda report: "files" in report
    agent.run_for(60)

    server.run, server.refuses = "e5f60718", lambda _report: False
    agent.run_for(200)

    assert named(server.reports, "files") == [{"pending": [], "failed": []}]


def test_where_the_head_is_refused_too_no_part_is_to_blame(server, agent, capsys):
    asked: list[Any] = []
    server.refuses = noted(asked, lambda _: True)
    agent.run_for(2000)
    assert len(asked) < 30

    server.refuses = lambda _report: False
    agent.run_for(1000)

    assert {"info", "state", "files"} <= set(server.reports[0])
    assert complaints(capsys) == []


def test_a_link_that_breaks_meanwhile_blames_nobody(server, agent, capsys):
    server.refuses = lambda report: "files" in report
    agent.step()
    server.loses_answers = True
    agent.run_for(30)
    server.loses_answers = False
    agent.run_for(120)

    assert {"info", "state"} <= set().union(*server.reports)
    assert len(complaints(capsys)) == 1
