"""A client written after frago's page, against ours."""

import hashlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from ingest_server.protocols.compat import chunk_notes
from ingest_server.protocols.compat.dialect import CompatSettings
from tests.support.compat_site import (
    KINDS,
    compat_site,
    form_of,
    md5,
    noted_reads,
    recording,
    sha256,
)
from tests.support.plain import plain_client
from tests.support.processes import wait_for
from tests.support.raw_http import Peer, serving

BASE = "/compat/frago/upload/"
DATA = recording(300_000)
CHUNK = 70_000


@pytest.fixture(params=KINDS)
def site(request, tmp_path):
    with compat_site(tmp_path, request.param) as found:
        yield found


@pytest.fixture
def wsgi(tmp_path):
    with compat_site(tmp_path) as found:
        yield found


class Frago:
    """The three calls of the page."""

    def __init__(self, client, data=DATA, name="video.mp4", headers=None):
        self.client, self.data, self.headers = client, data, headers or {}
        answer = client.post(
            BASE, json={"filename": name, "total_size": len(data)}, headers=self.headers
        )
        assert answer.status_code == 201, answer.text
        self.started = answer.json()
        self.url = f"{BASE}{self.started['upload_id']}/"

    def put(self, start, stop, data=None, total=None, **headers):
        total = len(self.data) if total is None else total
        where = {"Content-Range": f"bytes {start}-{stop - 1}/{total}", **headers, **self.headers}
        content = self.data[start:stop] if data is None else data
        return self.client.put(self.url, headers=where, files={"file": ("blob", content)})

    def put_all(self):
        for start in range(0, len(self.data), CHUNK):
            answer = self.put(start, min(start + CHUNK, len(self.data)))
            assert answer.status_code == 200, answer.text

    def finish(self, checksum=None, algo=None, **more):
        document = {"checksum": checksum or md5(self.data), **more}
        if algo:
            document["checksum_algo"] = algo
        return self.client.post(self.url, json=document, headers=self.headers)

    def show(self):
        return self.client.get(self.url, headers=self.headers).json()


def test_an_upload_as_on_the_page(site):
    upload = Frago(site.client)
    upload.put_all()

    answer = upload.finish()

    assert upload.started == {
        "status": True,
        "message": "Upload started for video.mp4",
        "upload_id": upload.started["upload_id"],
    }
    assert answer.status_code == 201
    assert answer.json() == {
        "status": True,
        "message": "Upload completed for video.mp4",
        "upload_id": upload.started["upload_id"],
    }
    assert site.only_published() == DATA
    assert site.recorded_digests() == [sha256(DATA)]


def test_chunks_come_in_any_order_and_in_parallel(site):
    upload = Frago(site.client)
    starts = list(range(0, len(DATA), CHUNK))[::-1]

    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda start: upload.put(start, min(start + CHUNK, len(DATA))), starts)
        )

    assert [one.status_code for one in answers] == [200] * len(starts)
    assert [one["start"] for one in upload.show()["chunks"]] == starts[::-1]
    assert upload.finish().status_code == 201
    assert site.only_published() == DATA


def test_the_status_lists_the_chunks_as_the_client_cut_them(site):
    upload = Frago(site.client)
    upload.put(100, 200)
    upload.put(200, 300)

    shown = upload.show()

    assert shown["chunks"] == [
        {"start": 100, "end": 199, "size": 100},
        {"start": 200, "end": 299, "size": 100},
    ]
    assert (shown["status"], shown["completed_at"]) == ("in_progress", None)
    assert (shown["filename"], shown["total_size"]) == ("video.mp4", len(DATA))


def test_the_same_chunk_again_is_told_as_a_duplicate(site):
    upload = Frago(site.client)
    first = upload.put(0, CHUNK)

    again = upload.put(0, CHUNK)

    assert first.json() == {
        "status": True,
        "message": "Chunk uploaded",
        "start": 0,
        "end": CHUNK - 1,
        "size": CHUNK,
    }
    assert again.status_code == 200
    assert again.json() == first.json() | {
        "message": "Duplicate chunk already uploaded; skipped",
        "duplicate": True,
    }


