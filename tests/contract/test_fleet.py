"""What devices report and operators ask, over HTTP; the engines are held to one contract elsewhere."""

import gzip
import json

import pytest
from falcon import testing

from tests.support.fleet import BY_US, Site, info, report, state
from tests.support.ingest import ingest


@pytest.fixture
def site():
    with ingest(mode="token") as server:
        yield Site(server)


# reports


def test_a_device_that_reports_is_seen_by_an_operator(site):
    answer = site.report(
        state=state(state="uploading", queue={"files": 2, "bytes": 9, "failed": 0})
    )

    row = site.rows()["drone-1"]
    assert (row["presence"], row["via"], row["state"]) == ("online", ["server"], "uploading")
    assert (row["pending_files"], row["pending_bytes"], row["version"]) == (2, 9, "1.0")
    assert answer["want"] == []
    assert answer["commands"] == []
    assert answer["desired"] is None


def test_what_the_server_lacks_of_a_run_is_asked_for(site):
    small = {"info": None, "state": None, "files": None}

    assert site.report(seq=1, **small)["want"] == ["files", "info", "state"]
    assert site.report(seq=2, **{**small, "state": state()})["want"] == ["files", "info"]
    assert site.report(seq=3)["want"] == []
    assert site.report(seq=4, **small)["want"] == []
    assert site.report(seq=1, **small, run_id="next")["want"] == ["files", "info", "state"]


def test_an_older_report_of_the_same_run_is_answered_and_changes_nothing(site):
    site.report(seq=5, state=state(state="uploading"))

    site.report(seq=4, state=state(state="paused"))

    assert site.rows()["drone-1"]["state"] == "uploading"


def test_a_new_run_begins_to_count_anew(site):
    site.report(seq=5, state=state(state="uploading"))

    site.report(seq=1, run_id="next", state=state(state="paused"))

    assert site.rows()["drone-1"]["state"] == "paused"


def test_a_report_without_a_state_keeps_the_last_one(site):
    site.report(seq=1, state=state(state="paused"))

    site.report(seq=2, state=None, info=None, files=None)

    assert site.rows()["drone-1"]["state"] == "paused"
    assert site.get("/devices/drone-1").json["state"]["state"] == "paused"


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"v": 2}, "'v' must be 1"),
        ({"seq": "1"}, "'seq'"),
        ({"next_s": 0}, "next_s"),
        ({"next_s": True}, "next_s"),
        ({"run_id": ""}, "run_id"),
        ({"boot_id": "\u0000"}, "boot_id"),
        ({"state": []}, "'state'"),
        ({"state": {"x": "y" * 9000}}, "at most 8192"),
        ({"files": {"pending": [{}] * 21}}, "at most 20"),
        ({"acks": [{"id": "a", "status": "well"}]}, "'status'"),
        ({"acks": [{"id": "a", "status": "done"}] * 21}, "at most 20"),
        ({"events": [{"type": "x"}]}, "'id'"),
        ({"events": [{"id": "a", "type": "x", "data": "y" * 9000}]}, "at most 8192"),
        ({"holds": {"through": 1}}, "'epoch'"),
    ],
)
def test_a_report_that_is_wrong_is_refused_whole_with_one_sentence(site, broken, told):
    answer = site.device("drone-1").simulate_post("/v1/report", json=report(**broken))

    assert (answer.status_code, answer.json["code"]) == (400, "malformed-request")
    assert told in answer.json["detail"]
    assert site.rows() == {}


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"\xff",
        b'{"v":1,"state":{"a":1e999}}',
        b'{"v":' + b"9" * 5000 + b"}",
        b'{"v":1,"seq":1,"next_s":9,"boot_id":"b","run_id":"r","state":'
        + b'{"a":' * 9000
        + b"1"
        + b"}" * 9000
        + b"}",
    ],
)
def test_what_is_no_json_object_is_refused(site, body):
    answer = site.device("drone-1").simulate_post(
        "/v1/report", body=body, headers={"Content-Type": "application/json"}
    )

    assert (answer.status_code, answer.json["code"]) == (400, "malformed-request")
    assert site.rows() == {}


def test_a_report_of_more_than_64_kib_is_refused(site):
    answer = site.device("drone-1").simulate_post("/v1/report", json=report(more="x" * 65536))

    assert (answer.status_code, answer.json["code"]) == (413, "too-large")


