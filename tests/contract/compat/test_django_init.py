"""A client of the django-chunked-upload with init, unique_id and chunk_hash, against ours."""

import hashlib

import pytest

from ingest_server.core.errors import Refused
from ingest_server.protocols.compat.chunk_chain import SO_FAR, TRIES
from ingest_server.protocols.compat.dialect import CompatSettings, DialectUploads
from ingest_server.uploads.records import Notes, Records
from tests.support.compat_site import (
    compat_site,
    form_of,
    md5,
    noted_reads,
    recording,
    sha256,
)

INIT = "/compat/django-init/upload/init/"
UPLOAD = "/compat/django-init/upload/"
DATA = recording(250_000)
CHUNK = 100_000
SETTINGS = CompatSettings(chunk_bytes=CHUNK)


@pytest.fixture
def compat_settings():
    return SETTINGS


def init(client, **members):
    members = {"file_size": len(DATA), "file_name": "clip.mp4"} | members
    return client.post(INIT, json=members)


def begin(client, **members):
    answer = init(client, **members)
    assert answer.status_code == 200, answer.text
    assert answer is not None
    return answer.json()


def chain(data, algorithm="md5", size=CHUNK):
    found = None
    for at in range(0, max(len(data), 1), size):
        value = hashlib.new(algorithm, data[at : at + size]).hexdigest()
        found = (
            value if found is None else hashlib.new(algorithm, (found + value).encode()).hexdigest()
        )
    return found


def send(client, unique_id, offset, content=None, *, algorithm="md5", **members):
    content = DATA[offset : offset + CHUNK] if content is None else content
    members = {
        "unique_id": unique_id,
        "offset": str(offset),
        "chunk_hash": hashlib.new(algorithm, content).hexdigest(),
    } | members
    return client.post(UPLOAD, data=members, files={"file": ("blob", content)})


def send_all(client, unique_id, **members):
    answers = []
    for offset in range(0, len(DATA), CHUNK):
        last = {"final_hash": chain(DATA)} if offset + CHUNK >= len(DATA) else {}
        answers.append(send(client, unique_id, offset, **(last | members)))
        assert answers[-1].status_code == 200, answers[-1].text
    return answers[-1].json()


def test_an_upload_from_init_to_the_last_chunk(site):
    begun = begin(site.client)

    done = send_all(site.client, begun["unique_id"])

    assert begun == {
        "unique_id": begun["unique_id"],
        "offset": 0,
        "chunk_size": CHUNK,
        "status": "INITIAL",
        "original_file_size": len(DATA),
        "current_file_size": 0,
        "hr_current_file_size": "0.00 B",
        "hr_original_file_size": "244.14 KB",
        "last_calculated_hash": None,
        "retry_threshold": 2,
    }
    assert (done["status"], done["offset"]) == ("SUCCESSFUL", len(DATA))
    assert done["last_calculated_hash"] == chain(DATA)
    assert site.only_published() == DATA
    assert site.recorded_digests() == [sha256(DATA)]


def test_what_was_verified_chunk_by_chunk_is_not_read_again_at_the_finish(wsgi):
    unique_id = begin(wsgi.client)["unique_id"]

    with noted_reads(wsgi) as read:
        done = send_all(wsgi.client, unique_id)

    assert (done["status"], read) == ("SUCCESSFUL", [])
    assert wsgi.recorded_digests() == [sha256(DATA)]


def test_chunks_of_which_one_was_replaced_are_read_once_more(wsgi):
    unique_id = begin(wsgi.client)["unique_id"]
    send(wsgi.client, unique_id, 0, DATA[:CHUNK][::-1])

    with noted_reads(wsgi) as read:
        done = send_all(wsgi.client, unique_id)

    assert (done["status"], {0, CHUNK, 2 * CHUNK} <= {at for _, at in read}) == ("SUCCESSFUL", True)
    assert wsgi.recorded_digests() == [sha256(DATA)]