def test_a_bad_chunk_is_replaced_by_a_good_one(site):
    upload = Frago(site.client)
    upload.put_all()
    upload.put(0, CHUNK, b"x" * CHUNK)

    refused = upload.finish()
    repaired = upload.put(0, CHUNK)

    assert (refused.status_code, refused.json()) == (
        400,
        {"status": False, "message": "Checksum mismatch"},
    )
    assert "duplicate" not in repaired.json()
    assert site.published() == {}
    assert upload.finish().status_code == 201
    assert site.only_published() == DATA


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_wrong_checksum_is_told_as_an_event(wsgi, algorithm):
    upload = Frago(wsgi.client)
    upload.put_all()

    wrong = {"checksum": "0" * hashlib.new(algorithm).digest_size * 2, "checksum_algo": algorithm}
    wsgi.client.post(f"{BASE}{upload.started['upload_id']}/", json=wrong)

    assert wsgi.failures() == ["digest-mismatch"]


def test_a_second_finish_repeats_the_answer(site):
    upload = Frago(site.client)
    upload.put_all()
    first = upload.finish()

    again = upload.finish()
    other = upload.finish("0" * 32)

    assert (again.status_code, again.json()) == (201, first.json())
    assert (other.status_code, other.json()["message"]) == (400, "Checksum mismatch")
    assert len(site.published()) == 1


@pytest.mark.parametrize("algo", ["sha256", "sha1", "sha512", "blake2b", "sha3_256", "SHA256"])
def test_any_algorithm_of_hashlib_may_be_named(wsgi, algo):
    upload = Frago(wsgi.client)
    upload.put_all()
    value = hashlib.new(algo, DATA).hexdigest()

    wrong = upload.finish("0" * len(value), algo)
    right = upload.finish(value, algo)

    assert (wrong.status_code, right.status_code) == (400, 201)
    assert upload.finish(value, algo).status_code == 201
    assert wsgi.recorded_digests() == [sha256(DATA)]


def test_upper_case_hex_is_the_same_checksum(wsgi):
    upload = Frago(wsgi.client)
    upload.put_all()

    assert upload.finish(md5(DATA).upper()).status_code == 201


def test_a_name_is_data(wsgi):
    upload = Frago(wsgi.client, name="../../evil.txt")
    upload.put_all()

    answer = upload.finish()

    assert answer.json()["message"] == "Upload completed for ../../evil.txt"
    assert upload.show()["filename"] == "../../evil.txt"
    (path,) = wsgi.published()
    assert ".." not in path.split("/")
    assert not list(wsgi.server.data_dir.parent.glob("evil*"))


@pytest.mark.parametrize("kind", ["json", "data", "multipart"])
def test_a_start_may_be_json_or_a_form(wsgi, kind):
    members = {"filename": "a.mp4", "total_size": "10"}
    if kind == "multipart":
        body = form_of("bb", ("filename", None, b"a.mp4"), ("total_size", None, b"10"))
        answer = wsgi.client.post(
            BASE, content=body, headers={"Content-Type": "multipart/form-data; boundary=bb"}
        )
    else:
        answer = wsgi.client.post(BASE, **{kind: members})

    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({}, "filename and total_size required"),
        ({"filename": "a"}, "filename and total_size required"),
        ({"filename": "a", "total_size": ""}, "filename and total_size required"),
        ({"filename": "a", "total_size": "many"}, "total_size must be a whole number from 0"),
        ({"filename": "a", "total_size": "-5"}, "total_size must be a whole number from 0"),
    ],
)
def test_a_start_that_says_too_little(wsgi, members, text):
    answer = wsgi.client.post(BASE, data=members)

    assert (answer.status_code, answer.json()) == (400, {"status": False, "message": text})


def test_an_empty_file(wsgi):
    answer = wsgi.client.post(BASE, data={"filename": "empty.mp4", "total_size": "0"})
    url = f"{BASE}{answer.json()['upload_id']}/"

    done = wsgi.client.post(url, json={"checksum": md5(b"")})

    assert done.status_code == 201
    assert wsgi.only_published() == b""