def test_a_device_whose_first_report_was_refused_is_not_there_yet(site):
    refused = site.device("drone-1").simulate_post("/v1/report", json=report(v=2))
    assert refused.status_code == 400

    assert site.rows() == {}
    assert site.get("/devices/drone-1").status_code == 404
    assert give(site).json["code"] == "command-refused"  # nobody knows what it does when asked

    site.report()
    assert site.get("/devices/drone-1").json["row"] == site.rows()["drone-1"]


def test_members_that_nobody_knows_are_left_out_of_account(site):
    site.report(later=1, state=state(later={"a": [1]}), info=info(later=None))

    assert site.get("/devices/drone-1").json["state"]["later"] == {"a": [1]}


def test_names_are_data_whatever_is_in_them(site):
    name = "\ud800</script>\u202e'\"\u0000مقطع.mp4"
    current = {"file_id": "f", "name": name, "length": 9, "acknowledged": 3, "percent": 33.3}
    site.report(state=state(state="uploading", current=current))

    shown = site.rows()["drone-1"]["current"]["name"]

    assert shown == name.replace("\ud800", "?")


def test_numbers_that_are_none_are_left_out(site):
    queue = {"files": -5, "bytes": 10**30, "oldest_age_s": "1", "failed": True}
    site.report(state=state(queue=queue, problems=["x"] * 1000, rate_bytes_per_s=1.5))

    row = site.rows()["drone-1"]

    assert (row["pending_files"], row["pending_bytes"], row["failed"]) == (0, 2**63 - 1, 0)
    assert (row["oldest_age_s"], len(row["problems"]), row["rate_bytes_per_s"]) == (None, 16, 1)


def test_who_reports_all_the_time_is_told_to_come_back(site):
    client = site.device("drone-1")
    answers = [client.simulate_post("/v1/report", json=report(seq)) for seq in range(40)]

    assert answers[0].status_code == 200
    assert (answers[-1].status_code, answers[-1].json["code"]) == (429, "too-many-requests")
    assert answers[-1].headers["Retry-After"] == "10"
    assert site.report("drone-2")["v"] == 1


def test_a_report_needs_the_credential_of_a_device(site):
    admin = site.operator.simulate_post("/v1/report", json=report())
    status = site.client("drone-3", scopes=("status",)).simulate_post("/v1/report", json=report())
    both = site.client("op", scopes=("admin", "upload")).simulate_post("/v1/report", json=report())
    nobody = testing.TestClient(site.server.app).simulate_post("/v1/report", json=report())

    assert [one.status_code for one in (admin, status, both, nobody)] == [403, 403, 403, 401]
    assert site.rows() == {}


def test_a_device_cannot_report_for_another(site):
    answer = site.device("drone-1").simulate_post("/v1/report", json=report(device="drone-2"))

    assert (answer.status_code, answer.json["code"]) == (403, "device-mismatch")


def test_in_open_mode_a_report_names_its_device():
    with ingest(hosts=("falconframework.org",)) as server:
        client = testing.TestClient(server.app)
        nobody = client.simulate_post("/v1/report", json=report())
        bad = client.simulate_post("/v1/report", json=report(device="../x"))
        good = client.simulate_post("/v1/report", json=report(device="drone-1"))
        seen = client.simulate_get("/v1/fleet")

    assert [one.status_code for one in (nobody, bad, good)] == [400, 400, 200]
    assert [row["device"] for row in seen.json["devices"]] == ["drone-1"]


def test_one_more_device_than_are_kept_is_refused_and_the_others_go_on(site):
    settings = site.server.fleet.service.settings
    object.__setattr__(settings, "max_devices", 2)
    site.report("drone-1")
    site.report("drone-2")

    answer = site.device("drone-3").simulate_post("/v1/report", json=report())

    assert (answer.status_code, answer.json["code"]) == (429, "too-many-requests")
    assert "max_devices" in answer.json["detail"]
    assert site.report("drone-1", seq=2)["v"] == 1


# events


def event(seq, **more):
    return {
        "id": f"e{seq}",
        "type": "edgeup.file.failed",
        "seq": seq,
        "data": {"name": "a"},
        **more,
    }


