"""The server knows what the device holds, run by run, and nothing is told twice."""

import pytest

from edge_agent.core.recording import Found, Identity
from edge_agent.core.upload import Event
from edge_agent.report.server.holds import ROWS
from tests.support.agent_store import another_program
from tests.support.reports import Reports


def record(agent, *names, folder="DCIM"):
    found = [
        Found(
            f"/media/{folder}/{name}".encode(),
            folder,
            name,
            Identity(
                device=1, inode=n, length=1000 + n, mtime_ns=1_795_910_400 * 10**9, ctime_ns=0
            ),
        )
        for n, name in enumerate(names)
    ]
    return agent.store.add(found)


def tell(agent, seconds=120):
    agent.change(problems=[f"at {agent.clock.now_s()}"])
    agent.run_for(seconds)


def names(server):
    return sorted(row[1] for row in server.held.values())


def test_what_is_there_is_told_with_its_place_size_time_and_state(server, agent):
    (one,) = record(agent, "1.mp4")
    agent.run_for(10)

    assert server.holds == [
        {
            "v": 1,
            "device": "drone-01",
            "epoch": server.standing[0],
            "from": 0,
            "through": 1,
            "is_whole": True,
            "rows": [[one.id, "1.mp4", "DCIM", 1000, 1_795_910_400, "growing", None]],
        }
    ]


def test_only_what_has_changed_is_told_again_and_how_far_it_is_sent_is_no_change(server, agent):
    one, other = record(agent, "1.mp4", "2.mp4")
    agent.run_for(10)
    settled = agent.store.advance(one, Event.SETTLED)
    tell(agent)
    sending = agent.store.advance(settled, Event.UPLOAD_CREATED, upload_id="0" * 32)
    tell(agent)
    agent.store.update(sending, resent_bytes=5, failures=1)
    tell(agent)

    assert [len(run["rows"]) for run in server.holds] == [2, 1]
    assert server.held[one.id][5] == "pending"
    assert server.held[other.id][5] == "growing"


def test_an_idle_device_tells_nothing_of_it(server, agent):
    record(agent, "1.mp4")
    agent.run_for(6 * 3600)

    assert len(server.holds) == 1


def test_what_is_forgotten_or_let_go_is_told_to_be_gone(server, agent):
    one, other = record(agent, "1.mp4", "2.mp4")
    agent.run_for(10)
    settled = agent.store.advance(one, Event.SETTLED)
    agent.store.advance(settled, Event.SOURCE_OVERWRITTEN)
    with another_program(agent.folder / "state.db") as run:
        run.execute("DELETE FROM recording WHERE id = ?", (other.id,))
    tell(agent)

    assert server.held == {}
    assert server.holds[-1]["rows"] == [[one.id, None], [other.id, None]]


@pytest.mark.slow
def test_a_long_list_comes_in_runs_of_which_none_is_told_twice(server, agent):
    record(agent, *(f"{number}.mp4" for number in range(2 * ROWS + 5)))
    agent.run_for(60)

    assert [len(run["rows"]) for run in server.holds] == [ROWS, ROWS, 5]
    assert len(server.held) == 2 * ROWS + 5
    assert [run["is_whole"] for run in server.holds] == [False, False, False]


@pytest.mark.slow
def test_names_that_make_a_run_too_long_come_in_shorter_ones(server, agent):
    record(agent, *(f"{number}.mp4" for number in range(1500)), folder="ä" * 2000)
    agent.run_for(60)

    assert len(server.holds) > 1
    assert len(server.held) == 1500


def test_a_restart_of_the_agent_tells_only_what_is_new(server, tmp_path):
    with Reports(tmp_path, server.url) as agent:
        record(agent, "1.mp4")
        agent.run_for(10)
    with Reports(tmp_path, server.url) as agent:
        record(agent, "2.mp4")
        agent.run_for(10)

    assert [[row[1] for row in run["rows"]] for run in server.holds] == [["1.mp4"], ["2.mp4"]]
    assert names(server) == ["1.mp4", "2.mp4"]


def test_a_server_that_lost_its_list_is_told_it_anew(server, agent):
    record(agent, "1.mp4", "2.mp4")
    agent.run_for(10)
    server.held, server.standing, server.want = {}, ("", 0), ["info", "state"]
    tell(agent, 40)
    server.want = []
    tell(agent)

    assert names(server) == ["1.mp4", "2.mp4"]


def test_a_list_of_another_database_is_replaced(server, tmp_path):
    server.standing = ("of another card", 77)
    server.held = {"x": ["x", "old.mp4"]}
    with Reports(tmp_path, server.url) as agent:
        record(agent, "1.mp4")
        agent.run_for(10)

    assert names(server) == ["1.mp4"]


def test_an_older_copy_of_the_database_begins_anew(server, tmp_path):
    with Reports(tmp_path, server.url) as agent:
        record(agent, "1.mp4")
        agent.run_for(10)
        epoch = server.standing[0]
        server.standing = (epoch, 500)
    with Reports(tmp_path, server.url) as agent:
        agent.run_for(10)

    assert server.standing[0] != epoch
    assert names(server) == ["1.mp4"]


def test_a_server_that_keeps_no_such_list_is_told_nothing_and_asked_once(server, agent):
    server.keeps_holds = False
    record(agent, "1.mp4")
    agent.run_for(600)

    assert server.holds == []
    assert [("holds" in one) for one in server.reports] == [True] + [False] * (
        len(server.reports) - 1
    )


def test_a_metered_link_carries_the_list_within_its_budget(server, agent):
    agent.on_meter()
    record(agent, *(f"{number}.mp4" for number in range(1000)))
    agent.run_for(3600)
    in_an_hour = len(server.held)
    used = agent.client.used_bytes
    agent.run_for(6 * 3600)

    assert used <= 20_000 + 15_000
    assert 150 <= in_an_hour < 1000
    assert len(server.held) > in_an_hour