@pytest.mark.parametrize("function", ["SHA1", "SHA256", "SHA512"])
def test_the_client_chooses_the_hash_function(wsgi, function):
    algorithm = function.lower()
    unique_id = begin(wsgi.client, hash_function=function)["unique_id"]
    for offset in (0, CHUNK):
        assert send(wsgi.client, unique_id, offset, algorithm=algorithm).status_code == 200

    done = send(
        wsgi.client,
        unique_id,
        2 * CHUNK,
        algorithm=algorithm,
        final_hash=chain(DATA, algorithm),
    )

    assert done.json()["status"] == "SUCCESSFUL"
    assert wsgi.only_published() == DATA


def test_a_client_resumes_by_its_unique_id(wsgi):
    unique_id = begin(wsgi.client)["unique_id"]
    send(wsgi.client, unique_id, 0)

    resumed = wsgi.client.post(INIT, data={"unique_id": unique_id}).json()

    assert (resumed["status"], resumed["offset"]) == ("UPLOADING", CHUNK)
    assert resumed["last_calculated_hash"] == md5(DATA[:CHUNK])


@pytest.mark.slow
def test_a_bad_chunk_is_not_taken_and_may_be_sent_again(site):
    unique_id = begin(site.client)["unique_id"]
    bad = send(site.client, unique_id, 0, b"x" * CHUNK, chunk_hash=md5(DATA[:CHUNK]))

    resumed = site.client.post(INIT, data={"unique_id": unique_id}).json()

    assert bad.status_code == 400
    assert bad.json() == {
        "message": "Sent chunk is corrupted. Please retry uploading the chunk.",
        "left_retries": "1",
    }
    assert (resumed["offset"], resumed["retry_threshold"]) == (0, 1)
    assert send_all(site.client, unique_id)["status"] == "SUCCESSFUL"
    assert site.only_published() == DATA


@pytest.mark.parametrize("keep_failed", [False, True])
def test_after_the_last_retry_the_upload_has_failed(tmp_path, keep_failed):
    settings = CompatSettings(chunk_bytes=CHUNK, retries=1, keep_failed=keep_failed)
    with compat_site(tmp_path, compat=settings) as site:
        unique_id = begin(site.client)["unique_id"]
        send(site.client, unique_id, 0, chunk_hash="0" * 32)
        last = send(site.client, unique_id, 0, chunk_hash="no hex")

        good = send(site.client, unique_id, 0)
        resumed = site.client.post(INIT, data={"unique_id": unique_id}).json()

        assert last.status_code == 400
        assert "left_retries" not in last.json()
        assert good.json() == {"non_field_errors": ["File does not exist or not in a valid state"]}
        assert resumed["status"] == "FAILED"
        assert site.server.data_dir is not None
        assert len(list((site.server.data_dir / "parts").iterdir())) == keep_failed


@pytest.mark.parametrize("final_hash", [None, "0" * 32])
def test_a_wrong_final_hash_publishes_nothing(wsgi, final_hash):
    unique_id = begin(wsgi.client)["unique_id"]
    send(wsgi.client, unique_id, 0)
    send(wsgi.client, unique_id, CHUNK)
    members = {"final_hash": final_hash} if final_hash else {}

    answer = send(wsgi.client, unique_id, 2 * CHUNK, **members)

    assert (answer.status_code, answer.json()) == (400, {"message": "File is corrupted"})
    assert wsgi.failures() == ["digest-mismatch"]
    assert wsgi.published() == {}


def test_a_lost_last_answer_is_repeated(wsgi):
    unique_id = begin(wsgi.client)["unique_id"]
    first = send_all(wsgi.client, unique_id)

    again = send(wsgi.client, unique_id, 2 * CHUNK, final_hash=chain(DATA))
    other = send(wsgi.client, unique_id, 2 * CHUNK, b"x")

    assert (again.status_code, again.json()) == (200, first)
    assert other.status_code == 400
    assert len(wsgi.published()) == 1


def test_a_chunk_that_met_a_finish_which_came_to_nothing_is_not_taken_for_received(
    wsgi, monkeypatch
):
    unique_id = begin(wsgi.client)["unique_id"]
    take_all, refusals = DialectUploads.take_all, [Refused("not-open", "it is being verified")]

    def take(uploads, *where, **how):
        while refusals:
            raise refusals.pop()
        return take_all(uploads, *where, **how)

    monkeypatch.setattr(DialectUploads, "take_all", take)

    refused = send(wsgi.client, unique_id, 0)

    assert (refused.status_code, refused.json()["code"]) == (503, "server-busy")
    assert send_all(wsgi.client, unique_id)["status"] == "SUCCESSFUL"
    assert wsgi.only_published() == DATA