def test_events_are_taken_once_and_acknowledged_by_their_number(site):
    first = site.report(seq=1, events=[event(7), event(8)])
    again = site.report(seq=2, events=[event(8), event(9)])

    found = site.get("/events", params={"device": "drone-1"}).json

    assert (first["through"], again["through"]) == (8, 9)
    assert [one["event"]["seq"] for one in found["events"]] == [7, 8, 9]
    later = site.get("/events", params={"after": str(found["next"])}).json
    assert later == {"events": [], "next": found["next"]}


def test_events_of_a_report_that_is_too_old_are_taken_all_the_same(site):
    site.report(seq=5)

    assert site.report(seq=4, events=[event(1)])["through"] == 1


# commands


def give(site, cmd="pause", args=None, **more):
    return site.post("/devices/drone-1/commands", {"cmd": cmd, "args": args or {}, **more})


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


# settings


def test_wanted_settings_are_told_until_the_device_has_read_them(site):
    site.report()
    answer = site.operator.simulate_put(
        "/v1/fleet/devices/drone-1/desired", json={"settings": {"paused": True}}
    )
    assert answer.json == {"version": 1}

    told = site.report(seq=2)["desired"]
    after = site.report(seq=3, reported={"v": 1, "version": 1, "status": "applied"})["desired"]

    assert told == {"v": 1, "version": 1, "settings": {"paused": True}}
    assert after is None
    assert site.get("/devices/drone-1").json["reported"]["status"] == "applied"


def test_a_wish_is_newer_than_what_the_device_has_read(site):
    site.report(reported={"version": 41})

    answer = site.operator.simulate_put(
        "/v1/fleet/devices/drone-1/desired", json={"settings": {"paused": True}}
    )

    assert answer.json == {"version": 42}


def want(site, settings, if_match=None):
    headers = {} if if_match is None else {"If-Match": if_match}
    return site.operator.simulate_put(
        "/v1/fleet/devices/drone-1/desired", json={"settings": settings}, headers=headers
    )


def test_of_two_operators_who_saw_the_same_wish_the_second_is_told_of_the_first(site):
    both = info(settings=["paused", "limit_bytes_per_s"])
    site.report(info=both)
    first = want(site, {"paused": True}, '"0"')
    second = want(site, {"limit_bytes_per_s": 700}, '"0"')
    told = site.report(seq=2, info=both)["desired"]
    again = want(site, {"paused": True, "limit_bytes_per_s": 700}, first.headers["ETag"])

    assert (first.json, first.headers["ETag"]) == ({"version": 1}, '"1"')
    assert (second.status_code, second.json["code"]) == (412, "precondition-failed")
    assert 'version 1: {"paused": true}' in second.json["detail"]
    assert told["settings"] == {"paused": True}
    assert again.json == {"version": 2}


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        (None, 200),
        ("*", 200),
        ('"1"', 200),
        ('"7", "1"', 200),
        ('"01"', 200),
        ('W/"1"', 412),
        ("1", 412),
        ('"2"', 412),
        ("", 412),
        ('"' + "9" * 5000 + '"', 412),
        ('"1,"', 412),
    ],
)
def test_a_wish_replaces_only_what_its_sender_has_seen(site, if_match, status):
    site.report()
    want(site, {"paused": True})

    assert want(site, {"paused": False}, if_match).status_code == status


def test_a_version_behind_which_there_is_none_is_not_believed(site):
    site.report(reported={"v": 1, "version": 2**63 - 1})

    assert want(site, {"paused": True}).json == {"version": 1}
    site.report(seq=2, reported={"v": 1, "version": 2**53 - 2})
    assert want(site, {"paused": True}).json == {"version": 2**53 - 1}


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({}, 422),
        ({"paused": "yes"}, 422),
        ({"server_url": "x"}, 422),
        ({"limit_bytes_per_s": None}, 409),
    ],
)
def test_settings_that_cannot_be_are_refused(site, settings, status):
    site.report()
    answer = site.operator.simulate_put(
        "/v1/fleet/devices/drone-1/desired", json={"settings": settings}
    )

    assert answer.status_code == status
    assert site.report(seq=2)["desired"] is None


# what operators see


