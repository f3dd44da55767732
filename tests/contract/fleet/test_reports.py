"""What devices report is taken once or refused in a sentence: the engines are held to one contract elsewhere."""

import pytest
from falcon import testing

from tests.support.fleet import Site, event, give, info, report, state
from tests.support.ingest import ingest


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


def test_row_39_two_agents_that_report_as_one_device_are_both_told(site):
    told = [
        site.report(seq=seq, run_id=run)["contested"]
        for seq in range(1, 5)
        for run in ("one", "other")
    ]
    alone = [site.report(seq=seq, run_id=f"run-{seq}")["contested"] for seq in range(1, 9)]

    # One late report of a run that has ended is no proof, and a device that starts all the time neither.
    assert told == [False] * 4 + [True] * 4
    assert alone == [False] * 8


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


def test_what_was_reported_and_asked_survives_a_restart(tmp_path):
    with ingest(tmp_path, mode="token") as server:
        site = Site(server)
        site.report(state=state(state="paused"), files={"pending": [{"name": "a"}], "failed": []})
        given = give(site).json["id"]
        site.operator.simulate_put(
            "/v1/fleet/devices/drone-1/desired", json={"settings": {"paused": True}}
        )
        token = server.token("drone-1")

    with ingest(tmp_path, mode="token") as server:
        site = Site(server)
        row = site.rows()["drone-1"]
        found = site.get("/devices/drone-1").json
        device = testing.TestClient(server.app, headers={"Authorization": f"Bearer {token}"})
        small = report(2, info=None, state=None, files=None)
        answer = device.simulate_post("/v1/report", json=small).json

    assert (row["state"], row["presence"], row["version"]) == ("paused", "online", "1.0")
    assert found["files"]["pending"] == [{"name": "a"}]
    assert [one["id"] for one in answer["commands"]] == [given]
    assert answer["desired"]["version"] == 1
    assert answer["want"] == ["files", "info", "state"]
