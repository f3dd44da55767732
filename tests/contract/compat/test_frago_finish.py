"""How an upload of frago's page ends: by checksum or without, early, twice, late, and for whom."""

import hashlib
import threading

import pytest

from ingest_server.protocols.compat.dialect import CompatSettings
from tests.support.compat_site import (
    compat_site,
    md5,
    noted_reads,
    sha256,
)
from tests.support.frago_client import BASE, CHUNK, DATA, Frago
from tests.support.plain import wsgi_client


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_wrong_checksum_is_told_as_an_event(wsgi, algorithm):
    upload = Frago(wsgi.client)
    upload.put_all()

    wrong = {"checksum": "0" * hashlib.new(algorithm).digest_size * 2, "checksum_algo": algorithm}
    wsgi.client.post(f"{BASE}{upload.started['upload_id']}/", json=wrong)

    assert wsgi.failures() == ["digest-mismatch"]


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
        site.server.receiver.expiry.sweep()

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

    with ingest(tmp_path / "data") as server, wsgi_client(server.app) as client:
        assert client.post(BASE, json={"filename": "a", "total_size": 1}).status_code == 404


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
