"""Forms as no good client sends them: refused with a reason, never a 500, never a lost byte."""

import http.client

import pytest

from tests.support.compat_site import DIALECTS, compat_site, form_of, md5, recording

DATA = recording(200_000)
FORM = {"Content-Type": "multipart/form-data; boundary=bb"}
RANGE = {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"}
CHUNKS = {
    "frago": ("PUT", "/compat/frago/upload/{id}/"),
    "drf": ("PUT", "/compat/drf/upload/"),
    "django": ("POST", "/compat/django/upload/"),
    "django-init": ("POST", "/compat/django-init/upload/"),
    "turbo": ("POST", "/compat/turbo/upload/{id}"),
}
HEAD = b'--bb\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


def place(site, dialect):
    """Return method and path of a chunk, of an upload that has been started where there is one."""
    method, path = CHUNKS[dialect]
    started = {}
    if dialect == "frago":
        members = {"filename": "a.mp4", "total_size": len(DATA)}
        started = site.client.post("/compat/frago/upload/", data=members).json()
    if dialect == "turbo":
        started = site.client.post("/compat/turbo/upload/", data={"filename": "a.mp4"}).json()
    return method, path.format(id=started.get("upload_id") or started.get("id"))


FORMS = {
    "nothing": b"",
    "no boundary in it": b"x" * 1000,
    "a boundary and no more": b"--bb",
    "the last boundary only": b"--bb--\r\n",
    "headers without end": b"--bb\r\n" + b"A: b\r\n" * 5000,
    "a file without an end": HEAD + DATA[:1000],
    "a file without a name": b"--bb\r\nContent-Disposition: form-data\r\n\r\nx\r\n--bb--\r\n",
    "a name that is not UTF-8": HEAD.replace(b'"a"', b'"\xff\xfe"') + b"x\r\n--bb--\r\n",
    "a field that is a file": form_of("bb", ("filename", None, b"x" * 100_000)),
    "a hundred fields": form_of("bb", *[(f"f{n}", None, b"x") for n in range(100)]),
    "a transfer encoding": HEAD[:-2]
    + b"Content-Transfer-Encoding: base64\r\n\r\neA==\r\n--bb--\r\n",
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_a_form_that_is_none_is_refused(wsgi, dialect, content):
    method, path = place(wsgi, dialect)

    answer = wsgi.client.request(method, path, content=content, headers=FORM | RANGE)

    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert wsgi.published() == {}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=" + "b" * 71, "text/plain", "video/mp4"],
)
def test_a_body_that_is_no_form_is_refused(wsgi, dialect, content_type):
    method, path = place(wsgi, dialect)

    answer = wsgi.client.request(
        method, path, content=DATA, headers={"Content-Type": content_type} | RANGE
    )

    assert answer.status_code in {400, 415}, answer.text


@pytest.mark.parametrize("body", [b"[]", b"7", b"{", b'{"a": {}}', b'{"a": [1]}', b"\xff"])
@pytest.mark.parametrize("path", ["/compat/frago/upload/", "/compat/django-init/upload/init/"])
def test_json_that_is_no_form_is_refused(wsgi, path, body):
    answer = wsgi.client.post(path, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    "name", ["a\x00b.mp4", "\u202e.mp4", "x" * 300 + ".mp4", "ä ö.mp4", "%2e%2e.mp4"]
)
def test_hostile_names_come_back_as_they_were_sent(wsgi, name):
    members = {"filename": name, "total_size": len(DATA)}
    started = wsgi.client.post("/compat/frago/upload/", json=members).json()
    url = f"/compat/frago/upload/{started['upload_id']}/"
    wsgi.client.put(url, headers=RANGE, files={"file": DATA})
    done = wsgi.client.post(url, json={"checksum": md5(DATA)})

    assert done.status_code == 201
    assert wsgi.client.get(url).json()["filename"] == name
    assert wsgi.only_published() == DATA


@pytest.mark.parametrize("pieces", [1, 7, 1000, 65_536])
def test_a_form_that_arrives_in_pieces_is_the_same_form(tmp_path, pieces):
    length = 2000 if pieces < 10 else len(DATA)  # each piece is a write, a read and a look
    body = form_of("bb", ("filename", None, b"a.mp4"), ("file", "a", DATA[:length]))

    def generate():
        for at in range(0, len(body), pieces):
            yield body[at : at + pieces]

    with compat_site(tmp_path, "own container") as site:
        headers = FORM | {
            "Content-Range": f"bytes 0-{length - 1}/{length}",
            "Content-Length": str(len(body)),
        }
        answer = site.client.put("/compat/drf/upload/", content=generate(), headers=headers)
        done = site.client.post(answer.json()["url"], data={"md5": md5(DATA[:length])})

        assert done.status_code == 200
        assert site.only_published() == DATA[:length]


def test_a_client_that_sends_all_before_it_reads_hears_the_refusal(tmp_path):
    body = form_of("bb", ("file", "a", b"x" * 20_000_000))
    with compat_site(tmp_path, "own container") as site:
        connection = http.client.HTTPConnection(site.address.host, site.address.port, timeout=20)
        for path in ("/compat/frago/upload/" + "0" * 32, "/compat/drf/upload/" + "0" * 32):
            connection.request("PUT", path, body, FORM | {"Content-Range": "bytes 5-9/20"})

            answer = connection.getresponse()

            assert answer.status in {400, 404}
            answer.read()
        connection.close()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_chunked_body_is_refused(tmp_path, dialect):
    with compat_site(tmp_path, "own container") as site:
        method, path = place(site, dialect)

        answer = site.client.request(
            method, path, content=iter([form_of("bb", ("file", "a", DATA))]), headers=FORM | RANGE
        )

        assert answer.status_code == 411
