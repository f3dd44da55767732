"""The order of the checks, and that a command runs once whatever happens meanwhile."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from edge_agent.base.settings import CommandSettings
from edge_agent.core.upload import Event, State
from edge_agent.operate.command_handlers import CommandFailedError, Handler, Outcome
from edge_agent.store.command_log import KEPT_S, MAX_COMMANDS
from tests.support.command_site import command_site
from tests.support.commits import commits_in_log


@pytest.fixture
def site(tmp_path):
    with command_site(tmp_path) as made:
        yield made


def json_of(document):
    return json.dumps(document).encode()


def commits(site):
    return commits_in_log(site.lane.base / "agent.db")


def is_paused(site):
    return site.store.orders.paused() is not None


def test_a_command_is_executed_and_acknowledged_once(site):
    (ack,) = site.take(site.document("pause", {"for_s": 60}, id="c-1"))

    assert is_paused(site)
    assert ack == {
        "v": 1,
        "id": "c-1",
        "cmd": "pause",
        "status": "done",
        "code": "ok",
        "message": "nothing is sent for 60 s",
        "result": {"paused": True, "for_s": 60},
        "ts": "2026-01-01T00:00:00Z",
        "boot_id": "boot",
    }
    assert site.tell() == []


def test_an_answer_is_told_until_it_has_arrived_and_over_the_way_that_brought_the_command(site):
    site.desk.take(json_of(site.document("pause")), "server")

    assert site.desk.acks("mqtt") == []
    first = site.desk.acks("server")
    assert [one.status for one in first] == ["done"]
    assert site.desk.acks("server") == first
    site.restart()
    assert [one.id for one in site.desk.acks("server")] == [one.id for one in first]
    site.desk.told("server", first)
    site.restart()
    assert site.desk.acks("server") == []


def test_a_retained_command_is_not_executed_and_not_answered(site):
    assert site.take(site.document("pause"), is_retained=True) == []
    assert not is_paused(site)


WRONG = [
    ({"v": 2}, "rejected", "unsupported"),
    ({"cmd": "exec"}, "rejected", "unsupported"),
    ({"args": {"path": "/"}}, "rejected", "unsupported"),
    ({"args": {"for_s": "1"}}, "rejected", "malformed"),
    ({"expires_at": None}, "rejected", "no_expiry"),
    ({"expires_at": 1.0}, "expired", "expired"),
    ({"expires_at": 1e12}, "rejected", "expiry_too_far"),
    ({"cmd": "reload", "args": {}}, "rejected", "forbidden"),
]


@pytest.mark.parametrize(("changes", "status", "code"), WRONG)
@pytest.mark.parametrize("via", ["mqtt", "server"])
def test_what_is_wrong_gets_one_answer_and_nothing_changes(site, changes, status, code, via):
    document = {**site.document("pause"), **changes}

    before = commits(site)
    (ack,) = site.take(document, via)

    assert (ack["status"], ack["code"], ack["id"]) == (status, code, document["id"])
    assert ack["message"]
    assert not is_paused(site)
    assert commits(site) == before
    assert site.tell(via) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"cmd": "pause"', '"cmd": "pause", "cmd": "resume"', "'cmd' is there twice"),
        ('"args": {}', '"args": {"for_s": 60}, "args": {}', "'args' is there twice"),
        ('"args": {}', '"args": {"for_s": 60, "for_s": 9}', "args.for_s is there twice"),
        ('"v": 1', '"v": 2, "v": 1', "'v' is there twice"),
        ('"v": 1', '"v": 1, "x": 2, "x": 1', "'x' is there twice"),
        ('"args": {}', '"args": {}, "for_s": 60', "for_s belongs into args"),
        ('"args": {}', '"args": {"for_s": 60}, "for_s": 60', "for_s belongs into args"),
        ('"args": {}', '"args": {"for_s": NaN}', "args.for_s must be whole seconds"),
        ('"args": {}', '"args": {"for_s": -Infinity}', "args.for_s must be whole seconds"),
        ('"args": {}', '"args": {"for_s": 1e400}', "args.for_s must be whole seconds"),
    ],
)
def test_what_is_there_twice_or_elsewhere_or_is_no_number_is_refused_in_one_sentence(
    site, old, new, message
):
    said = json.dumps(site.document("pause", {}))
    assert old in said

    (ack,) = site.take(said.replace(old, new).encode())

    assert (ack["status"], ack["code"]) == ("rejected", "malformed")
    assert ack["message"].startswith(message)
    assert not is_paused(site)


def test_a_version_that_is_no_number_is_none_that_is_known(site):
    said = json.dumps(site.document("pause", {})).replace('"v": 1', '"v": NaN')

    (ack,) = site.take(said.encode())

    assert (ack["status"], ack["code"]) == ("rejected", "unsupported")
    assert not is_paused(site)


def test_a_query_that_says_one_thing_twice_is_refused_in_one_sentence(site):
    said = json.dumps(site.document("fetch", {"query": {"name": "a"}}))

    (ack,) = site.take(said.replace('"name": "a"', '"name": "a", "name": "*"').encode())

    assert (ack["status"], ack["message"]) == ("rejected", "'name' in args.query is there twice")


@pytest.mark.parametrize("message", [b"", b"\xff", b"[]", b"{}", b"{" * 5000, b"x" * 100_000])
def test_what_names_no_command_leaves_no_trace(site, message):
    assert site.take(message) == []
    assert site.store.commands.unfinished() == []


def test_what_was_refused_may_come_again_and_be_right_then(site):
    site.settings = CommandSettings(allowed=("resume",))
    site.open()
    document = site.document("pause")
    assert site.take(document)[0]["code"] == "forbidden"

    site.desk.reconfigure(CommandSettings())

    assert site.take(document)[0]["status"] == "done"


def test_a_command_runs_once_whichever_way_brings_it_and_each_way_is_answered(site):
    document = site.document("pause")
    first = site.take(document, "mqtt")
    site.store.orders.resume()

    second = site.take(document, "server")
    again = site.take(document, "mqtt")

    assert not is_paused(site)
    assert [one["status"] for one in (*first, *second, *again)] == [
        "done",
        "duplicate",
        "duplicate",
    ]
    assert {one["message"] for one in (*first, *second, *again)} == {first[0]["message"]}


def test_a_duplicate_says_what_the_command_came_to_the_first_time(site):
    document = site.document("retry", {"file_id": "0" * 32})
    (first,) = site.take(document, "mqtt")
    (again,) = site.take(document, "server")

    assert (first["status"], again["status"], again["first_status"]) == (
        "failed",
        "duplicate",
        "failed",
    )
    assert again["code"] == first["code"]
    assert "first_status" not in first


def test_one_that_is_repeated_before_its_answer_has_left_is_not_answered_twice(site):
    document = json_of(site.document("pause"))
    site.desk.take(document, "server")
    site.desk.take(document, "server")

    assert [one["status"] for one in site.tell("server")] == ["done"]


def test_one_that_comes_again_when_its_time_is_over_was_executed_and_not_expired(site):
    document = site.document("pause")
    site.take(document)
    site.clock.pass_s(7200)

    assert site.take(document)[0]["status"] == "duplicate"


def test_one_id_is_one_command_whatever_else_it_says(site):
    document = site.document("pause")
    site.take(document)

    (ack,) = site.take({**document, "cmd": "resume", "args": {}})

    assert (ack["status"], ack["cmd"], ack["first_status"]) == ("duplicate", "pause", "done")
    assert is_paused(site)


def test_more_than_ten_in_a_minute_are_refused_for_each_way_of_its_own(site):
    answers = [site.take(site.document("report"))[0]["code"] for _ in range(12)]

    assert answers == ["ok"] * 10 + ["rate"] * 2
    assert site.take(site.document("report"), "server")[0]["code"] == "ok"
    site.clock.pass_s(60)
    assert site.take(site.document("report"))[0]["code"] == "ok"


def test_without_a_clock_only_what_does_no_harm_is_obeyed_over_mqtt(site):
    site.clock.synchronised = False

    answers = {cmd: site.do(cmd)["code"] for cmd in ("pause", "resume", "report", "rescan")}

    assert answers == {"pause": "ok", "resume": "ok", "report": "ok", "rescan": "clock_unsynced"}


def test_over_the_server_its_own_time_is_the_clock(site):
    site.clock.synchronised = False
    server_s = site.now_s() + 20 * 365 * 86_400
    good = site.document("rescan", expires_at=server_s + 60)
    old = site.document("pause", expires_at=server_s - 60)

    assert site.take(good, "server", now_s=server_s)[0]["status"] == "done"
    assert site.take(old, "server", now_s=server_s)[0]["status"] == "expired"


def test_a_device_whose_clock_is_wrong_goes_by_the_servers_time_too(site):
    server_s = site.now_s() - 86_400
    document = site.document("rescan", expires_at=server_s + 60)

    assert site.take(document, "server", now_s=server_s)[0]["status"] == "done"


class Cut(BaseException):
    """The power is gone: nothing after this runs."""


def test_a_power_cut_before_the_command_is_executed_has_it_executed_at_the_next_start(site):
    def cut(_command):
        raise Cut

    site.more = {"rescan": Handler(cut)}
    site.open()
    document = site.document("rescan")
    with pytest.raises(Cut):
        site.take(document)
    site.more = {}

    site.restart()
    assert site.tell() == []
    site.desk.step(site.clock.now_s())

    assert [one["status"] for one in site.tell()] == ["done"]
    assert site.called == ["watcher"]
    assert site.take(document)[0]["status"] == "duplicate"


def test_what_takes_long_is_accepted_and_then_done_by_the_worker(site):
    told: list[Any] = []
    site.more = {"rescan": Handler(lambda _: told.pop(0), is_long=lambda: True)}
    site.open()
    told += [
        Outcome("half", {"done": 1}, "accepted", again_s=7.0),
        Outcome("half", {"done": 1}, "accepted", again_s=7.0),
        Outcome("whole", {"done": 2}),
    ]

    (accepted,) = site.take(site.document("rescan"))
    assert (accepted["status"], site.called) == ("accepted", ["desk"])
    assert site.desk.step(site.clock.now_s()) == 7.0
    assert [(one["status"], one["message"]) for one in site.tell()] == [("accepted", "half")]
    site.desk.step(site.clock.now_s())
    assert site.tell() == []
    site.restart()
    assert site.desk.step(site.clock.now_s()) == 30.0

    assert [(one["status"], one["result"]) for one in site.tell()] == [("done", {"done": 2})]


def test_an_answer_that_changes_while_the_last_one_is_on_its_way_is_told_as_well(site):
    site.more = {"rescan": Handler(lambda _: Outcome("whole"), is_long=lambda: True)}
    site.open()
    site.desk.take(json_of(site.document("rescan")), "mqtt")
    on_its_way = site.desk.acks("mqtt")

    site.desk.step(site.clock.now_s())
    site.desk.told("mqtt", on_its_way)

    assert [one["status"] for one in site.tell()] == ["done"]


def test_what_is_not_done_within_a_day_has_failed(site):
    site.more = {"rescan": Handler(lambda _: Outcome("", status="accepted"), is_long=lambda: True)}
    site.open()
    site.take(site.document("rescan"))

    site.clock.pass_s(KEPT_S)
    site.desk.step(site.clock.now_s())

    assert [(one["status"], one["code"]) for one in site.tell()] == [("failed", "timeout")]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (CommandFailedError("unknown_file", "no such recording"), "unknown_file", "no such"),
        (ZeroDivisionError("a bug"), "fault", "command.broke"),
    ],
)
def test_a_handler_that_cannot_says_so_and_the_next_command_is_taken(site, error, code, says):
    def fail(_command):
        raise error

    site.more = {"rescan": Handler(fail)}
    site.open()

    failed = site.do("rescan")

    assert (failed["status"], failed["code"]) == ("failed", code)
    assert says in failed["message"]
    assert site.do("report")["status"] == "done"


def test_a_thousand_ids_are_kept_for_a_day_and_none_is_forgotten_that_might_come_again(site):
    first = site.document("report")
    site.take(first, "server")
    log = site.store.commands
    with closing(sqlite3.connect(site.lane.base / "agent.db")) as database, database:
        database.executemany(
            "INSERT INTO command (id, via, cmd, args, taken_s, is_final) VALUES (?,'mqtt','report','{}',0,1)",
            [(f"n{number}",) for number in range(MAX_COMMANDS - 1)],
        )

    assert site.take(site.document("report"), "server")[0]["code"] == "rate"
    site.clock.pass_s(2 * 3600)
    assert site.take(site.document("report"), "mqtt")[0]["status"] == "done"
    assert log.find(first["id"]) is None
    assert log.find("n500") is not None
    site.clock.pass_s(KEPT_S)
    site.take(site.document("report"), "mqtt")
    assert log.find("n500") is None


def test_a_flood_of_nonsense_keeps_a_bounded_number_of_answers_and_writes_nothing(site):
    before = commits(site)

    for _ in range(1000):
        site.desk.take(json_of(site.document("exec")), "mqtt")

    assert len(site.desk.acks("mqtt", 5000)) == 100
    assert commits(site) == before


def test_whoever_tells_the_answers_is_woken_for_each(site):
    woken = []
    site.desk.on_change = lambda: woken.append(1)
    document = site.document("report")

    site.desk.take(json_of(document), "mqtt")
    site.desk.take(json_of(document), "server")
    site.desk.take(json_of(site.document("exec")), "mqtt")

    assert len(woken) == 3


def test_a_pause_for_a_time_ends_without_anybody(site):
    site.do("pause", {"for_s": 60})
    data = b"x" * 1000
    recording = site.lane.record("a.mp4", data)
    site.clock.pass_s(60)
    site.desk.step(site.clock.now_s())

    site.lane.run()

    assert site.lane.now(recording).state is State.VERIFIED
    assert site.store.notes.get("paused") is None


def failed(site, name="a.mp4", problem="too-large"):
    recording = site.lane.record(name, b"x")
    return site.store.advance(recording, Event.REJECTED, problem=problem)


def test_a_failed_recording_is_tried_again_and_a_second_time_changes_nothing(site):
    one, other = failed(site), failed(site, "b.mp4")

    first = site.do("retry", {"file_id": one.id})
    second = site.do("retry", {"file_id": one.id})

    assert first["result"] == {"retried": 1, "away": 0}
    assert (second["status"], second["result"]) == ("done", {"retried": 0, "away": 0})
    assert "it has not failed" in second["message"]
    assert site.lane.now(one).state is State.SEEN
    assert site.lane.now(other).state is State.FAILED


def test_one_whose_file_is_away_says_that_it_goes_on_by_itself(site):
    away = failed(site, problem="source-missing")

    ack = site.do("retry", {"file_id": away.id})

    assert ack["result"] == {"retried": 0, "away": 1}
    assert "goes on by itself" in ack["message"]


@pytest.mark.parametrize("cmd", ["retry", "set_priority"])
def test_a_recording_that_is_not_known_is_a_failure_that_says_so(site, cmd):
    args: dict[str, Any] = {"file_id": "0" * 32}
    if cmd == "set_priority":
        args["priority"] = 3

    ack = site.do(cmd, args)

    assert (ack["status"], ack["code"]) == ("failed", "unknown_file")


def test_all_that_failed_is_tried_again_by_the_worker_where_it_is_much(site):
    for number in range(2):
        failed(site, f"{number}.mp4")
    assert site.do("retry_failed")["result"] == {"retried": 2, "away": 0}

    assert [one.problem for one in site.store.in_states(State.SEEN)] == [None, None]


def test_a_limit_is_ordered_and_lifted(site):
    site.do("set_bandwidth", {"limit_bytes_per_s": 5000})
    assert site.lane.sender.link_in_use.verdict.max_rate == 5000

    site.do("set_bandwidth", {"limit_bytes_per_s": None})

    assert site.lane.sender.link_in_use.verdict.max_rate is None


def test_a_limit_for_a_time_is_lifted_by_the_next_look(site):
    site.do("set_bandwidth", {"limit_bytes_per_s": 5000, "for_s": 60})
    site.clock.pass_s(61)

    site.desk.step(site.clock.now_s())

    assert site.lane.sender.link_in_use.verdict.max_rate is None
