"""Recordings that are read from the bucket itself, by links that the server gives: on a real SeaweedFS."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import closing
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from ingest_server.storage.interface import Link
from ingest_server.storage.s3.blobs import S3Blobs
from tests.support.browser import Browser, node_with_packages
from tests.support.s3_keys import put_object
from tests.support.seaweed import seaweed
from tests.support.secured import secured, upload
from tests.support.visitors import OURS, PASSWORD, add_user, visitor

pytestmark = pytest.mark.slow
PAGE = b"<script>alert(document.domain)</script>"
CLIP = bytes(range(256)) * 64
PIXEL = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


@pytest.fixture(scope="module")
def store():
    with seaweed() as found:
        yield found


@pytest.fixture(scope="module")
def place(store):
    return store.place()


@pytest.fixture(scope="module")
def site(tmp_path_factory, store, place):
    folder = tmp_path_factory.mktemp("links")
    (folder / "data").mkdir()
    bucket = store.bucket()
    rule = {"match": "drone-*", "bucket": bucket, "prefix": "raw"}
    storage = {**store.settings(place), "presigned_s": 60}
    page = {"enabled": True}
    with secured(folder, storage=storage, route=[rule], page=page) as found:
        add_user(found.state)
        yield found


@pytest.fixture(scope="module")
def person(site):
    return visitor(site)


def path_of(receipt):
    return f"/v1/fleet/recordings/{receipt['upload_id']}/content"


@pytest.fixture(scope="module")
def clip(site):
    return upload(site.device("drone-1"), CLIP, name="nice ü +#%20&.mp4")


def test_a_link_gives_the_bytes_and_runs_of_them_under_their_own_name_and_type(person, clip):
    answer = person.get(path_of(clip))
    link = answer.headers["Location"]
    kept = person.get(path_of(clip), params={"download": "1"}).headers["Location"]
    whole, run = httpx.get(link), httpx.get(link, headers={"Range": "bytes=10-19"})

    assert (answer.status_code, answer.content) == (307, b"")
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert whole.content == CLIP
    assert (run.status_code, run.content) == (206, CLIP[10:20])
    assert whole.headers["Content-Type"] == "video/mp4"
    assert whole.headers["Content-Disposition"].startswith("inline; filename=")
    assert httpx.get(kept).headers["Content-Disposition"].startswith("attachment; filename=")
    assert parse_qs(urlsplit(link).query)["X-Amz-Expires"] == ["60"]


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "none"])
def test_what_could_be_a_program_is_a_file_to_be_kept_from_the_store_too(site, person, name):
    receipt = upload(site.device("cam-1"), PAGE + name.encode(), name=name)

    answer = httpx.get(person.get(path_of(receipt)).headers["Location"])

    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment; ")


@pytest.mark.parametrize(
    "change",
    [
        lambda link: link.replace("attachment", "inline").replace("octet-stream", "html"),
        lambda link: link.replace("X-Amz-Expires=60", "X-Amz-Expires=3600"),
        lambda link: link.replace("page.html", "other.html"),
        lambda link: link.partition("?")[0],
    ],
    ids=["shown", "longer", "another", "unsigned"],
)
def test_a_link_that_somebody_has_changed_is_good_for_nothing(site, person, change):
    receipt = upload(site.device("cam-1"), PAGE, name="page.html")
    link = person.get(path_of(receipt)).headers["Location"]
    changed = change(link)

    assert changed != link
    assert httpx.get(changed).status_code in {403, 404}


def test_row_37_only_who_may_see_the_recording_is_given_one_and_no_log_has_it(site, clip, capfd):
    nobody = site.client().get(path_of(clip))
    device = site.device("drone-1").get(path_of(clip))
    link = visitor(site).get(path_of(clip)).headers["Location"]
    logged = "".join(capfd.readouterr())

    assert (nobody.status_code, device.status_code) == (401, 403)
    assert not {"Location"} & {*nobody.headers, *device.headers}
    assert "X-Amz-Signature" in link
    assert "X-Amz" not in logged
    assert "status=307" in logged
    assert not any("X-Amz" in str(line) for line in site.audit())
    assert [line["action"] for line in site.audit()].count("recording.read") >= 1


def test_whoever_goes_on_with_what_came_from_here_gets_it_from_here(person, clip):
    tag = person.head(path_of(clip)).headers["ETag"]

    held = person.get(path_of(clip), headers={"If-None-Match": tag})
    matched = person.get(path_of(clip), headers={"If-Match": tag})
    resumed = person.get(path_of(clip), headers={"If-Range": tag, "Range": "bytes=5-9"})

    assert held.status_code == 304
    assert (matched.status_code, matched.content) == (200, CLIP)
    assert (resumed.status_code, resumed.content) == (206, CLIP[5:10])


def test_nobody_is_sent_to_an_object_that_is_not_the_recording_any_more(site, place, person):
    receipt = upload(site.device("cam-1"), CLIP, name="rotten.mp4")
    put_object(place, place.prefix + receipt["published_as"], b"other bytes")

    answer = person.get(path_of(receipt))

    assert answer.status_code == 409
    assert answer.json()["code"] == "digest-mismatch"


def test_the_page_may_play_what_the_store_has_and_nothing_from_elsewhere(site, store):
    policy = site.client().get("/").headers["Content-Security-Policy"]

    assert f"img-src 'self' data: blob: {store.endpoint};" in policy
    assert f"media-src 'self' blob: {store.endpoint};" in policy
    assert policy.count("http") == 2


def test_a_link_names_the_store_as_whoever_reads_reaches_it(store):
    place = replace(store.place(), shown_endpoint="https://s3.example.org")
    wanted = Link(60, "video/mp4", "inline")
    with closing(S3Blobs(place)) as blobs:
        own = blobs.link_to("cam/a b.mp4", wanted)
        other = blobs.beside(place.sibling("s3://more/raw")).link_to("a.mp4", wanted)

    assert own.startswith(f"https://s3.example.org/{place.bucket}/{place.prefix}cam/a%20b.mp4?")
    assert other.startswith("https://s3.example.org/more/raw/a.mp4?")


@pytest.mark.long
def test_a_browser_shows_a_picture_that_the_store_gives(site):
    receipt = upload(site.device("drone-1"), PIXEL, name="pixel.gif")
    browser = Browser(node_with_packages())
    try:
        browser.goto(site.server.url)
        asked = json.dumps({"user": "anna", "password": PASSWORD})
        status = browser.evaluate(
            f"fetch('/v1/session', {{method: 'POST', body: {json.dumps(asked)}, headers: "
            f"{json.dumps({**OURS, 'Content-Type': 'application/json'})}}}).then((one) => one.status)"
        )
        shown = browser.evaluate(
            "new Promise((done) => { const one = new Image(); one.onload = () => done(one.naturalWidth); "
            f"one.onerror = () => done('refused'); one.src = '{path_of(receipt)}' }})"
        )
        complaints = browser.complaints()
    finally:
        browser.close()

    assert (status, shown, complaints) == (204, 1, [])