def test_a_chunk_sent_again_replaces_the_first(wsgi):
    unique_id = begin(wsgi.client)["unique_id"]
    send(wsgi.client, unique_id, 0, b"x" * CHUNK)

    again = send(wsgi.client, unique_id, 0)

    assert again.json()["last_calculated_hash"] == md5(DATA[:CHUNK])
    assert send_all(wsgi.client, unique_id)["status"] == "SUCCESSFUL"
    assert wsgi.only_published() == DATA


def test_an_offset_that_does_not_match(wsgi):
    unique_id = begin(wsgi.client)["unique_id"]

    answer = send(wsgi.client, unique_id, CHUNK)

    assert (answer.status_code, answer.json()) == (
        400,
        {"non_field_errors": ["Offset does not match"]},
    )


def test_a_chunk_larger_than_it_may_be(wsgi):
    unique_id = begin(wsgi.client)["unique_id"]

    answer = send(wsgi.client, unique_id, 0, DATA[: CHUNK + 5000])

    assert answer.status_code == 400
    assert answer.json()["message"] == f"A chunk from 0 on has at most {CHUNK} bytes"
    assert send_all(wsgi.client, unique_id)["status"] == "SUCCESSFUL"


def test_the_fields_may_come_behind_the_file(wsgi):
    unique_id = begin(wsgi.client, file_size=CHUNK)["unique_id"]
    content = DATA[:CHUNK]
    body = form_of(
        "bb",
        ("file", "blob", content),
        ("unique_id", None, unique_id.encode()),
        ("offset", None, b"0"),
        ("chunk_hash", None, md5(content).encode()),
        ("final_hash", None, md5(content).encode()),
    )

    answer = wsgi.client.post(
        UPLOAD, content=body, headers={"Content-Type": "multipart/form-data; boundary=bb"}
    )

    assert answer.json()["status"] == "SUCCESSFUL"
    assert wsgi.only_published() == content
    assert wsgi.open_uploads() == 0


def test_an_empty_file(wsgi):
    unique_id = begin(wsgi.client, file_size="0")["unique_id"]

    answer = send(wsgi.client, unique_id, 0, b"", final_hash=md5(b""))

    assert answer.json()["status"] == "SUCCESSFUL", answer.text
    assert wsgi.only_published() == b""


@pytest.mark.parametrize(
    ("members", "errors"),
    [
        ({"file_size": None}, {"file_size": ["This field is required"]}),
        ({"file_size": "-1"}, {"file_size": ["A valid integer is required."]}),
        ({"file_name": None}, {"file_name": ["This field is required"]}),
        (
            {"file_name": "clip"},
            {"file_name": ["Invalid file name. File name must have an extension"]},
        ),
        ({"hash_function": "CRC"}, {"hash_function": ["Invalid hash function"]}),
        ({"unique_id": "7"}, {"unique_id": ["Must be a valid UUID."]}),
        ({"unique_id": "0" * 32}, ["File does not exist"]),
    ],
)
def test_an_init_that_cannot_be(wsgi, members, errors):
    answer = init(wsgi.client, **members)

    assert (answer.status_code, answer.json()) == (400, errors)


def test_a_chunk_that_says_too_little(wsgi):
    nothing = wsgi.client.post(UPLOAD, data={})
    no_file = wsgi.client.post(
        UPLOAD, data={"unique_id": "0" * 32, "offset": "0", "chunk_hash": "00"}
    )
    unknown = send(wsgi.client, "0" * 32, 0)

    required = ["This field is required."]
    assert nothing.json() == {"unique_id": required, "offset": required, "chunk_hash": required}
    assert no_file.json() == ["File is required"]
    assert unknown.json() == {"non_field_errors": ["File does not exist or not in a valid state"]}


