"""The agent tells the server, and hears it, over real sockets and in virtual time."""

import itertools
from typing import Any

import pytest

from edge_agent.core.recording import Found, Identity
from edge_agent.core.report_pace import ReportTiming
from edge_agent.report.payloads import encode
from tests.support.noted import noted
from tests.support.reports import CURRENT, STATE, Reports, named

PAUSE = {"v": 1, "id": "c-1", "cmd": "pause", "args": {}, "expires_at": "2026-11-29T03:00:00Z"}


def test_the_first_report_says_who_and_what_and_the_next_ones_only_that_it_lives(server, agent):
    agent.run_for(270)

    first, second, third = server.reports
    assert first["info"]["device"] == "drone-01"
    assert first["state"] == STATE
    assert first["files"] == {"pending": [], "failed": []}
    assert second == {
        "v": 1,
        "device": "drone-01",
        "boot_id": "0b9c8f1e-6f0a-4f64-9d6c-0e5a1c9e2b11",
        "run_id": "51f0aa0b12cd34ef",
        "seq": 2,
        "clock": "synced",
        "next_s": 120,
    }
    assert third["seq"] == 3
    assert 120 <= third["next_s"] <= 140  # as twenty kilobytes an hour allow
    assert server.connections == 1


def test_what_moves_by_itself_is_no_news(server, agent):
    agent.run_for(1)
    agent.change(
        ts="2026-11-29T02:00:31Z",
        seq=7,
        disk={"free": STATE["disk"]["free"] - 4096, "total": STATE["disk"]["total"]},
    )
    agent.run_for(60)

    assert len(server.reports) == 1


def test_a_change_is_told_once_thirty_seconds_after_the_last_report(server, agent):
    agent.run_for(1)
    told_s = agent.clock.now_s()
    agent.change(problems=["disk_low"])

    agent.run_for(28)
    assert len(server.reports) == 1
    agent.run_for(2)

    assert agent.clock.now_s() - told_s < 32
    assert named(server.reports[1:], "state")[0]["problems"] == ["disk_low"]
    assert "info" not in server.reports[1]


def test_what_is_sent_is_told_every_thirty_seconds_and_on_a_metered_link_every_five_minutes(
    server, agent
):
    acknowledged = itertools.count()
    agent.state = {**STATE, "state": "uploading"}

    def goes_on(_now_s):
        agent.change(current={**CURRENT, "acknowledged": next(acknowledged)})

    agent.run_for(600, goes_on)
    unmetered = len(server.reports)
    agent.on_meter()
    agent.change(state="uploading")
    agent.run_for(60, goes_on)
    metered_from = len(server.reports)
    agent.run_for(1500, goes_on)

    assert 19 <= unmetered <= 22
    assert 4 <= len(server.reports) - metered_from <= 6
    assert server.reports[1]["next_s"] == 30
    assert server.reports[-1]["next_s"] == 300


def test_an_idle_device_on_a_metered_link_tells_once_an_hour_over_no_kept_connection(server, agent):
    agent.on_meter()

    agent.run_for(3 * 3600)

    assert [one["next_s"] for one in server.reports] == [3600] * 4
    assert server.connections == 4
    assert [("state" in one) for one in server.reports] == [True] * 4


def test_a_command_of_the_answer_is_done_once_and_acknowledged_within_seconds(server, agent):
    server.commands = [PAUSE]

    agent.run_for(10)

    assert agent.desk.taken == [PAUSE]
    assert agent.desk.taken_at_s == [1795919215.0]  # of the server's clock
    assert server.acks == [{"v": 1, "id": "c-1", "status": "done"}]
    assert agent.desk.acks("server") == []


def test_progress_of_a_command_is_told_at_the_pace_of_all_else(server, agent):
    agent.run_for(1)

    def goes_on(now_s):
        agent.desk.say("c-1", "accepted", result={"arrived": int(now_s)})

    agent.run_for(300, goes_on)
    before = len(server.reports)
    agent.desk.say("c-1", "done")
    agent.run_for(3)

    assert 9 <= before <= 11
    assert len(server.reports) == before + 1
    assert server.acks[-1] == {"v": 1, "id": "c-1", "status": "done"}


