"""The application for somebody else's container: made, asked, and given gunicorn's own bodies."""

import atexit
import socket
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from ingest_server import wsgi
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.wsgi import APP_LOAD_ERROR, arriving, create_app
from tests.support.in_process import as_it_was, server_config
from tests.support.plain import wsgi_client


@pytest.fixture
def ended(monkeypatch):
    """What was to be done at the end of the process, done at the end of the test."""
    kept: list[Any] = []
    monkeypatch.setattr(atexit, "register", kept.append)
    with as_it_was():
        yield kept
    for end in kept:
        end()


def test_the_application_is_made_from_a_file_and_closed_at_the_end(tmp_path, ended):
    app = create_app(str(server_config(tmp_path)))

    with wsgi_client(app) as http:
        found = http.get("/v1?nonce=n").json()

    assert (found["protocols"], found["nonce"], found["device"]) == ([1], "n", None)
    [end] = ended
    end()
    FileBlobs(tmp_path / "data").close()


@pytest.mark.parametrize("text", ["[server", '[server]\nlisten = "nowhere"\n'])
def test_a_configuration_that_cannot_be_is_a_sentence_and_no_endless_restart(
    tmp_path, ended, capsys, text
):
    path = tmp_path / "server.toml"
    path.write_text(text)

    with pytest.raises(SystemExit) as caught:
        create_app(str(path))

    assert caught.value.code == APP_LOAD_ERROR == 4
    assert capsys.readouterr().err.startswith("ingest-server: ")
    assert ended == []


@pytest.mark.slow
def test_a_folder_that_another_process_keeps_is_waited_for_and_then_asked_for_by_a_new_worker(
    tmp_path, ended, capsys, monkeypatch
):
    monkeypatch.setattr(wsgi, "FOLDER_WAIT_S", 0.3)
    config = server_config(tmp_path)
    create_app(str(config))

    with pytest.raises(SystemExit) as caught:
        create_app(str(config))

    assert caught.value.code == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("ingest-server: ")


@pytest.fixture
def peer():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def request(theirs: socket.socket):
    """Return a request as gunicorn reads it, and the environment that its worker makes of it."""
    found = next(RequestParser(Config(), theirs, ("127.0.0.1", 1)))
    return found, {"gunicorn.socket": theirs, "wsgi.input": found.body}


def body_of(environ, sizes):
    """Return what an application reads, a piece for each of *sizes*; how it failed is the last."""
    pieces = []

    def app(environ, _start):
        for size in sizes:
            try:
                pieces.append(environ["wsgi.input"].read(size))
            except Exception as error:  # noqa: BLE001 - what it is, is what the test asks
                pieces.append(type(error).__name__)
        return []

    arriving(app, lambda: 0.2)(environ, None)
    return pieces


def test_a_body_comes_as_it_arrives_and_no_further_than_its_length(peer):
    ours, theirs = peer
    ours.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
    found, environ = request(theirs)

    first = body_of(environ, [100])
    ours.sendall(b"defGET / HTTP/1.1\r\n")
    rest = body_of(environ, [2, 100, 100])

    assert first == [b"abc"]
    assert rest == [b"de", b"f", b""]
    assert found.unreader.read(3) == b"GET", "the next request is left whole"


def test_a_body_that_stalls_ends_after_the_timeout_and_its_connection_with_it(peer):
    ours, theirs = peer
    ours.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
    found, environ = request(theirs)

    assert body_of(environ, [100, 100]) == [b"abc", "TimeoutError"]
    assert found.body.failed


def test_a_body_in_chunks_comes_chunk_by_chunk_and_ends_once(peer):
    ours, theirs = peer
    ours.sendall(
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    _, environ = request(theirs)

    assert body_of(environ, [2, 100, 100, 100, 100]) == [b"ab", b"c", b"de", b"", b""]


def test_a_body_in_chunks_that_broke_does_not_look_as_if_it_had_ended(peer):
    ours, theirs = peer
    ours.sendall(
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n9\r\nd"
    )
    _, environ = request(theirs)

    pieces = body_of(environ, [100, 100, 100, 100])

    assert pieces[0] == b"abc"
    assert b"" not in pieces
    assert pieces[-1] in {"TimeoutError", "BodyTruncatedError"}


def test_another_containers_request_is_left_as_it_is():
    environ = {"wsgi.input": object()}
    seen: list[Any] = []

    def application(given, _start):
        seen.append(given["wsgi.input"])
        return []

    arriving(application, lambda: 1.0)(environ, None)

    assert seen == [environ["wsgi.input"]]
