"""Recordings in a browser: found, played and kept by who may see them; harmless whatever they hold."""

import os
import secrets
import socket
from pathlib import Path

import pytest

from ingest_server.page import downloads
from tests.support.processes import wait_for
from tests.support.secured import DATA, complete, create, secured, upload
from tests.support.visitors import add_user, visitor

LIST = "/v1/fleet/recordings"
PAGE = b"<script>alert(document.cookie)</script>"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with secured(tmp_path_factory.mktemp("recordings")) as found:
        add_user(found.state)
        add_user(found.state, "ben", "viewer")
        yield found


@pytest.fixture(scope="module")
def person(site):
    return visitor(site, "ben")


@pytest.fixture(scope="module")
def clip(site):
    return upload(site.device("cam"), name="clip.mp4", folder="DCIM")


def content(receipt) -> str:
    return f"{LIST}/{receipt['upload_id']}/content"


def published(site, receipt) -> Path:
    return site.folder / "data" / "published" / receipt["published_as"]


def wait_until_served(client, url: str) -> None:
    """Ask until a file that is read first has been read."""
    wait_for(lambda: client.get(url).status_code != 503, "the file is read")


def test_what_was_uploaded_is_found_with_its_receipt(site, person, clip):
    listed = person.get(LIST, params={"device": "cam", "q": "CLIP"}).json()

    assert listed["next"] is None
    [row] = listed["recordings"]
    assert row == {**clip, "can_play": True, "facts": {}}
    one = person.get(f"{LIST}/{clip['upload_id']}").json()
    assert one["receipt"] == clip
    assert (one["upload_id"], one["folder"]) == (clip["upload_id"], "DCIM")


def test_only_who_may_see_everything_sees_them(site, clip):
    for path in (LIST, f"{LIST}/{clip['upload_id']}", content(clip)):
        for method in ("GET", "HEAD"):
            assert site.client().request(method, path).status_code == 401, path
            assert site.device("cam").request(method, path).status_code == 403
    admin = site.client(site.token("ops", "admin"))
    assert admin.get(content(clip)).content == DATA