def test_wanted_settings_are_passed_on_once_and_what_came_of_them_is_told_once(server, agent):
    server.desired = {"v": 1, "version": 7, "settings": {"paused": True}}

    agent.run_for(600)

    assert agent.desk.desired == [server.desired]
    assert named(server.reports, "reported") == [{"v": 1, "version": 7, "status": "applied"}]


def test_events_go_to_the_server_where_there_is_no_broker_each_once_and_in_order(server, agent):
    names = [f"{number}.mp4" for number in range(55)]
    agent.tell(*names)
    server.loses_answers = True
    agent.run_for(5)
    server.loses_answers = False

    agent.run_for(600)

    assert [one["data"]["name"] for one in server.events] == names
    assert server.events[0]["type"] == "edgeup.file.completed"
    assert agent.store.outbox.undelivered() == []


def test_events_wait_for_the_broker_where_there_is_one(server, tmp_path):
    with Reports(tmp_path, server.url, carries_events=False) as agent:
        agent.tell("1.mp4")
        agent.run_for(300)

        assert len(agent.store.outbox.undelivered()) == 1
    assert named(server.reports, "events") == []


def test_an_event_that_the_server_does_not_name_stays(server, agent):
    server.answer = b'{"v":1,"now":"2026-11-29T02:26:55Z","commands":[],"want":[],"through":null}'
    agent.tell("1.mp4", "2.mp4")

    agent.run_for(60)

    assert [one.data["name"] for one in agent.store.outbox.undelivered()] == ["1.mp4", "2.mp4"]
    assert len(server.reports) <= 3


def test_events_behind_the_one_that_the_server_names_stay(server, agent):
    server.answer = b'{"v":1,"now":"2026-11-29T02:26:55Z","through":1}'
    agent.tell("1.mp4", "2.mp4")

    agent.step()

    assert [one.data["name"] for one in agent.store.outbox.undelivered()] == ["2.mp4"]


def test_an_event_that_was_never_told_is_not_forgotten_whatever_the_server_claims(server, agent):
    agent.tell(*(f"{number}.mp4" for number in range(25)))
    server.answer = b'{"v":1,"now":"2026-11-29T02:26:55Z","through":999999}'

    agent.step()

    assert [one.data["name"] for one in agent.store.outbox.undelivered()] == [
        f"{number}.mp4" for number in range(20, 25)
    ]


def test_what_the_server_wants_again_is_told_again_at_once(server, agent):
    agent.run_for(1)
    server.want = ["info", "state", "files", "holds", "the moon"]
    agent.worker.hurry()
    agent.run_for(10)

    assert {"info", "state", "files"} <= server.reports[2].keys()
    assert len(server.reports) == 3  # and not for as long as it goes on wanting


def test_an_older_server_is_asked_once_an_hour(server, agent):
    server.status = 404
    asked: list[Any] = []
    server.take = noted(asked, lambda _path, _document: b"{}")

    agent.run_for(3 * 3600)
    assert len(asked) == 4

    del server.take
    server.status = 200
    agent.run_for(3600)
    assert "info" in server.reports[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"<html>login</html>",
        b'{"v":1}',
        b'{"v":1,"now":"soon"}',
        b'{"v":1,"now":"2026-11-29T02:26:55"}',
        b'{"v":1,"now":"2026-11-29T02:26:55Z","commands":{}}',
        b'{"v":1,"now":"2026-11-29T02:26:55Z","desired":[1]}',
        b'{"v":1,"now":"2026-11-29T02:26:55Z","want":"state"}',
        b'{"v":1,"now":"2026-11-29T02:26:55Z","through":"7"}',
        b'{"v":1,"now":"2026-11-29T02:26:55Z","through":true}',
        b'{"v":1,"now":"2026-11-29T02:26:55Z","through":-1}',
        b"[" * 100_000,
    ],
)
def test_an_answer_of_another_form_changes_nothing_and_is_asked_for_ever_more_seldom(
    answer, server, agent
):
    server.answer = answer
    agent.tell("1.mp4")

    agent.run_for(2000)

    assert 4 < len(server.reports) < 15
    assert agent.desk.taken == agent.desk.desired == []
    assert len(agent.store.outbox.undelivered()) == 1
    assert "state" in server.reports[-1]


