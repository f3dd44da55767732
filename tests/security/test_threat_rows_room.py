"""The rows of the table of threats in docs/security.md about lengths, quotas and full disks (4, 5 and 6)."""

import contextlib
import hashlib
import json
import os
import secrets
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.core_site import CoreSite
from tests.support.faulty_blobs import failing
from tests.support.requirements import require_root
from tests.support.secured import DATA, complete, create, peer, put, secured, upload
from tests.support.small_disk import small_disk as small
from upload_protocol.digests import Digest


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path, limits={"quota": 1 << 20}) as found:
        yield found


def test_row_4_a_huge_declared_size_is_refused_and_allocates_nothing(site):
    client = site.device()

    assert create(client, length=1 << 60).status_code == 413
    upload_id = create(client, length=1 << 19).json()["id"]

    part = site.folder / "data" / "parts" / f"{upload_id}.part"
    assert part.stat().st_blocks == 0


def test_row_4_the_quota_is_reserved_at_creation_and_freed_at_the_end(site):
    client, half = site.device(), 1 << 19
    first = create(client, length=half).json()["id"]
    answers = [create(client, length=half) for _ in range(9)]

    assert [one.status_code for one in answers] == [201] + [507] * 8
    assert answers[-1].json()["code"] == "quota-exceeded"
    assert create(site.device("drone-2"), length=half).status_code == 201
    client.delete(f"/v1/uploads/{first}")
    assert create(client, length=half).status_code == 201


def test_row_4_the_quota_holds_where_the_length_is_not_told_at_first(site):
    client = site.device()
    upload_id = create(client, length=None).json()["id"]

    over = put(client, upload_id, bytes(1 << 20 | 1))
    assert (over.status_code, over.json()["code"]) == (507, "quota-exceeded")
    assert put(client, upload_id, bytes(1 << 20)).status_code == 200


def test_row_4_what_the_quota_refuses_is_not_written_either(site, tmp_path):
    client = site.device()
    upload_id = create(client, length=None).json()["id"]

    refused = {put(client, upload_id, bytes(1 << 18), n << 20).status_code for n in range(1, 5)}

    [part] = (tmp_path / "data/parts").glob("*.part")
    assert (refused, part.stat().st_blocks) == ({507}, 0)


def on_disk(folder):
    """The bytes that the disk holds of unfinished uploads, however little of them is recorded."""
    return sum(part.stat().st_blocks * 512 for part in (folder / "data/parts").glob("*.part"))


@pytest.mark.parametrize("length", [4 << 20, None], ids=["a length", "chunks without an end"])
def test_row_4_a_body_without_a_known_end_ends_where_the_quota_does(site, tmp_path, length):
    client = site.device()
    tus = {"Tus-Resumable": "1.0.0"}
    location = client.post("/files", headers={**tus, "Upload-Defer-Length": "1"}).headers[
        "Location"
    ]
    body = bytes(4 << 20)
    fields = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}

    sent = client.patch(location, headers=fields, content=body if length else iter([body]))

    assert sent.status_code == 507, sent.text
    assert on_disk(tmp_path) <= 1 << 20
    offset = int(client.head(location, headers=tus).headers["Upload-Offset"])
    more = {**fields, "Upload-Offset": str(offset)}
    assert (
        client.patch(location, headers=more, content=bytes((1 << 20) - offset)).status_code == 204
    )
    assert (
        client.patch(location, headers={**fields, "Upload-Offset": str(1 << 20)}).status_code == 204
    )


def test_row_4_what_is_not_recorded_counts_as_long_as_it_is_on_the_disk(site, tmp_path):
    client = site.device()
    wrong: Any = {"Content-Digest": str(Digest.of(b"another"))}
    half = bytes(1 << 19)
    codes = []
    for _ in range(4):  # each in an upload of its own, as a client that does not give up makes them
        upload_id = create(client, length=None).json()["id"]
        codes.append(put(client, upload_id, half, **wrong).json()["code"])

    assert codes[:2] == ["content-digest-mismatch"] * 2
    assert codes[2:] == ["quota-exceeded"] * 2
    assert on_disk(tmp_path) <= 1 << 20
    assert create(client, length=1 << 20).json()["code"] == "quota-exceeded"
    assert create(site.device("drone-2"), length=1 << 20).status_code == 201


def test_row_4_several_at_once_write_no_more_than_fits(site, tmp_path):
    client = site.device()
    uploads = [create(client, length=None).json()["id"] for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: put(client, one, bytes(1 << 20)), uploads))

    assert sorted(answer.status_code for answer in answers) == [200, 507, 507, 507]
    assert on_disk(tmp_path) <= 1 << 20


def test_row_4_expiry_frees_the_quota(tmp_path):
    core = CoreSite(tmp_path, quota_bytes=10)
    core.create("a.mp4", 10)
    core.clock.seconds += 15 * 86400

    core.receiver.expiry.sweep()

    assert core.create("b.mp4", 10)
    core.stop()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", 411),
        (b"\r\n", 411),
        (b"Content-Length: 9\r\n\r\n123456789", 400),
    ],
)
def test_row_5_a_body_of_no_or_another_length_is_refused(site, sent, status):
    token = site.token()
    upload_id = create(site.client(token)).json()["id"]
    head = (
        f"PUT /v1/uploads/{upload_id}/content HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {token}\r\nContent-Range: bytes 0-4/*\r\n"
    )
    with peer(site) as raw:
        raw.send(head.encode() + sent)

        assert raw.answer().status == status


