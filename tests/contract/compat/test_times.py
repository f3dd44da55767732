"""A client that tells when its file was written is heard, in each of the older protocols."""

import pytest

from tests.support.compat_site import compat_site, md5, recording

DATA = recording(3000)
TOLD = {"lastModified": "1732145400000"}
FORM_FIRST = {"headers": {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"}}
AT_S = 1732145400


def frago(client, *, begin, finish):
    start = {"filename": "a.mp4", "total_size": len(DATA)} | begin
    at = f"/compat/frago/upload/{client.post('/compat/frago/upload/', json=start).json()['upload_id']}/"
    client.put(at, files={"file": DATA}, **FORM_FIRST)
    return client.post(at, json={"checksum": md5(DATA)} | finish)


def drf(client, *, begin, finish):
    made = client.put(
        "/compat/drf/upload/",
        data={"filename": "a.mp4"} | begin,
        files={"file": DATA},
        **FORM_FIRST,
    )
    at = f"/compat/drf/upload/{made.json()['id']}"
    return client.post(at, data={"md5": md5(DATA)} | finish)


def django(client, *, begin, finish):
    made = client.post(
        "/compat/django/upload/", data=begin, files={"file": ("a.mp4", DATA)}, **FORM_FIRST
    )
    done = {"upload_id": made.json()["upload_id"], "md5": md5(DATA)} | finish
    return client.post("/compat/django/upload_complete/", data=done)


def django_init(client, *, begin, finish):
    start = {"file_size": len(DATA), "file_name": "a.mp4"} | begin
    made = client.post("/compat/django-init/upload/init/", json=start).json()
    chunk = {"unique_id": made["unique_id"], "offset": "0", "chunk_hash": md5(DATA)}
    chunk |= {"final_hash": md5(DATA)} | finish
    return client.post("/compat/django-init/upload/", data=chunk, files={"file": DATA})


def turbo(client, *, begin, finish):
    made = client.post("/compat/turbo/upload/", data={"filename": "a.mp4"} | begin).json()
    client.post(f"/compat/turbo/upload/{made['id']}", data={"order": 0}, files={"file": DATA})
    return client.get(f"/compat/turbo/upload/complete/{made['id']}", params=finish)


DIALECTS = [frago, drf, django, django_init, turbo]


def written_at(tmp_path):
    (file,) = (tmp_path / "data" / "published").rglob("a*.mp4")
    return file.parent.name, file.stat().st_mtime


@pytest.mark.parametrize("upload", DIALECTS)
def test_what_the_first_form_tells_is_the_files_time(tmp_path, upload):
    with compat_site(tmp_path, name_template="{recorded}/{name}") as site:
        assert upload(site.client, begin=TOLD, finish={}).is_success

    assert written_at(tmp_path) == ("2024-11-20", AT_S)


@pytest.mark.parametrize("upload", DIALECTS)
def test_so_is_what_the_last_one_tells(tmp_path, upload):
    with compat_site(tmp_path, name_template="{recorded}/{name}") as site:
        assert upload(site.client, begin={"mtime": "1"}, finish=TOLD).is_success

    assert written_at(tmp_path) == ("2024-11-20", AT_S)


@pytest.mark.parametrize("upload", DIALECTS)
def test_a_time_that_is_none_does_no_harm(tmp_path, upload):
    with compat_site(tmp_path) as site:
        assert upload(site.client, begin={"mtime": "\x00soon"}, finish={}).is_success
        assert site.only_published() == DATA


def test_one_that_comes_behind_the_file_is_heard_too(tmp_path):
    with compat_site(tmp_path, name_template="{recorded}/{name}") as site:
        files: list[tuple[str, tuple[str | None, str | bytes]]] = [
            ("file", ("a.mp4", DATA)),
            ("filename", (None, "a.mp4")),
            ("md5", (None, md5(DATA))),
        ]
        files += [(name, (None, value)) for name, value in TOLD.items()]
        assert site.client.post("/compat/drf/upload/", files=files).is_success

    assert written_at(tmp_path) == ("2024-11-20", AT_S)