@pytest.mark.parametrize(
    ("content_range", "error"),
    [
        (None, "Missing Content-Range header"),
        ("bytes=0-9", "Invalid Content-Range header"),
        ("bytes 9-0/300000", "Invalid Content-Range header"),
        ("bytes 0-9/*", "Invalid Content-Range header"),
        ("bytes 0-9/10", "Total size mismatch"),
        ("bytes 299999-300000/300000", "Chunk ends after the total size"),
    ],
)
def test_a_chunk_whose_range_says_nothing(wsgi, content_range, error):
    upload = Frago(wsgi.client)
    headers = {"Content-Range": content_range} if content_range else {}

    answer = wsgi.client.put(upload.url, headers=headers, files={"file": b"0123456789"})

    assert (answer.status_code, answer.json()) == (400, {"status": False, "error": error})


@pytest.mark.parametrize("size", [0, 9, 11, 5000])
def test_a_chunk_of_another_size_than_its_range_says(site, size):
    upload = Frago(site.client)

    answer = upload.put(0, 10, b"x" * size)

    assert answer.status_code == 400
    assert answer.json()["error"] == f"Chunk size mismatch (expected 10, got {size})"
    assert upload.show()["chunks"] == []


def test_a_chunk_of_another_size_leaves_what_is_stored_alone(wsgi):
    upload = Frago(wsgi.client)
    upload.put_all()

    assert upload.put(0, 10, b"x" * 5000).status_code == 400

    assert upload.finish().status_code == 201


def test_a_form_without_a_file(wsgi):
    upload = Frago(wsgi.client)

    answer = wsgi.client.put(
        upload.url, headers={"Content-Range": "bytes 0-9/300000"}, data={"other": "x"}
    )

    assert (answer.status_code, answer.json()["error"]) == (400, "No chunk provided")


def test_a_file_before_and_after_other_fields(wsgi):
    upload = Frago(wsgi.client)
    body = form_of("bb", ("a", None, b"1"), ("file", "x", DATA[:CHUNK]), ("b", None, b"2"))

    answer = wsgi.client.put(
        upload.url,
        content=body,
        headers={
            "Content-Range": f"bytes 0-{CHUNK - 1}/{len(DATA)}",
            "Content-Type": "multipart/form-data; boundary=bb",
        },
    )

    assert answer.status_code == 200, answer.text


def test_bytes_that_look_like_a_boundary_are_bytes(wsgi):
    data = b"\r\n--bb" * 20_000 + b"\r\n--b"
    upload = Frago(wsgi.client, data=data)
    body = form_of("bc", ("file", "x", data))

    answer = wsgi.client.put(
        upload.url,
        content=body,
        headers={
            "Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}",
            "Content-Type": 'multipart/form-data; boundary="bc"',
        },
    )

    assert answer.status_code == 200, answer.text
    assert upload.finish().status_code == 201
    assert wsgi.only_published() == data


def test_a_finish_before_all_has_arrived(wsgi):
    upload = Frago(wsgi.client)
    upload.put(0, CHUNK)

    answer = upload.finish()

    assert (answer.status_code, answer.json()) == (
        400,
        {"status": False, "message": "Not all chunks uploaded"},
    )


def test_a_finish_without_a_checksum_or_with_one_nobody_knows(wsgi):
    upload = Frago(wsgi.client)
    upload.put_all()

    without = wsgi.client.post(upload.url, json={})
    unknown = upload.finish("00", "md55")

    assert (without.status_code, without.json()["message"]) == (400, "Checksum required")
    assert unknown.status_code == 400
    assert unknown.json()["message"] == "Checksum algorithm not available: md55"


def test_the_operator_may_do_without_checksums(tmp_path):
    with compat_site(tmp_path, compat=CompatSettings(require_checksum=False)) as site:
        upload = Frago(site.client)
        upload.put_all()

        answer = site.client.post(upload.url, json={})

    assert answer.status_code == 201


def test_a_chunk_after_the_finish_is_refused(wsgi):
    upload = Frago(wsgi.client)
    upload.put_all()
    upload.finish()

    answer = upload.put(0, CHUNK)

    assert (answer.status_code, answer.json()["error"]) == (400, "Upload already finished")
    assert upload.show()["status"] == "complete"