def test_a_viewer_is_told_what_changed_since_it_looked(site):
    site.report("drone-1")
    site.report("drone-2")
    whole = site.get("").json

    site.report("drone-2", seq=2, state=state(state="paused"))
    delta = site.get("", params={"since": whole["cursor"]}).json

    assert (whole["is_whole"], len(whole["devices"])) == (True, 2)
    assert (delta["is_whole"], [row["device"] for row in delta["devices"]]) == (False, ["drone-2"])
    assert delta["tiles"]["devices"] == 2
    assert site.get("", params={"since": "nonsense"}).json["is_whole"] is True
    assert site.get("", params={"since": "0-1"}).json["is_whole"] is True


def test_a_viewer_that_has_everything_gets_an_empty_answer(site):
    site.report()
    tag = site.get("").headers["ETag"]

    assert site.get("", headers={"If-None-Match": tag}).status_code == 304
    site.report(seq=2)
    assert site.get("", headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["", "/devices/drone-1", "/devices/drone-1/history", "/devices/drone-1/holds", "/events"],
)
def test_what_an_operator_reads_is_packed_for_who_takes_it(site, path):
    site.report(files={"pending": [{"name": "DJI_0042.MP4"} for _ in range(20)], "failed": []})
    for number in range(20):
        site.report(f"drone-{number}", events=[event(number + 1)])
    rows = [[f"f{n}", f"DJI_{n}.MP4", "DCIM", n, n, "pending", None] for n in range(50)]
    document = {"v": 1, "epoch": "e", "from": 0, "through": 50, "rows": rows}
    site.device("drone-1").simulate_post("/v1/report/holds", json=document)

    plain = site.get(path)
    packed = site.get(path, headers={"Accept-Encoding": "gzip, br"})
    unwanted = site.get(path, headers={"Accept-Encoding": "gzip;q=0"})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert "Content-Encoding" not in unwanted.headers
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
    unpacked = gzip.decompress(packed.content)
    assert json.loads(unpacked) == plain.json
    assert len(packed.content) < len(unpacked) / 2


def test_an_unchanged_list_is_not_sent_again_however_it_was_packed(site):
    site.report()
    tags = [
        site.get("", headers={"Accept-Encoding": coding}).headers["ETag"]
        for coding in ("gzip", "identity")
    ]

    assert len(set(tags)) == 2
    for tag in tags:
        for coding in ("gzip", "identity"):
            held = {"If-None-Match": tag, "Accept-Encoding": coding}
            answer = site.get("", headers=held)
            assert (answer.status_code, answer.content) == (304, b"")
            assert "Content-Encoding" not in answer.headers


def test_a_device_that_was_forgotten_is_told_as_gone(site):
    site.report()
    cursor = site.get("").json["cursor"]

    assert site.operator.simulate_delete("/v1/fleet/devices/drone-1").status_code == 204
    delta = site.get("", params={"since": cursor}).json

    assert (delta["gone"], delta["devices"]) == (["drone-1"], [])
    assert site.get("/devices/drone-1").status_code == 404


def test_a_device_that_only_uploads_is_seen_as_never_reported(site):
    site.device("drone-9").simulate_post(
        "/v1/uploads", headers={"Idempotency-Key": "k" * 22}, json={"name": "a.mp4"}
    )
    site.server.fleet.worker.step(site.server.fleet.service.clock.now_s())

    row = site.rows()["drone-9"]

    assert row["presence"] == "never"
    assert row["last_seen"] is not None


