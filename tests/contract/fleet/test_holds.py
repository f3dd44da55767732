"""What a device holds, told run by run, and asked for page by page."""

import gzip
import json

import pytest

from tests.support.fleet import Site
from tests.support.ingest import ingest


def row(number, **more):
    given = {"name": f"DJI_{number:04}.MP4", "mtime_s": 1_700_000_000 + number, **more}
    return [f"f{number}", given["name"], "day", 10, given["mtime_s"], "stable", "metered"]


def changes(since, through, rows, **more):
    return {"v": 1, "epoch": "e", "from": since, "through": through, "rows": rows, **more}


def tell(site, document, **more):
    packed = gzip.compress(json.dumps(document).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip", **more}
    return site.device("drone-1").simulate_post("/v1/report/holds", body=packed, headers=headers)


def held(site, **params):
    return site.get("/devices/drone-1/holds", params=params).json


def test_a_list_grows_by_its_changes(site):
    first = tell(site, changes(0, 2, [row(1), row(2)])).json
    second = tell(site, changes(2, 4, [["f1", None], row(3)])).json

    assert (first, second) == ({"epoch": "e", "through": 2}, {"epoch": "e", "through": 4})
    assert [one["file_id"] for one in held(site)["holds"]] == ["f3", "f2"]
    assert held(site)["count"] == 2


def test_a_run_that_comes_again_changes_nothing(site):
    tell(site, changes(0, 1, [row(1)]))
    tell(site, changes(1, 2, [row(2)]))
    tell(site, changes(2, 3, [["f2", None]]))

    again = tell(site, changes(1, 2, [row(2)])).json

    assert again["through"] == 3
    assert [one["file_id"] for one in held(site)["holds"]] == ["f1"]


def test_a_run_with_a_gap_before_it_is_answered_with_where_to_begin(site):
    tell(site, changes(0, 1, [row(1)]))

    gap = tell(site, changes(5, 6, [row(6)])).json
    other = tell(site, {**changes(5, 6, [row(6)]), "epoch": "later"}).json

    assert (gap, other) == ({"epoch": "e", "through": 1}, {"epoch": "later", "through": 0})
    assert [one["file_id"] for one in held(site)["holds"]] == ["f1"]


def test_the_answer_to_a_report_says_how_far_the_list_is(site):
    tell(site, changes(0, 2, [row(1)]))

    behind = site.report(holds={"epoch": "e", "through": 5})
    level = site.report(seq=2, holds={"epoch": "e", "through": 2})

    assert (behind["holds"], behind["want"]) == ({"epoch": "e", "through": 2}, ["holds"])
    assert level["want"] == []


def test_what_is_held_is_searched_and_paged(site):
    tell(site, changes(0, 9, [row(number) for number in range(5)]))

    first = held(site, limit="2")
    second = held(site, limit="2", cursor=first["next"])

    assert [one["file_id"] for one in first["holds"]] == ["f4", "f3"]
    assert [one["file_id"] for one in second["holds"]] == ["f2", "f1"]
    assert held(site, limit="2", cursor=held(site, limit="4")["next"])["next"] is None
    assert [one["name"] for one in held(site, q="0003")["holds"]] == ["DJI_0003.MP4"]
    assert len(held(site, **{"from": "2023-11-14T22:13:23Z"})["holds"]) == 2
    assert held(site, to="2023-11-13")["holds"] == []


@pytest.mark.parametrize(
    "params",
    [{"cursor": "x"}, {"cursor": "1:"}, {"from": "yesterday"}, {"limit": "0"}, {"limit": "1001"}],
)
def test_a_page_that_cannot_be_is_refused(site, params):
    site.report()

    answer = site.get("/devices/drone-1/holds", params=params)

    assert (answer.status_code, answer.json["code"]) == (400, "malformed-request")


@pytest.mark.parametrize(
    "broken",
    [
        {"v": 2},
        {"epoch": ""},
        {"from": -1},
        {"from": 3},
        {"through": 2**70},
        {"rows": [["f1"]]},
        {"rows": [["f1", "x"]]},
        {"rows": [[1, None]]},
        {"rows": [{}]},
        {"rows": [["f", None]] * 20_001},
    ],
)
def test_a_run_that_is_wrong_is_refused_whole(site, broken):
    site.report()

    answer = tell(site, {**changes(0, 2, [row(1)]), **broken})

    assert (answer.status_code, answer.json["code"]) == (400, "malformed-request")
    assert held(site)["count"] == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"not gzip", "malformed-request"),
        (gzip.compress(b"[]")[:-3], "malformed-request"),
        (gzip.compress(b"{}") + b"more", "malformed-request"),
        (gzip.compress(b"[" + b" " * (5 * 2**20)), "too-large"),
        (gzip.compress(b"[" * 100_000), "malformed-request"),
        (b"\0" * (256 * 1024 + 1), "too-large"),
    ],
    ids=["not packed", "cut off", "followed by more", "huge", "deep", "too long"],
)
def test_a_body_that_is_no_list_or_would_be_huge_is_refused(site, body, code):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = site.device("drone-1").simulate_post("/v1/report/holds", body=body, headers=headers)

    assert answer.json["code"] == code


def test_nothing_else_is_taken_packed(site):
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = site.device("drone-1").simulate_post(
        "/v1/report", body=gzip.compress(b"{}"), headers=headers
    )

    assert (answer.status_code, answer.json["code"]) == (415, "unsupported-media-type")


@pytest.mark.slow
def test_a_hundred_thousand_recordings_come_in_five_runs_and_are_paged(tmp_path):
    with ingest(tmp_path, mode="token") as server:
        site = Site(server)
        for run in range(5):
            rows = [row(number) for number in range(run * 20_000, (run + 1) * 20_000)]
            answer = tell(site, changes(run, run + 1, rows))
            assert answer.json["through"] == run + 1

        assert held(site, limit="1")["count"] == 100_000
        assert held(site, q="_99999", limit="1")["holds"][0]["file_id"] == "f99999"


def test_a_fetch_is_a_command_with_what_is_wanted(site):
    site.report()
    wanted = {"query": {"name": "DJI_*", "from": "2026-11-29"}, "metered": True}

    given = site.post("/devices/drone-1/fetch", wanted)
    [told] = site.report(seq=2)["commands"]

    assert given.status_code == 202
    assert (told["id"], told["cmd"], told["args"]) == (given.json["id"], "fetch", wanted)
    assert site.post("/devices/drone-1/fetch", {"query": {"path": "/"}}).status_code == 422


@pytest.mark.parametrize("cursor", ["9999999999999999999:f", "-9223372036854775808:f", "1:", "x:f"])
def test_a_page_that_no_answer_named_is_refused(site, cursor):
    tell(site, changes(0, 1, [row(1)]))

    answer = site.get("/devices/drone-1/holds", params={"cursor": cursor})

    assert (answer.status_code, answer.json["code"]) == (400, "malformed-request")


def test_pages_go_on_behind_the_longest_ids_and_the_latest_times(site):
    rows = [[f"{number:0128}", *row(0, mtime_s=2**70)[1:]] for number in range(5)]
    tell(site, changes(0, 1, rows))

    first = held(site, limit="2")
    second = held(site, limit="2", cursor=first["next"])
    third = held(site, limit="2", cursor=second["next"])

    pages = [*first["holds"], *second["holds"], *third["holds"]]
    assert [one["file_id"] for one in pages] == [one[0] for one in rows]
    assert third["next"] is None
