"""A client written after the page of django-chunked-upload (jQuery File Upload), against ours."""

import re

import pytest

from ingest_server.protocols.compat.dialect import CompatSettings
from tests.support.compat_site import compat_site, form_of, md5, recording, sha256

UPLOAD = "/compat/django/upload/"
COMPLETE = "/compat/django/upload_complete/"
DATA = recording(250_000)
LENGTH = len(DATA)
CHUNK = 100_000
FORM = {"Content-Type": "multipart/form-data; boundary=bb"}


def post(client, start, stop, upload_id=None, data=None, *, field="file", total=LENGTH):
    return client.post(
        UPLOAD,
        headers={"Content-Range": f"bytes {start}-{stop - 1}/{total}"},
        data={"upload_id": upload_id} if upload_id else {},
        files={field: ("clip.mp4", DATA[start:stop] if data is None else data)},
    )


def post_all(client):
    answer = post(client, 0, CHUNK)
    assert answer.status_code == 200, answer.text
    upload_id = answer.json()["upload_id"]
    for start in range(CHUNK, len(DATA), CHUNK):
        stop = min(start + CHUNK, len(DATA))
        answer = post(client, start, stop, upload_id)
        assert (answer.status_code, answer.json()["offset"]) == (200, stop)
    return upload_id


def complete(client, upload_id, checksum=None):
    return client.post(COMPLETE, data={"upload_id": upload_id, "md5": checksum or md5(DATA)})


def test_an_upload_as_on_the_page(site):
    first = post(site.client, 0, CHUNK).json()
    post(site.client, CHUNK, 2 * CHUNK, first["upload_id"])
    post(site.client, 2 * CHUNK, len(DATA), first["upload_id"])

    done = complete(site.client, first["upload_id"])

    assert set(first) == {"upload_id", "offset", "expires"}
    assert re.fullmatch("[0-9a-f]{32}", first["upload_id"])
    assert first["offset"] == CHUNK
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", first["expires"])
    assert (done.status_code, done.json()) == (200, {})
    (path,) = site.published()
    assert path.endswith("clip.mp4")
    assert site.only_published() == DATA
    assert site.recorded_digests() == [sha256(DATA)]


def test_a_small_file_comes_without_a_range(site):
    answer = site.client.post(UPLOAD, files={"file": ("clip.mp4", DATA)})

    assert (answer.status_code, answer.json()["offset"]) == (200, len(DATA))
    assert complete(site.client, answer.json()["upload_id"]).status_code == 200
    assert site.only_published() == DATA


def test_an_empty_file(wsgi):
    answer = wsgi.client.post(UPLOAD, files={"file": ("clip.mp4", b"")})

    done = complete(wsgi.client, answer.json()["upload_id"], md5(b""))

    assert done.status_code == 200, done.text
    assert wsgi.only_published() == b""


def test_the_file_s_field_may_have_any_name(wsgi):
    answer = post(wsgi.client, 0, CHUNK, field="my_file")

    assert answer.status_code == 200


@pytest.mark.parametrize("has_range", [True, False])
def test_the_upload_id_may_come_behind_the_file(wsgi, has_range):
    upload_id = post(wsgi.client, 0, CHUNK).json()["upload_id"]
    start, stop = (CHUNK, 2 * CHUNK) if has_range else (0, CHUNK)
    content = DATA[start:stop]
    body = form_of("bb", ("file", "clip.mp4", content), ("upload_id", None, upload_id.encode()))
    where = {"Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}"}

    answer = wsgi.client.post(UPLOAD, content=body, headers=FORM | where)

    assert answer.status_code == 200, answer.text
    assert (answer.json()["upload_id"], answer.json()["offset"]) == (upload_id, stop)
    assert wsgi.open_uploads() == 1


def test_an_upload_id_behind_the_file_that_nobody_knows_leaves_nothing(wsgi):
    body = form_of("bb", ("file", "clip.mp4", DATA), ("upload_id", None, b"0" * 32))

    answer = wsgi.client.post(UPLOAD, content=body, headers=FORM)

    assert (answer.status_code, wsgi.open_uploads()) == (404, 0)


def test_offsets_that_do_not_match_are_told(wsgi):
    upload_id = post(wsgi.client, 0, CHUNK).json()["upload_id"]

    ahead = post(wsgi.client, CHUNK + 1, 2 * CHUNK, upload_id)
    without_id = post(wsgi.client, CHUNK, 2 * CHUNK)

    assert (ahead.status_code, ahead.json()) == (
        400,
        {"detail": "Offsets do not match", "offset": CHUNK},
    )
    assert without_id.json() == {"detail": "Offsets do not match", "offset": 0}