def test_all_that_is_known_of_a_device_is_in_one_document(site):
    files = {"pending": [{"file_id": "f", "name": "a"}], "failed": []}
    site.report(files=files, events=[event(1)])
    give(site)

    found = site.get("/devices/drone-1")

    assert found.json["row"]["device"] == "drone-1"
    assert found.json["info"] == info()
    assert found.json["files"] == files
    assert [one["cmd"] for one in found.json["commands"]] == ["pause"]
    assert [one["event"]["id"] for one in found.json["events"]] == ["e1"]
    assert "pause" in found.json["can"]
    assert found.json["notify"] == {"silent_hours": 24, "pending_hours": 24, "tell_failed": True}
    again = site.get("/devices/drone-1", headers={"If-None-Match": found.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("hours", "step_s", "count"), [("1", 60, 60), ("24", 60, 1440), ("48", 900, 192)]
)
def test_history_has_one_value_for_each_step(site, hours, step_s, count):
    site.report()

    found = site.get("/devices/drone-1/history", params={"hours": hours}).json

    assert (found["step_s"], len(found["rate"]), len(found["presence"])) == (step_s, count, count)


@pytest.mark.parametrize("hours", ["0", "745", "x", "-1", "9" * 50])
def test_history_of_no_time_is_refused(site, hours):
    site.report()

    answer = site.get("/devices/drone-1/history", params={"hours": hours})

    assert (answer.status_code, answer.json["code"]) == (400, "malformed-request")


# who may


OPERATIONS = [
    ("GET", "/v1/fleet"),
    ("GET", "/v1/fleet/events"),
    ("GET", "/v1/fleet/devices/drone-1"),
    ("DELETE", "/v1/fleet/devices/drone-1"),
    ("GET", "/v1/fleet/devices/drone-1/history"),
    ("GET", "/v1/fleet/devices/drone-1/commands"),
    ("POST", "/v1/fleet/devices/drone-1/commands"),
    ("GET", "/v1/fleet/devices/drone-1/commands/c1"),
    ("PUT", "/v1/fleet/devices/drone-1/desired"),
    ("GET", "/v1/fleet/devices/drone-1/holds"),
    ("POST", "/v1/fleet/devices/drone-1/fetch"),
]


@pytest.mark.parametrize("scopes", [("upload",), ("status",), ("upload", "status")])
def test_a_device_sees_and_steers_nobody_not_even_itself(site, scopes):
    site.report()
    client = site.client("drone-1", scopes=scopes)

    answers = [client.simulate_request(method, path, json={}) for method, path in OPERATIONS]

    assert [(one.status_code, one.json["code"]) for one in answers] == [(403, "forbidden")] * 11
    assert "drone-1" in site.rows()


def test_nobody_sees_anything_without_a_credential(site):
    client = testing.TestClient(site.server.app)

    answers = [client.simulate_request(method, path) for method, path in OPERATIONS]

    assert {one.status_code for one in answers} == {401}


def test_a_page_of_another_site_steers_nothing_through_a_browser_on_this_machine():
    with ingest(hosts=("falconframework.org",)) as server:
        client = testing.TestClient(server.app)
        client.simulate_post("/v1/report", json=report(device="drone-1"))
        for foreign in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}):
            for method, path in OPERATIONS:
                if method == "GET" and not foreign:
                    continue
                answer = client.simulate_request(method, path, json={"cmd": "a"}, headers=foreign)

                assert (answer.status_code, answer.json["code"]) == (403, "forbidden")

        assert "drone-1" in client.simulate_get("/v1/fleet").text


@pytest.mark.parametrize(
    "headers", [BY_US, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://falconframework.org"}]
)
def test_in_open_mode_whoever_is_on_this_machine_may_steer(headers):
    with ingest(hosts=("falconframework.org",)) as server:
        client = testing.TestClient(server.app)
        client.simulate_post("/v1/report", json=report(device="drone-1"))

        answer = client.simulate_post(
            "/v1/fleet/devices/drone-1/commands", json={"cmd": "pause"}, headers=headers
        )

        assert answer.status_code == 202


# over restarts


def test_what_was_reported_and_asked_survives_a_restart(tmp_path):
    with ingest(tmp_path, mode="token") as server:
        site = Site(server)
        site.report(state=state(state="paused"), files={"pending": [{"name": "a"}], "failed": []})
        given = give(site).json["id"]
        site.operator.simulate_put(
            "/v1/fleet/devices/drone-1/desired", json={"settings": {"paused": True}}
        )
        token = json.loads(json.dumps(site.device("drone-1")._default_headers))

    with ingest(tmp_path, mode="token") as server:
        site = Site(server)
        row = site.rows()["drone-1"]
        found = site.get("/devices/drone-1").json
        device = testing.TestClient(server.app, headers=token)
        small = report(2, info=None, state=None, files=None)
        answer = device.simulate_post("/v1/report", json=small).json

    assert (row["state"], row["presence"], row["version"]) == ("paused", "online", "1.0")
    assert found["files"]["pending"] == [{"name": "a"}]
    assert [one["id"] for one in answer["commands"]] == [given]
    assert answer["desired"]["version"] == 1
    assert answer["want"] == ["files", "info", "state"]