def test_a_busy_server_is_left_alone_for_as_long_as_it_says(server, agent):
    server.status, server.retry_after = 503, 1800
    asked_s = []

    def take(_path, _document):
        asked_s.append(agent.clock.now_s())
        return b"{}"

    server.take = take

    agent.run_for(4000)

    assert len(asked_s) == 3
    assert all(later - one >= 1800 for one, later in itertools.pairwise(asked_s))


def test_the_link_that_returns_ends_the_backoff(server, agent):
    server.loses_answers = True
    agent.run_for(2000)
    server.loses_answers = False
    before = len(server.reports)

    agent.worker.link_returned()
    agent.step()

    assert len(server.reports) == before + 1


def test_each_try_has_a_number_of_its_own(server, agent):
    server.loses_answers = True
    agent.run_for(100)

    seqs = [one["seq"] for one in server.reports]
    assert seqs == sorted(set(seqs))
    assert len(seqs) > 2


def test_rows_name_what_waits_and_never_where_it_lies(server, agent):
    identity = Identity(device=1, inode=2, length=3, mtime_ns=4, ctime_ns=5)
    [one] = agent.store.add([Found(b"/media/camera/a/b.mp4", "a", "b.mp4", identity)])

    agent.step()

    assert server.reports[0]["files"]["pending"] == [
        {
            "file_id": one.id,
            "name": "b.mp4",
            "folder": "a",
            "length": 3,
            "acknowledged": 0,
            "state": "seen",
            "reason": "still_recording",
            "detail": "being written, or was a moment ago",
            "problem": None,
            "seen_at": one.seen_at,
        }
    ]


def test_a_report_is_never_longer_than_the_server_takes(server, agent):
    identity = Identity(device=1, inode=2, length=3, mtime_ns=4, ctime_ns=5)
    found = [
        Found(b"/media/%d" % number, "ä" * 2000, f"{number}" + "ü" * 120, identity)
        for number in range(40)
    ]
    agent.store.add(found)
    agent.tell(*("x" * 7000 for _ in range(20)))

    agent.run_for(300)

    assert max(len(encode(one)) for one in server.reports) <= 64 * 1024
    assert max(len(encode(one)) for one in named(server.reports, "files")) <= 32 * 1024
    assert len(server.events) == 20


def test_nothing_is_told_after_the_stop(server, agent):
    agent.worker.stop()

    assert agent.step() > 60
    assert server.reports == []


def test_an_interval_of_the_owner_holds_for_changes_and_for_the_heartbeat(server, tmp_path):
    with Reports(
        tmp_path, server.url, timing=ReportTiming(interval_s=600.0, heartbeat_s=600.0)
    ) as agent:
        agent.run_for(1)
        agent.change(problems=["disk_low"])
        agent.run_for(590)
        assert len(server.reports) == 1
        agent.run_for(20)
        assert len(server.reports) == 2


def test_an_event_that_is_too_long_for_the_server_holds_up_no_other(server, agent):
    agent.tell("1.mp4", "x" * 8192, "2.mp4")

    agent.run_for(60)

    assert [one["data"]["name"] for one in server.events] == ["1.mp4", "2.mp4"]
    assert agent.store.outbox.undelivered() == []


def test_a_state_that_names_too_much_is_told_without_the_names(server, agent):
    cause = {"count": 9, "examples": ["x" * 4096, "y" * 4096], "endings": []}
    agent.state = {**STATE, "left_out": {"link": cause, "error": cause}, "problems": ["left_out"]}

    agent.step()

    assert server.reports[0]["state"]["left_out"] is None
    assert server.reports[0]["state"]["problems"] == ["left_out"]
