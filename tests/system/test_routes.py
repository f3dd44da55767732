"""Files that rules send to buckets and prefixes of their own: a whole server, and a real SeaweedFS."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import closing
from dataclasses import replace

import pytest
import structlog
from structlog.testing import capture_logs

from ingest_server import cli
from ingest_server.core.errors import StorageError
from ingest_server.core.record import UploadRecord
from ingest_server.storage.memory.state import MemoryState
from ingest_server.storage.s3 import proving
from ingest_server.storage.s3.blobs import S3Blobs
from ingest_server.storage.s3.bucket import Bucket
from ingest_server.storage.s3.places import S3Places
from ingest_server.upkeep.recovery import settle_lost
from tests.support.core_site import new_key
from tests.support.processes import toml
from tests.support.routed import Field, make_bucket
from tests.support.s3_keys import content_of, keys_below, put_object
from tests.support.s3_proxy import answer, proxy_to
from tests.support.seaweed import seaweed
from tests.support.secured import complete, create, put, upload
from tests.support.tongues import TONGUES, File
from tests.support.visitors import add_user, visitor

pytestmark = pytest.mark.slow
MIB = 1024 * 1024
DIALECTS = [name for name in TONGUES if name not in {"native", "tus", "ietf"}]
DATA = os.urandom(9 * MIB)


@pytest.fixture(scope="module")
def store():
    with seaweed() as found:
        yield found


@pytest.fixture(scope="module")
def bucket(store):
    return store.bucket()


@pytest.fixture
def field(tmp_path, store, bucket):
    return Field(tmp_path, store, bucket)


def test_a_device_that_a_rule_names_has_its_files_and_their_pieces_in_a_bucket_of_their_own(field):
    with field.server(field.rule()) as site:
        drone, camera = site.device("drone-1"), site.device("cam-1")
        begun = create(drone, name="a.mp4", length=len(DATA)).json()["id"]
        put(drone, begun, DATA[: 8 * MIB])
        pieces = keys_below(field.other, ".ingest-server/parts/")
        own_pieces = keys_below(field.own, ".ingest-server/parts/")
        put(drone, begun, DATA[8 * MIB :], start=8 * MIB)
        receipt = complete(drone, begun, DATA).json()
        other = upload(camera, b"of the camera", name="b.mp4")

    place = f"{field.other}/drone-1/"
    assert (len(pieces), own_pieces) == (1, [])
    assert receipt["published_as"].startswith(place)
    assert field.content(receipt["published_as"]) == DATA
    assert other["published_as"].startswith("cam-1/")
    assert content_of(field.own, field.own.prefix + other["published_as"]) == b"of the camera"


def test_a_changed_configuration_moves_no_open_upload_and_loses_no_file(field):
    with field.server(field.rule()) as site:
        token = site.token("drone-1")
        drone = site.client(token)
        first = upload(drone, b"first", name="a.mp4")
        begun = create(drone, name="b.mp4", length=len(DATA)).json()["id"]
        put(drone, begun, DATA[: 8 * MIB])

    with field.server(page={"enabled": True}) as site:
        add_user(site.state)
        drone = site.client(token)
        held = drone.get(f"/v1/uploads/{begun}").json()["received"]
        put(drone, begun, DATA[8 * MIB :], start=8 * MIB)
        second = complete(drone, begun, DATA).json()
        again = create(drone, name="a.mp4", length=5, digest=first["digest"]).json()
        third = upload(drone, b"third", name="c.mp4")
        read = visitor(site).get(f"/v1/fleet/recordings/{first['upload_id']}/content").content

    assert held == [[0, 8 * MIB]]
    assert second["published_as"].startswith(f"{field.other}/")
    assert field.content(second["published_as"]) == DATA
    assert again["receipt"]["published_as"] == first["published_as"]
    assert read == b"first"
    assert third["published_as"].startswith("drone-1/")
    assert keys_below(field.other, ".ingest-server/parts/") == []


def run(field, capsys, *words, rules=()):
    """Run a command beside no server; return its exit code, and the lines that it printed."""
    storage = field.store.settings(field.own)
    server = {"data_dir": field.folder / "data"}
    config = field.folder / "commands.toml"
    config.write_text(toml({"server": server, "route": list(rules), "storage": storage}))
    capsys.readouterr()
    kept = structlog.get_config()
    try:
        code = cli.main([*words, "--config", str(config)])
    finally:
        structlog.configure(**kept)  # a command decides where its process logs to
    return code, capsys.readouterr().out.splitlines()


@pytest.mark.long
def test_a_check_tries_each_place_and_names_those_that_no_rule_leads_to_any_more(field, capsys):
    _, before = run(field, capsys, "check", rules=[field.rule()])
    with field.server(field.rule()) as site:
        upload(site.device("drone-1"), b"first", name="a.mp4")
        create(site.device("drone-2"), name="b.mp4")
    _, with_rule = run(field, capsys, "check", rules=[field.rule()])
    wrong, missing = run(field, capsys, "check", rules=[field.rule(bucket="nowhere")])
    nowhere = str(field.other).replace(field.name, "nowhere")
    _, without = run(field, capsys, "check")

    found = f"OK    store     {field.other} takes files, gives them back and removes them"
    assert (before[-1], with_rule[-1]) == (found, found)
    assert not any(line.startswith(("WARN", "FAIL")) for line in with_rule)
    assert wrong == 1
    assert missing[-1].startswith(f"FAIL  store     cannot use {nowhere}: there is no such bucket")
    [warning] = [line for line in without if line.startswith("WARN")]
    assert warning.startswith(
        f"WARN  route     {field.other} has 1 unfinished upload(s) and 1 file(s), and no [[route]] leads there"
    )


@pytest.mark.long
def test_a_verification_reads_the_files_of_every_place_and_finds_what_has_changed_there(
    field, capsys
):
    with field.server(field.rule()) as site:
        first = upload(site.device("drone-1"), b"first", name="a.mp4")
        second = upload(site.device("cam-1"), b"second", name="b.mp4")
        upload(site.device("drone-2"), b"third", name="c.mp4")
    key = first["published_as"].removeprefix(f"s3://{field.name}/")
    put_object(field.other, key, b"worse")
    put_object(field.other, f"{field.other.prefix}stranger.mp4", b"nobody's")

    code, printed = run(field, capsys, "verify", "--json")

    report = json.loads("\n".join(printed))
    assert code == 1
    assert report["files"] == 3
    fault, stranger = report["findings"]
    assert (fault["path"], fault["verdict"]) == (first["published_as"], "corrupt")
    apart = f"{field.other}/.ingest-server/quarantine/"
    assert fault["quarantined_as"].startswith(apart)
    assert field.content(fault["quarantined_as"]) == b"worse"
    assert (stranger["path"], stranger["verdict"]) == (f"{field.other}/stranger.mp4", "unknown")
    assert content_of(field.own, field.own.prefix + second["published_as"]) == b"second"


@pytest.mark.long
def test_a_place_that_another_server_has_is_refused_by_both(field, tmp_path, capsys):
    other = Field(tmp_path / "other", field.store, field.name)
    with field.server(field.rule()) as site:
        upload(site.device("drone-1"), b"first", name="a.mp4")
    with other.server():
        pass
    shared = field.rule()

    with closing(S3Places(S3Blobs(other.own), [str(field.other)], MemoryState())) as started:
        started.prepare()
        with pytest.raises(StorageError, match="in use by another server"):
            started.identify()
    _, checked = run(other, capsys, "check", rules=[shared])
    other.own = field.other
    _, as_own = run(other, capsys, "check")

    assert as_own[-1].startswith(
        f"FAIL  store     {field.other} is where a [[route]] of a server leads"
    )
    assert checked[-1].startswith(f"FAIL  store     {field.other} is in use by another server")
    assert field.content(f"{field.other}/.ingest-server/store") == b""


def away_for(bucket):
    """Refuse what is asked about one bucket, as a store does whose key may not use it any more."""
    refuse = answer(403, "AccessDenied")

    def deed(request, forward):
        return (refuse if request.path.startswith(f"/{bucket}") else lambda *_: forward(request))(
            request, forward
        )

    return deed


def test_a_bucket_that_is_away_stops_its_own_uploads_and_nothing_else(field, store):
    with proxy_to(store.endpoint) as proxy:
        field.own = replace(field.own, endpoint=proxy.endpoint)
        with field.server(field.rule()) as site:
            drone, camera = site.device("drone-1"), site.device("cam-1")
            early = upload(drone, b"early", name="e.mp4")
            begun = create(drone, name="a.mp4", length=len(DATA)).json()["id"]
            put(drone, begun, DATA[: 8 * MIB])
            for kind in ("put", "get", "head", "list", "delete", "delete many", "begin"):
                proxy.on(kind, away_for(field.name), times=1000)
            refused = put(drone, begun, DATA[8 * MIB :], start=8 * MIB)
            refused_create = create(drone, name="b.mp4", length=1)
            again = create(drone, name="e.mp4", length=5, digest=early["digest"])
            status = drone.get(f"/v1/uploads/{early['upload_id']}")
            receipt = upload(camera, b"of the camera", name="c.mp4")
            site.server.parts.housekeeper._term = None
            site.server.parts.housekeeper.keep_all()
            site.server.parts.housekeeper._store.blobs.look_around()
            ready, state = camera.get("/readyz"), site.state.get(begun).state
            proxy.clear()
            site.server.parts.housekeeper._store.blobs.look_around()
            ready_again = camera.get("/readyz")
            put(drone, begun, DATA[8 * MIB :], start=8 * MIB)
            late = complete(drone, begun, DATA).json()
        stored = field.content(late["published_as"])

    answers = (refused, refused_create, again, status)
    assert {refusal(one) for one in answers} == {(503, "server-busy", "30")}
    assert all("the store's key may not do this" in one.json()["detail"] for one in answers)
    assert receipt["published_as"].startswith("cam-1/")
    assert (ready.status_code, ready.text, state) == (200, "route-away\n", "open")
    assert ready_again.text == "ok\n"
    assert stored == DATA


def refusal(answer):
    return answer.status_code, answer.json()["code"], answer.headers.get("Retry-After")


def test_a_server_starts_without_the_bucket_of_a_rule_and_takes_it_up_when_it_is_there(
    field, store, capsys, monkeypatch
):
    monkeypatch.setattr(proving, "RETRY_S", 0.0)
    late = f"late-{secrets.token_hex(4)}"
    rule = field.rule(bucket=late)
    place = field.own.sibling(f"s3://{late}/{field.other.prefix}")
    field.other = place
    code, checked = run(field, capsys, "check", rules=[rule])
    with field.server(rule, protocols={"compat": DIALECTS}) as site, capture_logs() as logs:
        drone, camera = site.device("drone-1"), site.device("cam-1")
        data = os.urandom(1000)
        files = {name: File(f"{name}.mp4", os.urandom(1000), new_key(), 1000) for name in TONGUES}
        refused = {name: tongue.begin(drone, files[name])[0] for name, tongue in TONGUES.items()}
        receipt = upload(camera, b"of the camera", name="c.mp4")
        ready = camera.get("/readyz")
        make_bucket(place)
        taken = {name: tongue.begin(drone, files[name])[0] for name, tongue in TONGUES.items()}
        late_receipt = upload(drone, data, name="d.mp4")
        ready_again = camera.get("/readyz")

    why = "there is no such bucket: make it, or name another"
    means = (
        "Uploads that go there are refused, and all others go on. The server tries again by itself"
    )
    assert code == 1
    assert checked[-1].startswith(f"FAIL  store     cannot use {place}: {why}")
    assert checked[-1].endswith(means)
    assert {one.status_code for one in refused.values()} == {503}
    assert {one.headers["Retry-After"] for one in refused.values()} == {"30"}
    assert [name for name, one in refused.items() if why not in one.text] == []
    assert receipt["published_as"].startswith("cam-1/")
    assert (ready.status_code, ready.text) == (200, "route-away\n")
    assert {one.status_code // 100 for one in taken.values()} == {2}
    assert field.content(late_receipt["published_as"]) == data
    assert ready_again.text == "ok\n"
    assert [one["place"] for one in logs if one["event"] == "route.back"] == [str(place)]


def test_a_bucket_that_is_another_servers_when_it_comes_back_takes_nothing(
    field, tmp_path, monkeypatch
):
    monkeypatch.setattr(proving, "RETRY_S", 0.0)
    late = f"late-{secrets.token_hex(4)}"
    other = Field(tmp_path / "other", field.store, late)
    field.other = other.own = field.own.sibling(f"s3://{late}/raw")
    with field.server(field.rule(bucket=late)) as site:
        drone = site.device("drone-1")
        before = create(drone, name="a.mp4", length=1)
        make_bucket(other.own)
        with other.server():
            pass
        after = create(drone, name="a.mp4", length=1)

    assert refusal(before) == refusal(after) == (503, "server-busy", "30")
    assert "is in use by another server" in after.json()["detail"]
    assert keys_below(other.own, ".ingest-server/begun/") == []


@pytest.fixture
def places(field):
    with closing(S3Places(S3Blobs(field.own), [str(field.other)], MemoryState())) as found:
        found.prepare()
        yield found


def published(places, place, target, data):
    upload_id = secrets.token_hex(16)
    places.create_part(upload_id, place)
    hand = places.open_part(upload_id)
    hand.pwrite(memoryview(data), 0)
    hand.sync()
    assert places.publish(upload_id, target)
    places.remove_part(upload_id)
    return target


def test_what_is_done_to_a_file_of_one_place_is_not_done_to_its_namesake_in_another(field, places):
    other = str(field.other)
    here = published(places, "", "Cam/a.mp4", b"here")
    there = published(places, other, f"{other}/Cam/a.mp4", b"there")

    taken = places.is_taken(f"{other}/Cam/b.mp4"), places.is_taken(there)
    twins = places.has_twin(f"{other}/Cam/A.mp4"), places.has_twin(f"{other}/Cam/a.mp4")
    spelled = places.respelled(f"{other}/CAM/x.mp4")
    apart = places.copy_to_quarantine(there)
    removed = places.remove_published(there, places.identity(there))

    assert taken == (False, True)
    assert twins == (True, False)
    assert spelled == f"{other}/Cam/x.mp4"
    assert apart == f"{other}/.ingest-server/quarantine/Cam/a.mp4"
    assert (removed, places.is_taken(there)) == (True, False)
    assert list(places.published_names()) == [here]
    assert content_of(field.own, f"{field.own.prefix}Cam/a.mp4") == b"here"


def test_a_stray_is_set_aside_in_the_place_where_it_is(field, places):
    stray = secrets.token_hex(16)
    places.place(str(field.other)).create_part(stray)

    assert (places.part_ids(), places.is_fresh(stray)) == ([stray], True)
    places.set_aside(stray)

    assert places.part_ids() == []
    assert keys_below(field.other, ".ingest-server/begun/") == []


def test_the_place_of_nobody_is_a_file_that_is_not_there(places):
    with pytest.raises(FileNotFoundError):
        places.open_published("s3://nobody/a.mp4")


def test_a_route_within_a_place_where_uploads_are_is_refused(field):
    state = MemoryState()
    record = UploadRecord("u", "cam", "k", "a", "", "2026-11-29T00:00:00Z", route=str(field.other))
    state.run(lambda rows: rows.insert(record))

    within = f"{field.other}/deeper lies in {field.other}, where files are"
    places = S3Places(S3Blobs(field.own), [f"{field.other}/deeper"], state)
    with closing(places), pytest.raises(StorageError, match=within):
        places.prepare()


def test_a_place_that_was_emptied_is_neither_begun_anew_nor_believed(field):
    state = MemoryState()
    place = str(field.other)
    record = UploadRecord("u" * 32, "cam", "k", "a", "", "2026-11-29T00:00:00Z", route=place)
    with closing(S3Places(S3Blobs(field.own), [place], state)) as places:
        places.prepare()
        places.identify()
        state.run(lambda rows: rows.insert(record))
        places.create_part(record.id, place)
        emptied(field.other)

        failed = settle_lost(state, places)
        with pytest.raises(StorageError, match=f"{place} is empty, but the database knows of"):
            places.identify()

    assert (failed, state.get(record.id).state) == (0, "open")
    assert keys_below(field.other, "") == []


def test_a_verification_takes_no_file_of_an_emptied_place_for_moved_away(field, capsys):
    with field.server(field.rule()) as site:
        upload(site.device("drone-1"), b"first", name="a.mp4")
    emptied(field.other)
    code, report = run(field, capsys, "verify", rules=[field.rule()])
    emptied(field.own)
    refused = run(field, capsys, "verify", rules=[field.rule()])

    assert (code, report) == (1, ["0 of 1 published files are intact (5 B read); 1 unreadable."])
    assert refused == (78, [])


def emptied(place):
    bucket = Bucket(place)
    bucket.delete_all([one.key for one in bucket.listed(place.prefix)])
    bucket.close()


@pytest.mark.long
def test_a_command_goes_by_what_it_can_reach(field, capsys):
    with field.server(field.rule()) as site:
        begun = create(site.device("cam-1"), name="b.mp4").json()["id"]
        upload(site.device("cam-2"), b"second", name="c.mp4")

    code, printed = run(field, capsys, "abort", begun, rules=[field.rule(bucket="nowhere")])
    verified, report = run(field, capsys, "verify", rules=[field.rule(bucket="nowhere")])

    assert (code, verified) == (0, 0), (printed, report)