def test_the_bytes_are_those_of_the_receipt_and_play_where_they_are(person, clip):
    answer = person.get(content(clip))

    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Content-Disposition"].startswith('inline; filename="clip.mp4"')
    assert answer.headers["Accept-Ranges"] == "bytes"
    kept = person.get(content(clip), params={"download": "1"})
    assert kept.headers["Content-Disposition"].startswith("attachment; ")
    head = person.head(content(clip))
    same = ("Content-Length", "Content-Type", "ETag", "Content-Disposition")
    assert (head.status_code, head.content) == (200, b"")
    assert [head.headers[one] for one in same] == [answer.headers[one] for one in same]
    again = person.get(content(clip), headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=4000-", 4000, 4096),
        ("bytes=-10", 4086, 4096),
        ("bytes=-99999", 0, 4096),
        ("bytes=0-99999999999", 0, 4096),
        ("BYTES = 5-6", 5, 7),
    ],
)
def test_a_part_is_given_where_a_part_is_asked_for(person, clip, asked, start, stop):
    answer = person.get(content(clip), headers={"Range": asked})

    assert answer.status_code == 206
    assert answer.content == DATA[start:stop]
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/4096"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,5-6", "bytes=" + ",".join(["0-"] * 1000), "lines=1-2", "bytes=5-2", "bytes=a-b", "bytes=-",
     "bytes=1-2-3", "bytes 0-1", ""],
)  # fmt: skip
def test_row_33_what_is_no_single_run_of_bytes_is_answered_with_the_whole(person, clip, asked):
    answer = person.get(content(clip), headers={"Range": asked})

    assert (answer.status_code, answer.content) == (200, DATA)


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=4096-",
        "bytes=99999-99999",
        "bytes=-0",
        "bytes=" + "9" * 5000 + "-",
        "bytes=-" + "0" * 99,
    ],
)
def test_what_begins_behind_the_end_is_refused_with_the_length(person, clip, asked):
    answer = person.get(content(clip), headers={"Range": asked})

    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */4096"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=1-" + "9" * 5000, 1, 4096),
        ("bytes=-" + "9" * 5000, 0, 4096),
        ("bytes=" + "0" * 5000 + "1-" + "0" * 99 + "2", 1, 3),
    ],
    ids=["huge end", "huge suffix", "zeros"],
)
def test_row_33_a_number_is_read_by_its_value_and_not_by_its_digits(
    person, clip, asked, start, stop
):
    answer = person.get(content(clip), headers={"Range": asked})

    assert (answer.status_code, answer.content) == (206, DATA[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/4096"


def test_what_a_client_expects_is_looked_at_for_head_and_get_alike(person, clip):
    tag = person.head(content(clip)).headers["ETag"]
    several = [
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": f"W/{tag}"}, 412),
        ({"If-Match": f'"other", {tag}'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-None-Match": tag}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-Match": '"other"', "If-None-Match": tag}, 412),
    ]

    for headers, status in several:
        for method in ("GET", "HEAD"):
            answer = person.request(method, content(clip), headers=headers)
            assert answer.status_code == status, (method, headers)
    detail = person.get(content(clip), headers={"If-Match": '"other"'}).json()["detail"]
    assert tag in detail


def test_a_part_goes_on_only_with_the_same_content(person, clip):
    tag = person.head(content(clip)).headers["ETag"]
    several = {
        tag: 206,
        '"other"': 200,
        f"W/{tag}": 200,
        "Sat, 21 Nov 2026 10:00:00 GMT": 200,
    }

    for if_range, status in several.items():
        headers = {"Range": "bytes=0-1", "If-Range": if_range}
        assert person.get(content(clip), headers=headers).status_code == status, if_range
    head = person.head(content(clip), headers={"Range": "bytes=0-1"})
    assert (head.status_code, head.headers["Content-Length"]) == (200, "4096")


def test_an_empty_recording_is_given_too(site, person):
    device = site.device("cam")
    upload_id = create(device, name="empty.mp4", length=0).json()["id"]
    receipt = complete(device, upload_id, b"").json()

    whole = person.get(content(receipt))
    part = person.get(content(receipt), headers={"Range": "bytes=0-"})

    assert (whole.status_code, whole.content) == (200, b"")
    assert (part.status_code, part.headers["Content-Range"]) == (416, "bytes */0")


@pytest.mark.parametrize(
    ("name", "media_type", "is_played"),
    [
        ("page.html", "application/octet-stream", False),
        ("page.HTM", "application/octet-stream", False),
        ("picture.svg", "application/octet-stream", False),
        ("feed.xml", "application/octet-stream", False),
        ("book.pdf", "application/octet-stream", False),
        ("code.js", "application/octet-stream", False),
        ("noext", "application/octet-stream", False),
        (".mp4", "video/mp4", True),
        ("fine.mp4.html", "application/octet-stream", False),
        ("still.JPG", "image/jpeg", True),
    ],
)
def test_row_27_a_program_in_a_recording_runs_nowhere(site, person, name, media_type, is_played):
    receipt = upload(site.device("evil"), PAGE + name.encode(), name=name, media_type="text/html")

    for params in ({}, {"download": "1"}):
        answer = person.get(content(receipt), params=params)

        assert answer.content == PAGE + name.encode()
        assert answer.headers["Content-Type"] == media_type
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["X-Frame-Options"] == "DENY"
        is_inline = answer.headers["Content-Disposition"].startswith("inline; ")
        assert is_inline is (is_played and not params)


@pytest.mark.parametrize(
    "name",
    ['a"; filename="b.html', "a\r\nSet-Cookie: x=1.mp4", "\u202egnp.exe", "\u0641\u064a\u062f\u064a\u0648.mp4",
     "<img src=x onerror=alert(1)>.mp4", "../../etc/passwd", "%0d%0a.mp4", "x" * 255],
)  # fmt: skip
def test_row_27_a_name_is_data_in_every_header_and_answer(site, person, name):
    receipt = upload(site.device("evil"), name.encode(), name=name)

    answer = person.get(content(receipt))
    listed = person.get(LIST, params={"device": "evil", "q": receipt["name"][:100]})

    assert answer.status_code == 200
    told = answer.headers["Content-Disposition"]
    assert "set-cookie" not in answer.headers
    assert told.count('"') == 2
    assert told.isascii()
    assert listed.headers["Content-Type"] == "application/json"
    assert receipt["upload_id"] in {one["upload_id"] for one in listed.json()["recordings"]}


def test_what_was_moved_away_is_said_to_be(site, person):
    receipt = upload(site.device("cam"), b"moved", name="moved.mp4")
    published(site, receipt).rename(published(site, receipt).with_name("elsewhere.mp4"))

    for method in ("GET", "HEAD"):
        assert person.request(method, content(receipt)).status_code == 404
    assert "moved or deleted" in person.get(content(receipt)).json()["detail"]


@pytest.mark.parametrize("keeps", ["the time", "the length", "nothing"])
def test_row_34_other_bytes_in_its_place_are_not_given_out(site, person, keeps):
    receipt = upload(site.device("cam"), b"right" + keeps.encode(), name="replaced.mp4")
    path = published(site, receipt)
    times = path.stat()
    path.unlink()
    path.write_bytes(b"wrong" + (b"" if keeps == "nothing" else keeps.encode()))
    if keeps == "the time":
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    wait_until_served(person, content(receipt))

    answer = person.get(content(receipt))

    assert answer.status_code == 409
    assert b"wrong" not in answer.content
    assert "changed or replaced" in answer.json()["detail"]


def test_bytes_written_over_in_place_are_not_given_out(site, person):
    receipt = upload(site.device("cam"), b"right bytes", name="over.mp4")
    path = published(site, receipt)
    path.chmod(0o640)
    with path.open("r+b") as file:
        file.write(b"wrong")
    wait_until_served(person, content(receipt))

    assert person.get(content(receipt)).status_code == 409


def stand_in_a_socket(path):
    folder = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{path.name}")  # the whole path may be too long for one
    os.close(folder)


@pytest.mark.parametrize(
    "stand_in",
    [
        pytest.param(lambda path: path.symlink_to("/etc/passwd"), id="a link"),
        pytest.param(lambda path: path.symlink_to(path), id="a link to itself"),
        pytest.param(Path.mkdir, id="a folder"),
        pytest.param(os.mkfifo, id="a pipe"),
        pytest.param(stand_in_a_socket, id="a socket"),
    ],
)
def test_row_34_what_is_no_file_in_its_place_is_not_given_out(site, person, stand_in):
    receipt = upload(site.device("cam"), secrets.token_bytes(8), name="stood-for.mp4")
    path = published(site, receipt)
    path.unlink()
    stand_in(path)
    wait_until_served(person, content(receipt))

    for method in ("GET", "HEAD"):
        answer = person.request(method, content(receipt))
        assert answer.status_code == 409
        assert b"root:" not in answer.content
    assert "changed or replaced" in person.get(content(receipt)).json()["detail"]


def test_what_only_got_another_mode_or_name_is_read_and_given_again(site, person):
    receipt = upload(site.device("cam"), b"touched", name="touched.mp4")
    path = published(site, receipt)
    path.chmod(0o600)
    os.link(path, path.with_name("second.mp4"))
    wait_until_served(person, content(receipt))

    assert person.get(content(receipt)).content == b"touched"


@pytest.mark.parametrize("upload_id", ["0" * 32, "x", "..%2fx", "%2e%2e%2fstate.db", "0" * 33])
def test_what_is_no_recording_is_not_there(person, upload_id):
    for path in (f"{LIST}/{upload_id}", f"{LIST}/{upload_id}/content"):
        assert person.get(path).status_code == 404


def test_an_upload_that_is_not_whole_is_no_recording(site, person):
    device = site.device("cam")
    document = {"name": "open.mp4", "length": 5}
    upload_id = device.post(
        "/v1/uploads", json=document, headers={"Idempotency-Key": "k" * 22}
    ).json()["id"]

    assert person.get(f"{LIST}/{upload_id}/content").status_code == 404


@pytest.mark.parametrize(
    "query",
    ["device=../x", "cursor=x", "cursor=2026.zz", "limit=0", "limit=201", "limit=x", "from=yesterday", "to=1e9",
     "from=99999-01-01", "device=a&device=b", "q=" + "x" * 201],
)  # fmt: skip
def test_a_question_that_cannot_be_read_is_refused_in_words(person, query):
    answer = person.get(f"{LIST}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-request")
    assert answer.json()["detail"]


def test_pages_of_the_list_follow_each_other(site, person):
    for number in range(5):
        upload(site.device("many"), b"%d" % number, name=f"{number}.mp4")
    found, cursor = [], None
    for _ in range(3):
        params = {"device": "many", "limit": 2, **({} if cursor is None else {"cursor": cursor})}
        page = person.get(LIST, params=params).json()
        found += [one["name"] for one in page["recordings"]]
        cursor = page["next"]

    assert sorted(found) == [f"{number}.mp4" for number in range(5)]
    assert cursor is None
    assert (
        person.get(LIST, params={"device": "many", "from": "2999-01-01"}).json()["recordings"] == []
    )
    assert (
        len(person.get(LIST, params={"device": "many", "to": "2999-01-01"}).json()["recordings"])
        == 5
    )


def test_who_read_which_recording_is_in_the_audit_log(site, person, clip):
    before = len(site.audit())
    person.get(content(clip))
    person.get(content(clip), headers={"Range": "bytes=100-"})

    noted = [(one["actor"], one["action"], one["object"]) for one in site.audit()[before:]]
    assert noted == [("user ben", "recording.read", clip["upload_id"])]


def test_who_reads_all_but_the_first_byte_is_in_the_audit_log_once(site, person):
    receipt = upload(site.device("cam"), name="tail.mp4")
    before = len(site.audit())
    for _ in range(3):
        person.get(content(receipt), headers={"Range": "bytes=1-"})

    noted = [(one["actor"], one["action"], one["object"]) for one in site.audit()[before:]]
    assert noted == [("user ben", "recording.read", receipt["upload_id"])]


def test_names_of_headers_are_plain_and_whole():
    told = downloads.disposition("\u0641 \u00e9\n\u202e.mp4", is_played=True)

    assert told == "inline; filename=\"_ _.mp4\"; filename*=UTF-8''%D9%81%20%C3%A9.mp4"
    lone = downloads.disposition("\ud800.mp4", is_played=False)
    assert lone.endswith("filename*=UTF-8''%25ED%25A0%2580.mp4")
    assert downloads.disposition("-rf", is_played=False).endswith("filename*=UTF-8''_-rf")
    assert downloads.disposition("\u0641", is_played=False).startswith('attachment; filename="_"')