def test_what_is_not_there_and_what_cannot_be_done(wsgi):
    upload = Frago(wsgi.client)

    unknown = wsgi.client.get(f"{BASE}{'0' * 32}/")
    deleted = wsgi.client.delete(upload.url)
    listed = wsgi.client.get(BASE)

    assert unknown.status_code == 404
    assert unknown.json()["detail"] == "No ChunkUpload matches the given query."
    assert (deleted.status_code, deleted.json()["detail"]) == (405, 'Method "DELETE" not allowed.')
    assert (listed.status_code, listed.json()) == (200, [])


def test_an_upload_that_nobody_goes_on_with_has_expired(tmp_path):
    with compat_site(tmp_path, idle_expiry_s=-1.0) as site:
        upload = Frago(site.client)
        site.server.receiver.expire()

        put, finish, shown = upload.put(0, CHUNK), upload.finish(), upload.show()

    assert (put.status_code, put.json()) == (410, {"status": False, "error": "Upload expired"})
    assert finish.status_code == 410
    assert shown["status"] == "expired"


def test_a_device_sees_its_own_uploads_only(tmp_path):
    with compat_site(tmp_path, mode="token") as site:
        one, other = (
            {"Authorization": f"Bearer {site.server.token(device)}"} for device in ("one", "other")
        )
        upload = Frago(site.client, headers=one)

        own = site.client.get(BASE, headers=one)
        others = site.client.get(BASE, headers=other)
        peeked = site.client.get(upload.url, headers=other)
        nobody = site.client.get(upload.url)

    assert [each["upload_id"] for each in own.json()] == [upload.started["upload_id"]]
    assert others.json() == []
    assert peeked.status_code == 404
    assert nobody.status_code == 401
    assert set(nobody.json()) == {"detail", "code"}


def test_a_foreign_web_page_cannot_upload_where_no_token_is_asked_for(wsgi):
    members = {"filename": "a.mp4", "total_size": "10"}

    foreign = wsgi.client.post(BASE, data=members, headers={"Origin": "https://evil.example"})
    own = wsgi.client.post(BASE, data=members, headers={"Origin": "http://localhost"})

    assert foreign.status_code == 403
    assert own.status_code == 201


def test_it_is_not_there_unless_the_operator_mounts_it(tmp_path):
    from tests.support.ingest import ingest

    with ingest(tmp_path / "data") as server:
        transport = httpx.WSGITransport(app=server.app)
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            assert client.post(BASE, json={"filename": "a", "total_size": 1}).status_code == 404