def test_a_chunk_sent_again_replaces_the_first(wsgi):
    upload_id = post_all(wsgi.client)
    post(wsgi.client, CHUNK, 2 * CHUNK, upload_id, b"x" * CHUNK)
    refused = complete(wsgi.client, upload_id)

    repaired = post(wsgi.client, CHUNK, 2 * CHUNK, upload_id)

    assert (refused.status_code, refused.json()) == (
        400,
        {"detail": "md5 checksum does not match"},
    )
    assert repaired.json()["offset"] == len(DATA)
    assert complete(wsgi.client, upload_id).status_code == 200
    assert wsgi.only_published() == DATA


def test_a_finish_is_repeatable_and_ends_the_upload(wsgi):
    upload_id = post_all(wsgi.client)
    complete(wsgi.client, upload_id)

    again = complete(wsgi.client, upload_id)
    other = complete(wsgi.client, upload_id, "0" * 32)
    chunk = post(wsgi.client, 0, CHUNK, upload_id)

    assert (again.status_code, again.json()) == (200, {})
    assert other.status_code == 400
    assert chunk.json()["detail"] == 'Upload has already been marked as "complete"'
    assert len(wsgi.published()) == 1


def test_a_part_cannot_be_completed_with_its_own_checksum(wsgi):
    upload_id = post(wsgi.client, 0, CHUNK).json()["upload_id"]

    answer = complete(wsgi.client, upload_id, md5(DATA[:CHUNK]))

    assert (answer.status_code, answer.json()["offset"]) == (400, CHUNK)
    assert wsgi.published() == {}


@pytest.mark.parametrize(
    ("content_range", "detail"),
    [
        ("bytes 0-8/250000", "File size doesn't match headers"),
        ("bytes 0-99/250000", "File size doesn't match headers"),
        ("bytes 0-9/5", "Error in request headers"),
        (f"bytes 0-9/{2**40}", f"Size of file exceeds the limit ({2**30} bytes)"),
    ],
)
def test_a_chunk_whose_range_does_not_fit(wsgi, content_range, detail):
    answer = wsgi.client.post(
        UPLOAD, headers={"Content-Range": content_range}, files={"file": ("a", b"0123456789")}
    )

    assert (answer.status_code, answer.json()) == (400, {"detail": detail})


def test_what_is_missing_is_said(wsgi):
    no_file = wsgi.client.post(UPLOAD, data={"a": "b"})
    no_members = wsgi.client.post(COMPLETE, data={})
    unknown = complete(wsgi.client, "0" * 32)

    assert no_file.json() == {"detail": "No chunk file was submitted"}
    assert no_members.json() == {"detail": "Both 'upload_id' and 'md5' are required"}
    assert unknown.status_code == 404


def test_the_operator_may_do_without_checksums(tmp_path):
    with compat_site(tmp_path, compat=CompatSettings(require_checksum=False)) as site:
        upload_id = post_all(site.client)

        without_id = site.client.post(COMPLETE, data={})
        done = site.client.post(COMPLETE, data={"upload_id": upload_id})

    assert without_id.json() == {"detail": "'upload_id' is required"}
    assert done.status_code == 200


def test_a_name_is_data(wsgi):
    answer = wsgi.client.post(UPLOAD, files={"file": ("../../evil.mp4", DATA)})
    complete(wsgi.client, answer.json()["upload_id"])

    (path,) = wsgi.published()
    assert ".." not in path.split("/")


def test_an_upload_that_nobody_goes_on_with_has_expired(tmp_path):
    with compat_site(tmp_path, idle_expiry_s=-1.0) as site:
        upload_id = post(site.client, 0, CHUNK).json()["upload_id"]
        site.server.receiver.expiry.sweep()

        chunk = post(site.client, CHUNK, 2 * CHUNK, upload_id)

    assert (chunk.status_code, chunk.json()["detail"]) == (410, "Upload has expired")


def test_a_device_reaches_its_own_uploads_only(tmp_path):
    with compat_site(tmp_path, mode="token") as site:
        site.client.headers["Authorization"] = f"Bearer {site.server.token('one')}"
        upload_id = post(site.client, 0, CHUNK).json()["upload_id"]
        site.client.headers["Authorization"] = f"Bearer {site.server.token('other')}"

        assert post(site.client, CHUNK, 2 * CHUNK, upload_id).status_code == 404
        assert complete(site.client, upload_id).status_code == 404
