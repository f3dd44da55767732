"""What an operator asks of a device is told to it until it has answered."""

import pytest

from tests.support.fleet import give, info


def test_a_command_is_told_until_it_is_acknowledged(site):
    site.report()
    given = give(site, "pause", {"for_s": 60})
    assert given.status_code == 202, given.text

    first = site.report(seq=2)["commands"]
    second = site.report(seq=3)["commands"]
    ack = {"v": 1, "id": given.json["id"], "cmd": "pause", "status": "done", "code": "ok"}
    third = site.report(seq=4, acks=[{**ack, "message": "paused", "result": {"n": 1}}])

    assert [one["id"] for one in first] == [given.json["id"]]
    assert first == second
    assert (first[0]["v"], first[0]["cmd"], first[0]["args"]) == (1, "pause", {"for_s": 60})
    assert third["commands"] == []
    kept = site.get(f"/devices/drone-1/commands/{given.json['id']}").json
    assert (kept["status"], kept["code"], kept["message"]) == ("done", "ok", "paused")
    assert kept["result"] == {"n": 1}


def test_who_gives_a_command_is_told_by_when_it_is_seen(site):
    site.report(next_s=60)

    given = give(site).json

    assert given["via"] == "server"
    assert given["seen_by"] == site.rows()["drone-1"]["next_by"]


def test_a_command_that_takes_long_is_accepted_and_then_done(site):
    site.report()
    given = give(site, "fetch", {"query": {"name": "*.mp4"}}).json["id"]

    site.report(seq=2, acks=[{"id": given, "status": "accepted", "result": {"files": 2}}])
    before = site.get(f"/devices/drone-1/commands/{given}").json
    told = site.report(seq=3)["commands"]
    site.report(seq=4, acks=[{"id": given, "status": "done"}])
    site.report(seq=5, acks=[{"id": given, "status": "accepted"}])

    assert (before["status"], before["result"], told) == ("accepted", {"files": 2}, [])
    assert site.get(f"/devices/drone-1/commands/{given}").json["status"] == "done"


def test_an_acknowledgement_of_a_command_of_another_device_changes_nothing(site):
    site.report()
    given = give(site).json["id"]

    site.report("drone-2", acks=[{"id": given, "status": "done"}])

    assert site.get(f"/devices/drone-1/commands/{given}").json["status"] == "waiting"
    assert site.report(seq=2)["commands"] != []


@pytest.mark.parametrize(
    ("cmd", "args", "status", "told"),
    [
        ("explode", {}, 422, "no command 'explode'"),
        ("retry", {}, 422, "needs file_id"),
        ("retry", {"file_id": "../x"}, 422, "file_id"),
        ("pause", {"for_s": -1}, 422, "for_s"),
        ("pause", {"for_s": True}, 422, "for_s"),
        ("pause", {"why": "x"}, 422, "no argument 'why'"),
        ("fetch", {"query": {}}, 422, "query"),
        ("fetch", {"query": {"path": "/etc"}}, 422, "query"),
        ("cancel", {"file_id": "f1"}, 409, "does not allow cancel"),
    ],
)
def test_a_command_that_cannot_be_is_refused_with_a_sentence(site, cmd, args, status, told):
    site.report()

    answer = give(site, cmd, args)

    assert answer.status_code == status
    assert told in answer.json["detail"]
    assert site.report(seq=2)["commands"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        ("POST", "commands", '{"cmd": "pause", "for_s": 60}', "there is no 'for_s' here"),
        ("POST", "commands", '{"cmd": "pause", "cmd": "resume"}', "'cmd' is there twice"),
        (
            "POST",
            "commands",
            '{"cmd": "pause", "args": {"for_s": 9, "for_s": 99}}',
            "'for_s' is there twice",
        ),
        (
            "POST",
            "fetch",
            '{"query": {"name": "a"}, "query": {"name": "*"}}',
            "'query' is there twice",
        ),
        (
            "PUT",
            "desired",
            '{"settings": {"paused": true}, "force": 1}',
            "there is no 'force' here",
        ),
        (
            "PUT",
            "desired",
            '{"settings": {"paused": true, "paused": false}}',
            "'paused' is there twice",
        ),
    ],
)
def test_what_would_mean_something_else_than_was_written_is_refused(site, method, path, body, told):
    site.report()

    answer = site.operator.simulate_request(
        method,
        f"/v1/fleet/devices/drone-1/{path}",
        body=body,
        headers={"Content-Type": "application/json"},
    )

    assert (answer.status_code, told in answer.json["detail"]) == (400, True)
    document = site.get("/devices/drone-1").json
    assert (document["commands"], document["desired"]) == ([], None)


def test_a_device_that_never_said_that_it_takes_commands_is_given_none(site):
    site.report(info=info(commands=[]))

    assert give(site).status_code == 409
    assert give(site).json["code"] == "command-refused"


def test_nothing_can_be_asked_of_a_device_that_nobody_knows(site):
    assert give(site).status_code == 404
    assert site.get("/devices/drone-1").status_code == 404
    assert site.get("/devices/drone-1/history").status_code == 404
    assert site.get("/devices/drone-1/holds").status_code == 404


def test_commands_do_not_pile_up(site):
    site.report()
    answers = [give(site) for _ in range(51)]

    assert {one.status_code for one in answers[:50]} == {202}
    assert answers[50].status_code == 409
    assert "50 commands" in answers[50].json["detail"]
    assert len(site.report(seq=2)["commands"]) == 10


@pytest.mark.parametrize("seconds", [0, 119, 3601, 10**12])
def test_a_command_ends_within_the_hour(site, seconds):
    site.report()

    assert give(site, expires_in_s=seconds).status_code == 422
    assert give(site, expires_in_s=3600).status_code == 202
