"""Two names that differ only in case are two files to everybody, on whatever system they look."""

import os

import pytest

from ingest_server.core.names import folded
from tests.support.ingest import ingest
from tests.support.plain import wsgi_client

TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


def upload(server, name: str, data: bytes, folder: str = "") -> str:
    """Return where it was published."""
    with wsgi_client(server.app) as client:
        document = {"name": name, "folder": folder, "device": "drone-1", "length": len(data)}
        key = {"Idempotency-Key": data.hex().ljust(16, "0")}
        upload_id = client.post("/v1/uploads", json=document, headers=key).json()["id"]
        where = {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}
        client.put(f"/v1/uploads/{upload_id}/content", content=data, headers=where)
        done = client.post(f"/v1/uploads/{upload_id}/complete", json={"length": len(data)})
        return str(done.json()["published_as"])


@pytest.fixture(params=["files", "memory"])
def data_dir(request, tmp_path):
    return tmp_path if request.param == "files" else None


def test_the_second_of_two_twins_gets_a_name_of_its_own(data_dir):
    with ingest(data_dir, name_template="{device}/{folder}/{name}") as server:
        first = upload(server, "CLIP.MP4", b"one")
        rest = [upload(server, "clip.mp4", b"two"), upload(server, "Clip.mp4", b"three")]
        in_folders = [
            upload(server, "a.mp4", b"four", "Flight 1/Raw"),
            upload(server, "b.mp4", b"five", "flight 1/raw"),
            upload(server, "A.mp4", b"six", "FLIGHT 1/RAW"),
        ]
        published = server.published()

    assert (first, rest) == ("drone-1/CLIP.MP4", ["drone-1/clip-2.mp4", "drone-1/Clip-3.mp4"])
    assert in_folders == [f"drone-1/Flight 1/Raw/{name}" for name in ("a.mp4", "b.mp4", "A-2.mp4")]
    assert sorted(published.values()) == [b"five", b"four", b"one", b"six", b"three", b"two"]
    assert len({folded(name) for name in published}) == 6


def test_a_twin_from_before_a_restart_is_seen(tmp_path):
    with ingest(tmp_path, name_template="{device}/{name}") as server:
        upload(server, "Ü.mp4", b"one")
    with ingest(tmp_path, name_template="{device}/{name}") as server:
        assert upload(server, "ü.mp4", b"two") == "drone-1/ü-2.mp4"


def test_a_twin_that_a_consumer_took_away_is_in_nobodys_way(tmp_path):
    with ingest(tmp_path, name_template="{device}/{name}") as server:
        upload(server, "A.mp4", b"one")
        (tmp_path / "published" / "drone-1" / "A.mp4").unlink()

        assert upload(server, "a.mp4", b"two") == "drone-1/a.mp4"


def test_a_folder_whose_twin_is_a_file_gets_a_place_of_its_own(tmp_path):
    with ingest(tmp_path, name_template="{folder}/{name}") as server:
        upload(server, "RAW", b"one")

        assert upload(server, "a.mp4", b"two", "raw").endswith("/a.mp4")
        assert sorted(server.published().values()) == [b"one", b"two"]


def test_a_twin_of_hundreds_is_numbered_past_them_without_listing_the_folder_each_time(
    tmp_path, monkeypatch
):
    with ingest(tmp_path, name_template="{device}/{name}") as server:
        upload(server, "rec.mp4", b"first")
        for number in range(2, 301):
            (tmp_path / "published" / "drone-1" / f"rec-{number}.mp4").write_bytes(b"?")
    with ingest(tmp_path, name_template="{device}/{name}") as server:
        listed = []
        real = os.listdir

        def listed_too(folder):
            listed.append(folder)
            return real(folder)

        monkeypatch.setattr(os, "listdir", listed_too)

        one = upload(server, "REC.mp4", b"one")
        after_one = len(listed)
        two = upload(server, "REC.mp4", b"two")

    assert (one, two) == ("drone-1/REC-301.mp4", "drone-1/REC-302.mp4")
    assert after_one <= 3, "once for each folder on the way, and once for the twin"
    assert len(listed) == after_one, "the twin is known by its name"