def test_of_a_cut_chunk_nothing_that_arrived_is_lost(tmp_path):
    with compat_site(tmp_path) as site, serving(site.server.app) as running:
        upload = Frago(site.client)
        body = form_of("bb", ("file", "x", DATA[:CHUNK]))
        head = (
            f"PUT {upload.url} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: multipart/form-data; boundary=bb\r\n"
            f"Content-Range: bytes 0-{CHUNK - 1}/{len(DATA)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with Peer(running.address) as peer:
            peer.send(head.encode() + body[:50_000])
            peer.socket.shutdown(socket.SHUT_WR)

            answer = peer.answer()

        upload_id = upload.started["upload_id"].replace("-", "")
        received = site.server.receiver.status(None, upload_id).received
        head_bytes = body.index(b"\r\n\r\n") + 4
        assert answer.status == 400
        assert received.to_pairs() == [[0, 50_000 - head_bytes]]
        assert upload.show()["chunks"] == []
        assert upload.put(0, CHUNK).status_code == 200


def test_a_retry_takes_over_from_a_request_whose_link_died(tmp_path):
    with compat_site(tmp_path) as site, serving(site.server.app, read_timeout_s=30) as running:
        upload = Frago(site.client)
        body = form_of("bb", ("file", "x", DATA[:CHUNK]))
        head = (
            f"PUT {upload.url} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: multipart/form-data; boundary=bb\r\n"
            f"Content-Range: bytes 0-{CHUNK - 1}/{len(DATA)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with Peer(running.address) as peer:
            peer.send(head.encode() + body[:50_000])  # and then nothing
            stored = upload.started["upload_id"].replace("-", "")
            wait_for(site.server.store.live.pin(stored).writers, "it is written to")

            with plain_client(running.address.url, timeout=5.0) as client:
                upload.client = client
                assert upload.put(0, CHUNK).status_code == 200


def asked_until_told(client):
    """Return every answer to a finish that is asked again until it is no 202."""
    answers = [client()]
    while answers[-1].status_code == 202:
        assert answers[-1].json() == {"status": False, "message": "Being verified; ask again"}
        assert answers[-1].headers["Retry-After"] == "1"
        answers.append(client())
    return answers


def test_a_finish_that_outlasts_its_answer_goes_on_and_asking_again_tells_how_it_ended(
    tmp_path, monkeypatch
):
    answered = threading.Event()

    def asked(ask):
        answered.clear()
        first = ask()
        answered.set()
        return [first, *asked_until_told(ask)]

    with compat_site(tmp_path, verify_wait_s=0.0) as site:
        long_work = site.server.receiver.long_work
        join = long_work.join
        monkeypatch.setattr(
            long_work,
            "join",
            lambda device, upload_id, key, work, wait_s: join(
                device, upload_id, key, lambda: answered.wait(30) and work(), wait_s
            ),
        )
        frago = Frago(site.client)
        frago.put_all()

        wrong = asked(lambda: frago.finish(md5(b"other")))
        right = asked(frago.finish)

        assert (wrong[0].status_code, wrong[-1].status_code) == (202, 400)
        assert wrong[-1].json() == {"status": False, "message": "Checksum mismatch"}
        assert (right[0].status_code, right[-1].status_code) == (202, 201)
        assert site.published() == {next(iter(site.published())): DATA}
        assert len(site.failures()) == 1


def test_no_file_may_be_sent_in_so_many_chunks_that_their_notes_outweigh_it(wsgi):
    frago, records = Frago(wsgi.client), wsgi.server.receiver.records
    stored = frago.started["upload_id"].replace("-", "")
    assert frago.put(0, 10).status_code == 200
    assert records.note(stored, chunk_notes.COUNT) == "1"
    records.write_note(stored, chunk_notes.COUNT, str(chunk_notes.FREE_CHUNKS))

    again, refused = frago.put(0, 10), frago.put(10, 20)

    assert again.json()["duplicate"] is True
    assert (refused.status_code, refused.json()["code"]) == (409, "too-many-ranges")
    assert "at most 10000 chunks: send larger ones" in refused.json()["error"]


@pytest.mark.parametrize(("algo", "reads"), [("md5", False), ("sha256", False), ("sha1", True)])
def test_a_checksum_that_is_known_at_the_start_costs_no_read_at_the_finish(wsgi, algo, reads):
    upload = Frago(wsgi.client)
    upload.put_all()
    with noted_reads(wsgi) as read:
        answer = upload.finish(hashlib.new(algo, DATA).hexdigest(), algo)

    assert (answer.status_code, bool(read)) == (201, reads)
    assert wsgi.only_published() == DATA


def test_a_wrong_checksum_known_at_the_start_is_looked_for_on_the_disk_before_it_is_told(wsgi):
    upload = Frago(wsgi.client)
    upload.put_all()

    assert upload.finish(md5(b"other")).status_code == 400
    assert upload.put(0, CHUNK, data=DATA[:CHUNK]).status_code == 200
    assert upload.finish().status_code == 201
    assert wsgi.only_published() == DATA


def test_who_asks_for_a_finish_by_another_algorithm_than_the_first_is_told_the_truth(wsgi):
    upload = Frago(wsgi.client)
    upload.put_all()
    assert upload.finish(hashlib.md5(DATA).hexdigest(), "md5").status_code == 201

    right = upload.finish(hashlib.sha1(DATA).hexdigest(), "sha1")
    wrong = upload.finish("0" * 40, "sha1")

    assert (right.status_code, wrong.status_code) == (201, 400)
    assert wsgi.only_published() == DATA


def test_so_is_who_asks_for_what_another_protocol_has_completed(wsgi):
    upload = Frago(wsgi.client)
    upload.put_all()
    raw = upload.started["upload_id"].replace("-", "")
    done = wsgi.client.post(
        f"/v1/uploads/{raw}/complete", json={"length": len(DATA), "digest": None}
    )
    assert done.status_code == 200

    answers = [upload.finish(hashlib.md5(DATA).hexdigest(), "md5") for _ in range(2)]

    assert [one.status_code for one in answers] == [201, 201]
