"""What operators see of their devices, and of what changed since they looked."""

import gzip
import json

import pytest

from tests.support.fleet import event, give, info, state


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


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/recordings", {"q": "\0"}),
        ("/devices/drone-1/holds", {"q": "DJI\0"}),
        ("/devices/drone-1/holds", {"cursor": "1:a\0"}),
        ("/devices/drone-1/holds", {"from": ["2026-11-29", "2026-11-30"]}),
        ("/events", {"device": "\0"}),
        ("/events", {"limit": "0" * 19 + "1" + "9" * 30}),
        ("/events", {"after": "0" * 19 + "1" + "9" * 30}),
        ("/devices/drone-1/history", {"hours": "0" * 19 + "1" + "9" * 30}),
    ],
)
def test_what_no_list_can_be_asked_for_is_refused_before_a_database_sees_it(site, path, params):
    site.report()

    answer = site.get(path, params=params)

    assert (answer.status_code, answer.json["code"]) == (400, "malformed-request")