def test_row_6_a_full_disk_loses_no_acknowledged_byte_and_the_server_recovers(tmp_path):
    core = CoreSite(tmp_path)
    upload_id = core.create(length=2000)
    core.put(upload_id, 0, DATA[:1000])
    core.blobs.fail["pwrite"] = failing(OSError(28, "No space left on device"))
    with pytest.raises(Exception, match="storage-full"):
        core.put(upload_id, 1000, DATA[1000:2000])

    assert core.received(upload_id) == [[0, 1000]]
    core.blobs.fail.clear()
    core.put(upload_id, 1000, DATA[1000:2000])
    assert core.complete(upload_id, DATA[:2000]).length == 2000
    core.stop()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MiB."""
    require_root()
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", mount], check=True)
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("min_free", [0, "4MiB"], ids=["to the last block", "down to the floor"])
def test_row_6_a_disk_that_is_really_full_costs_nothing_acknowledged(small_disk, min_free):
    data, half = secrets.token_bytes(16 << 20), 8 << 20
    with secured(small_disk / "site", limits={"min_free": min_free}) as site:
        client = site.device()
        upload_id = create(client, length=len(data)).json()["id"]
        assert put(client, upload_id, data[:half]).status_code == 200
        fill(small_disk / "ballast", but=0 if min_free else 3 << 20)

        refused = put(client, upload_id, data[half:], half)
        assert (refused.status_code, refused.json()["code"]) == (507, "storage-full")
        assert "Retry-After" in refused.headers
        assert create(client, length=32 << 20).status_code in {500, 503, 507}
        [[start, stop]] = client.get(f"/v1/uploads/{upload_id}").json()["received"]
        assert (start, half <= stop < len(data)) == (0, True)
        (small_disk / "ballast").unlink()

        assert put(client, upload_id, data[stop:], stop).status_code == 200
        assert complete(client, upload_id, data).status_code == 200
        [published] = site.published().values()
        assert hashlib.sha256(published).digest() == hashlib.sha256(data).digest()


def fill(path, but):
    """Take all the room of a disk except *but* bytes."""
    with path.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(1 << 20))
    os.truncate(path, path.stat().st_size - but)


def test_row_6_abandoned_uploads_are_bounded(tmp_path):
    with secured(tmp_path, limits={"max_open_uploads_per_device": 3}) as site:
        client = site.device()

        found = [create(client, name=f"{number}.mp4") for number in range(5)]

        assert [one.status_code for one in found] == [201, 201, 201, 429, 429]
        assert 3590 <= int(found[-1].headers["retry-after"]) <= 3600
        assert (
            "`ingest-server abort`; the one that is idle for longest gives way in 60 min"
            in (found[-1].json()["detail"])
        )


@pytest.mark.slow
def test_row_6_what_a_device_gives_up_or_repeats_does_not_fill_the_database(tmp_path):
    limits = {"max_open_uploads_per_device": 2, "quota": "1MB"}
    with secured(tmp_path, limits=limits) as site:
        client, rows = site.device(), site.state.rows
        for _ in range(270):
            made = create(client, length=1).json()["id"]
            assert client.delete(f"/v1/uploads/{made}").status_code == 200
        aborted = rows("SELECT count(*) FROM uploads")
        for _ in range(20):
            upload(client)

        assert aborted == [(256,)]
        assert rows("SELECT count(*) FROM uploads WHERE state = 'complete'") == [(17,)]
        assert len(site.published()) == 1


@pytest.mark.slow
def test_row_6_a_disk_without_inodes_says_so_before_it_has_none(tmp_path):
    with small(tmp_path / "disk", size="1g", inodes=200) as disk:
        metrics = {"listen": "127.0.0.1:0"}
        with secured(disk.path / "site", metrics=metrics) as site:
            client = site.device()
            upload(client)
            for number in range(150):
                (disk.path / f"file-{number}").touch()
            site.server.parts.housekeeper.keep_all()
            early = scraped(site)
            number = 0
            while (made := create(client, name=f"{number}.mp4")).status_code == 201:
                number += 1
            late = scraped(site)
            ready = client.get("/readyz")

            assert (made.status_code, made.json()["code"]) == (507, "storage-full")
            assert "has no place for one more file" in made.json()["detail"]
            assert early["ingest_storage_free_inodes"] > 0
            assert late["ingest_storage_free_inodes"] == 0
            assert late['ingest_resource_used{resource="inodes"}'] >= 190
            assert (ready.status_code, ready.text) == (200, "no-inodes\n")
            site.server.parts.housekeeper.keep_all()
            [(data,)] = site.state.rows("SELECT data FROM events WHERE subject = 'inodes'")
            assert "hardly a place left for one more file" in json.loads(data)["detail"]
            complete_all = client.get("/v1/uploads").json()["uploads"]
            assert len(complete_all) == number


def scraped(site) -> dict[str, float]:
    with httpx.Client(trust_env=False) as client:
        text = client.get(f"{site.server.metrics_address.url}/metrics").text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}
