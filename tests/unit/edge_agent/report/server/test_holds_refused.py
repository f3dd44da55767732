"""A list of recordings that the server refuses is told in shorter runs, without what is to blame, or no more."""

import pytest

from edge_agent.report.server.holds import ROWS
from tests.unit.edge_agent.report.server.test_holds import names, record, tell


def complaints(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if "report.part_refused" in line]


@pytest.fixture
def runs(server):
    """The rows of each run that the server was asked to take."""
    asked = []

    def refuse_by(is_bad):
        def refuses(told):
            if "rows" not in told:
                return False
            asked.append(told["rows"])
            return is_bad(told["rows"])

        server.refuses = refuses
        return asked

    return refuse_by


def test_one_recording_that_is_refused_keeps_no_other_from_being_told(server, agent, runs, capsys):
    asked = runs(lambda rows: any(row[1] == "700.mp4" for row in rows))
    record(agent, *(f"{number}.mp4" for number in range(1000)))

    agent.run_for(120)

    assert names(server) == sorted(f"{number}.mp4" for number in range(1000) if number != 700)
    assert sum(map(len, asked)) <= 6000
    assert len(complaints(capsys)) == 1


def test_runs_that_are_too_long_for_a_server_come_in_shorter_ones_and_nobody_hears_of_it(
    server, agent, runs, capsys
):
    runs(lambda rows: len(rows) > 300)
    record(agent, *(f"{number}.mp4" for number in range(1000)))

    agent.run_for(120)

    assert len(server.held) == 1000
    assert complaints(capsys) == []


def test_a_server_that_takes_no_recording_is_told_none_and_that_is_said_once(
    server, agent, runs, capsys
):
    asked = runs(bool)
    record(agent, *(f"{number}.mp4" for number in range(ROWS)))
    agent.run_for(120)
    after_two_minutes = len(asked)

    server.reports.clear()
    tell(agent, 6 * 3600)

    assert len(asked) == after_two_minutes <= 25
    assert any("state" in one for one in server.reports)  # all else is told as ever
    assert len(complaints(capsys)) <= 2  # the first that is left out, and that all of them are


def test_a_list_that_is_refused_is_told_to_the_next_run_of_the_server(server, agent, runs):
    asked = runs(lambda _rows: True)
    record(agent, "1.mp4")
    agent.run_for(60)
    refused = len(asked)

    runs(lambda _rows: False)
    server.run = "another start"
    tell(agent)

    assert refused == 2
    assert names(server) == ["1.mp4"]
