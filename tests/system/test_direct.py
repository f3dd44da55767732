"""Bytes that devices send to the bucket themselves: a whole server, and a real SeaweedFS."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from ingest_server import cli
from ingest_server.storage.interface import Claim
from ingest_server.storage.s3.blobs import S3Blobs
from ingest_server.upkeep import housekeeper
from ingest_server.uploads.direct import MOST_SIGNED
from tests.support.direct import ask_to_sign, at_store, done, signed
from tests.support.postgres import postgres
from tests.support.processes import Server, toml, wait_for
from tests.support.s3_keys import content_of, keys_below, put_object
from tests.support.s3_proxy import proxy_to, resigned, without
from tests.support.seaweed import seaweed
from tests.support.secured import complete, create, put, secured
from upload_protocol.digests import Digest
from upload_protocol.direct import MAX_PARTS
from upload_protocol.ranges import ByteRange

pytestmark = pytest.mark.slow
MIB = 1024 * 1024
PART = 8 * MIB
LENGTH = PART + MIB
OTHER = bytes(LENGTH)
RULE = {"match": "drone-*", "prefix": "straight", "direct": True}
PIECES = ".ingest-server/parts/"


@pytest.fixture(scope="module")
def store():
    with seaweed() as found:
        yield found


@pytest.fixture(scope="module")
def proxy(store):
    with proxy_to(store.endpoint) as found:
        yield found


@contextmanager
def site_of(folder, store, place):
    (folder / "data").mkdir(parents=True, exist_ok=True)
    metrics = {"listen": "127.0.0.1:0"}
    with secured(folder, storage=store.settings(place), route=[RULE], metrics=metrics) as site:
        yield site


@pytest.fixture(scope="module")
def place(store):
    return store.place()


@pytest.fixture(scope="module")
def site(tmp_path_factory, store, place):
    with site_of(tmp_path_factory.mktemp("direct"), store, place) as found:
        yield found


@pytest.fixture(scope="module")
def drone(site):
    return site.device("drone-1")


@pytest.fixture
def data():
    """Bytes that nobody has published before."""
    return os.urandom(LENGTH)


def begun(client):
    return create(client, length=LENGTH).json()["id"]


def refusal(answer):
    return answer.status_code, answer.json()["code"]


def published(place, receipt):
    return content_of(place, place.prefix + receipt["published_as"])


def test_a_file_that_goes_straight_to_the_store_is_acknowledged_part_by_part_and_published(
    drone, place, data
):
    status = create(drone, length=LENGTH).json()
    upload_id = status["id"]
    first, last = signed(drone, upload_id, data, (0, PART), (PART, LENGTH))

    assert status["limits"]["direct_part_bytes"] == PART
    assert at_store(last, data).status_code == 200
    assert done(drone, upload_id, last).json()["received"] == [[PART, LENGTH]]
    assert at_store(first, data).status_code == 200
    both = [done(drone, upload_id, first, last).json() for _ in range(2)]
    receipt = complete(drone, upload_id, data).json()

    assert [one["received"] for one in both] == [[[0, LENGTH]]] * 2
    assert receipt["verified_against"] == "client"
    assert receipt["published_as"].startswith("straight/drone-1/")
    assert published(place, receipt) == data
    assert keys_below(place, PIECES + upload_id) == []


def counted(site):
    """Return how many payload bytes were acknowledged, and how many of them came straight to the store."""
    told = httpx.get(f"http://{site.server.metrics_address}/metrics", trust_env=False).text
    found = dict(line.split(" ")[:2] for line in told.splitlines() if not line.startswith("#"))
    return [float(found[f"ingest_{one}_bytes_total"]) for one in ("received", "direct")]


def test_bytes_that_came_straight_are_told_from_those_that_came_through_the_server(
    site, drone, data
):
    upload_id = begun(drone)
    [part] = signed(drone, upload_id, data, (0, PART))
    before = counted(site)
    assert at_store(part, data).status_code == 200
    for _ in range(2):
        assert done(drone, upload_id, part).status_code == 200
    assert put(drone, upload_id, data[PART:], PART).status_code == 200

    assert [after - one for after, one in zip(counted(site), before, strict=True)] == [LENGTH, PART]


def test_what_no_rule_sends_straight_goes_through_the_server(site, drone, data):
    camera = site.device("cam-1")
    status = create(camera, length=LENGTH).json()
    unknown = create(drone, length=None).json()

    answers = [
        ask_to_sign(camera, status["id"], data, (0, PART)),
        ask_to_sign(drone, unknown["id"], data, (0, PART)),
        ask_to_sign(drone, begun(drone), data, (PART - 1, PART + 1)),
    ]

    assert "direct_part_bytes" not in status["limits"] | unknown["limits"]
    assert [refusal(one) for one in answers] == [(409, "not-direct")] * 3
    assert ask_to_sign(drone, status["id"], data, (0, PART)).status_code == 404


def test_row_38_a_link_takes_its_own_bytes_and_no_others_and_those_once(drone, data):
    upload_id = begun(drone)
    [part] = signed(drone, upload_id, data, (0, PART))
    theirs = {**part, "headers": signed(drone, begun(drone), OTHER, (0, PART))[0]["headers"]}

    assert at_store(part, OTHER).status_code == 400
    assert at_store(theirs, OTHER).status_code == 403
    assert at_store(part, data, body=data[: PART - 1]).status_code == 403
    assert httpx.put(part["url"], content=data[:PART], trust_env=False).status_code == 403
    before = done(drone, upload_id, part)
    assert at_store(part, data).status_code == 200
    assert at_store(part, data).status_code == 412

    assert refusal(before) == (409, "not-direct")
    assert before.json()["missing"] == [[0, LENGTH]]
    assert done(drone, upload_id, part).json()["received"] == [[0, PART]]


def test_who_says_that_other_bytes_are_there_is_not_believed(drone, data):
    upload_id = begun(drone)
    [part] = signed(drone, upload_id, data, (0, PART))
    assert at_store(part, data).status_code == 200
    [other] = signed(drone, begun(drone), OTHER, (0, PART))

    lies = [
        {**part, "digest": other["digest"]},
        {**part, "range": [0, PART - 1]},
        {**part, "part": other["part"]},
        {**part, "part": f"../{upload_id}/{part['part']}"},
    ]

    answers = [done(drone, upload_id, lie) for lie in lies]
    assert [one.status_code for one in answers] == [409, 409, 409, 400]
    assert drone.get(f"/v1/uploads/{upload_id}").json()["received"] == []


def test_a_newer_request_takes_over_and_what_comes_late_by_a_link_changes_nothing(
    drone, place, data
):
    upload_id = begun(drone)
    [late] = signed(drone, upload_id, OTHER, (0, PART))
    assert put(drone, upload_id, data).status_code == 200
    assert at_store(late, OTHER).status_code == 200

    again = ask_to_sign(drone, upload_id, OTHER, (0, PART))
    answer = done(drone, upload_id, late)
    receipt = complete(drone, upload_id, data).json()

    assert refusal(again) == (409, "not-direct")
    assert answer.json()["received"] == [[0, LENGTH]]
    assert published(place, receipt) == data
    assert at_store(late, OTHER).status_code == 200
    assert published(place, receipt) == data


def test_of_a_part_that_a_newer_request_has_begun_nothing_is_recorded(drone, data):
    upload_id = begun(drone)
    [older] = signed(drone, upload_id, data, (0, PART))
    [newer] = signed(drone, upload_id, data, (MIB, PART))
    assert at_store(older, data).status_code == at_store(newer, data).status_code == 200

    assert refusal(done(drone, upload_id, older, newer)) == (409, "superseded")
    assert done(drone, upload_id, newer).json()["received"] == [[MIB, PART]]


def test_bytes_that_change_in_the_store_after_they_were_acknowledged_get_no_receipt(
    drone, place, data
):
    upload_id = begun(drone)
    parts = signed(drone, upload_id, data, (0, PART), (PART, LENGTH))
    assert [at_store(part, data).status_code for part in parts] == [200, 200]
    done(drone, upload_id, *parts)
    put_object(place, f"{place.prefix}{PIECES}{upload_id}/{parts[0]['part']}", OTHER[:PART])

    assert refusal(complete(drone, upload_id, data)) == (409, "digest-mismatch")
    assert put(drone, upload_id, data).status_code == 200
    assert published(place, complete(drone, upload_id, data).json()) == data


def test_an_upload_that_is_over_takes_no_part(drone, data):
    upload_id = begun(drone)
    [part] = signed(drone, upload_id, data, (0, PART))
    drone.delete(f"/v1/uploads/{upload_id}")

    assert at_store(part, data).status_code == 200
    assert refusal(done(drone, upload_id, part)) == (410, "upload-aborted")
    assert refusal(ask_to_sign(drone, upload_id, data, (0, PART))) == (410, "upload-aborted")


def test_what_comes_by_a_link_after_the_end_of_its_upload_goes_and_no_part_of_an_open_one(
    site, drone, place, data, monkeypatch
):
    keeper = site.server.parts.housekeeper
    keeper.keep_all()  # what a start looks for is not it
    ended, still = begun(drone), begun(drone)
    [late] = signed(drone, ended, data, (0, PART))
    [unreported] = signed(drone, still, data, (0, PART))
    drone.delete(f"/v1/uploads/{ended}")
    assert at_store(late, data).status_code == at_store(unreported, data).status_code == 200
    assert len(keys_below(place, PIECES + ended)) == 1

    monkeypatch.setattr(housekeeper, "CLEAR_EVERY_S", 0.0)
    keeper.keep_all()

    assert keys_below(place, PIECES + ended) == []
    assert done(drone, still, unreported).json()["received"] == [[0, PART]]
    assert put(drone, still, data[PART:], PART).status_code == 200
    assert published(place, complete(drone, still, data).json()) == data


def test_parts_that_are_never_reported_are_signed_up_to_a_number_and_then_go_through_the_server(
    drone, data
):
    upload_id = begun(drone)
    each = [(at, at + 1) for at in range(MOST_SIGNED + 1)]
    for first in range(0, MOST_SIGNED, MAX_PARTS):
        signed(drone, upload_id, data, *each[first : first + MAX_PARTS])

    surplus = ask_to_sign(drone, upload_id, data, each[-1])
    elsewhere = ask_to_sign(drone, begun(drone), data, (0, PART))
    sent = put(drone, upload_id, data[:MIB])

    assert refusal(surplus) == (409, "not-direct")
    assert surplus.json()["detail"] == (
        "256 parts are signed and not reported: send these bytes to the server"
    )
    assert surplus.json()["missing"] == [[0, LENGTH]]
    assert elsewhere.status_code == sent.status_code == 200
    [part] = signed(drone, upload_id, data, (MIB, PART))  # the others were taken over
    assert at_store(part, data).status_code == 200
    assert done(drone, upload_id, part).json()["received"] == [[0, PART]]


def test_after_a_start_anew_a_part_of_before_is_sent_again(tmp_path, store, data):
    """The claims of one server are in its memory; those of several are in their database."""
    place = store.place()
    with site_of(tmp_path, store, place) as site:
        token = site.token("drone-1")
        drone = site.client(token)
        upload_id = begun(drone)
        [part] = signed(drone, upload_id, data, (0, PART))
        assert at_store(part, data).status_code == 200
    with site_of(tmp_path, store, place) as site:
        drone = site.client(token)

        assert refusal(done(drone, upload_id, part)) == (409, "superseded")
        assert put(drone, upload_id, data).status_code == 200
        assert published(place, complete(drone, upload_id, data).json()) == data


def checked(folder, store, place, capsys, **rule):
    config = folder / "check.toml"
    tables: dict[str, Any] = {"server": {"data_dir": folder / "data"}, "route": [{**RULE, **rule}]}
    config.write_text(toml({**tables, "storage": store.settings(place)}))
    (folder / "data").mkdir(exist_ok=True)
    capsys.readouterr()
    code = cli.main(["check", "--config", str(config)])
    return code, capsys.readouterr().out.splitlines()


def ignores_checksums(request, forward):
    """Be a store that takes any bytes by a link, and says no SHA-256 of what it has."""
    if request.header("x-amz-checksum-sha256") is None:
        return forward(request)
    request.path = request.path.partition("?")[0]
    return forward(resigned(request, {"x-amz-checksum-sha256": None}))


def test_a_check_refuses_a_store_that_takes_other_bytes_than_were_signed(
    tmp_path, store, proxy, capsys
):
    place = store.place()
    good, said = checked(tmp_path, store, place, capsys)
    proxy.on("put", ignores_checksums, times=100)
    bad, why = checked(tmp_path, store, replace(place, endpoint=proxy.endpoint), capsys)
    proxy.clear()
    proxy.on("head", without("x-amz-checksum-mode"), times=100)
    silent, how = checked(tmp_path, store, replace(place, endpoint=proxy.endpoint), capsys)
    proxy.clear()

    assert (good, bad, silent) == (0, 1, 1)
    assert said[-2:] == [
        f"OK    direct    {place} takes from devices what is signed, and nothing else",
        f"OK    store     {place} takes files, gives them back and removes them",
    ]
    assert why[-1] == (
        f"FAIL  store     {place}: the store takes other bytes by a link than were signed, so devices cannot "
        "send to it themselves: leave direct out of its [[route]], and all goes through the server"
    )
    assert "does not say which SHA-256 an object has" in how[-1]


def test_a_check_says_that_the_name_devices_reach_the_store_by_was_not_tried(
    tmp_path, store, capsys
):
    place = replace(store.place(), shown_endpoint="https://s3.example.org")

    code, said = checked(tmp_path, store, place, capsys)

    assert code == 0
    assert said[-2] == (
        f"OK    direct    {place} takes from devices what is signed, and nothing else; that they reach it at "
        "https://s3.example.org was not tried"
    )


@pytest.mark.timeout(240)
def test_another_replica_takes_the_report_of_a_part_that_a_killed_one_signed(tmp_path, store):
    place = store.place()
    with postgres() as database:
        storage = {"state": database.database(), **store.settings(place)}
        one, other = (
            Server(tmp_path / name, storage=storage, route=[RULE]) for name in ("one", "other")
        )
        try:
            one.start()
            other.start()
            token = one.run("token", "add", "drone-1").splitlines()[-1]
            data = os.urandom(LENGTH)
            with camera(one, token) as drone:
                upload_id = begun(drone)
                late, first, last = (
                    signed(drone, upload_id, data, where)[0]
                    for where in ((0, MIB), (0, PART), (PART, LENGTH))
                )
                assert [at_store(part, data).status_code for part in (first, late)] == [200, 200]
                one.kill()
            with camera(other, token) as drone:
                assert at_store(last, data).status_code == 200
                assert refusal(done(drone, upload_id, late)) == (409, "superseded")
                held = done(drone, upload_id, first, last).json()["received"]
                receipt = complete(drone, upload_id, data).json()
        finally:
            one.close()
            other.close()

    assert held == [[0, LENGTH]]
    assert published(place, receipt) == data


def camera(server, token):
    known = {"Authorization": f"Bearer {token}"}
    address = f"http://127.0.0.1:{server.port}"
    return httpx.Client(base_url=address, headers=known, trust_env=False, timeout=60)


def test_a_link_is_good_for_as_long_as_it_says(store):
    blobs = S3Blobs(store.place())
    with closing(blobs):
        upload_id = "1" * 32
        blobs.create_part(upload_id)
        data = os.urandom(1000)
        where, digest = ByteRange(0, 1000), Digest.of(data)
        short, long = (blobs.sign_direct(Claim(upload_id, where, epoch), digest, for_s)
                       for epoch, for_s in ((1, 1), (2, 60)))  # fmt: skip
        wait_for(lambda: put_by(short, data).status_code == 403, "the link is over")

        assert b"expired" in put_by(short, data).content
        assert put_by(long, data).status_code == 200
        assert blobs.has_direct(upload_id, long.name, where, digest) == Claim(upload_id, where, 2)


def put_by(link, data):
    return httpx.put(link.url, content=data, headers=link.headers, trust_env=False)