def test_a_name_is_data(wsgi):
    unique_id = begin(wsgi.client, file_name="../../evil.mp4")["unique_id"]
    send_all(wsgi.client, unique_id)

    (path,) = wsgi.published()
    assert ".." not in path.split("/")


def test_a_chunk_costs_the_same_however_many_came_before(wsgi):
    rows, read = wsgi.server.state.rows, []

    def counted(sql, *values):
        found = rows(sql, *values)
        read.append(len(found))
        return found

    unique_id = begin(wsgi.client, file_size=10_000)["unique_id"]
    wsgi.server.state.rows = counted
    costs = []
    for number in range(60):
        read.clear()
        answer = send(wsgi.client, unique_id, number * 10, b"%010d" % number)
        assert answer.json()["offset"] == number * 10 + 10
        costs.append(sum(read))

    assert costs[5] == costs[59]


def test_a_chunk_that_is_replaced_by_a_shorter_one_is_where_the_client_goes_on(wsgi):
    unique_id = begin(wsgi.client)["unique_id"]
    for offset in (0, CHUNK):
        send(wsgi.client, unique_id, offset)

    shorter = send(wsgi.client, unique_id, 0, DATA[:50_000]).json()
    ahead = send(wsgi.client, unique_id, CHUNK)
    rest = [
        send(wsgi.client, unique_id, at, DATA[at : at + 50_000], **more)
        for at, more in [(50_000, {}), (100_000, {}), (150_000, {}), (200_000, {"final_hash": "x"})]
    ]

    assert (shorter["offset"], shorter["last_calculated_hash"]) == (50_000, md5(DATA[:50_000]))
    assert ahead.json() == {"non_field_errors": ["Offset does not match"]}
    assert [one.status_code for one in rest] == [200, 200, 200, 400]
    assert rest[-2].json()["last_calculated_hash"] == chain(DATA[:200_000], size=50_000)


def test_while_a_chunk_is_replaced_no_other_request_waits_until_all_chunks_are_read(
    wsgi, monkeypatch
):
    def read_all(_):
        raise AssertionError("all notes are read in the transaction that others wait for")

    unique_id = begin(wsgi.client)["unique_id"]
    for offset in (0, CHUNK):
        send(wsgi.client, unique_id, offset, b"x" * CHUNK)
    monkeypatch.setattr(Notes, "all", read_all)

    replaced = send(wsgi.client, unique_id, 0).json()

    assert replaced["last_calculated_hash"] == chain(DATA[:CHUNK] + b"x" * CHUNK)
    assert replaced["offset"] == 2 * CHUNK


def test_two_chunks_that_are_replaced_at_once_both_count(wsgi, monkeypatch):
    unique_id = begin(wsgi.client)["unique_id"]
    for offset in (0, CHUNK):
        send(wsgi.client, unique_id, offset, b"x" * CHUNK)
    read, meanwhile = Records.notes, [CHUNK]

    def notes(records, upload_id):
        found = read(records, upload_id)
        while meanwhile:
            assert send(wsgi.client, unique_id, meanwhile.pop()).status_code == 200
        return found

    monkeypatch.setattr(Records, "notes", notes)

    replaced = send(wsgi.client, unique_id, 0).json()

    assert replaced["last_calculated_hash"] == chain(DATA[: 2 * CHUNK])
    assert send_all(wsgi.client, unique_id)["status"] == "SUCCESSFUL"
    assert wsgi.only_published() == DATA


def test_chunks_that_are_replaced_all_the_time_are_asked_for_again(wsgi, monkeypatch):
    unique_id = begin(wsgi.client)["unique_id"]
    send(wsgi.client, unique_id, 0, b"x" * CHUNK)
    read = Records.notes
    times: list[float] = []

    def notes(records, upload_id):
        times.append(len(times))
        records.write_note(upload_id, SO_FAR, f'[{CHUNK}, "{len(times)}"]')
        return read(records, upload_id)

    monkeypatch.setattr(Records, "notes", notes)

    refused = send(wsgi.client, unique_id, 0)

    assert refused.json()["code"] == "server-busy"
    assert int(refused.headers["Retry-After"]) > 0
    assert len(times) == TRIES
