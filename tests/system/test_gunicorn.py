"""The application on gunicorn: what its operator meets. The requests are in the wire suite."""

import signal
import socket
import struct
import subprocess
import sys

import httpx
import pytest

from demo.ports import LOOPBACK, free_port
from ingest_server.front.address import ListenAddress
from tests.contract.native.test_wire import created, put_head, wait_until_received
from tests.support.fronts import gunicorn
from tests.support.processes import wait_for
from tests.support.raw_http import Peer
from tests.support.secured import upload

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with gunicorn(tmp_path_factory.mktemp("gunicorn")) as found:
        yield found


def test_bytes_are_recorded_before_the_request_is_whole(site):
    with site.connect() as peer:
        upload_id = created(peer)
        lines = ("Content-Range: bytes 0-10/11", "Content-Length: 11")
        peer.send(put_head(upload_id, *lines) + b"hello")
        wait_until_received(site.connect, upload_id, [[0, 5]])
        peer.send(b" world")

        assert peer.answer().json["received"] == [[0, 11]]


def test_a_reset_keeps_what_was_read_until_then(site):
    with site.connect() as peer:
        upload_id = created(peer)
        lines = ("Content-Range: bytes 0-10/11", "Content-Length: 11")
        peer.send(put_head(upload_id, *lines) + b"hello")
        wait_until_received(site.connect, upload_id, [[0, 5]])
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    wait_until_received(site.connect, upload_id, [[0, 5]])


def test_a_body_and_the_request_behind_it_do_not_run_into_each_other(site):
    with site.connect() as peer:
        upload_id = created(peer)
        first = put_head(upload_id, "Content-Range: bytes 0-4/11", "Content-Length: 5")
        second = put_head(upload_id, "Content-Range: bytes 5-10/11", "Content-Length: 6")
        peer.send(first + b"hello" + second[:20])
        assert peer.answer().status == 200
        peer.send(second[20:] + b" world")

        assert peer.answer().json["received"] == [[0, 11]]


def test_a_body_in_chunks_that_stalls_is_ended_and_kept(site):
    with site.connect() as peer:
        upload_id = created(peer)
        peer.send(
            f"PATCH /files/{upload_id} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\n"
            "Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\n"
            "Transfer-Encoding: chunked\r\n\r\nb\r\nhello".encode()
        )
        answer = peer.answer()

    assert (answer.status, answer.json["code"]) == (408, "request-timeout")
    assert answer.headers["Upload-Offset"] == "5"


def command(config) -> list[str]:
    return [
        *(sys.executable, "-m", "gunicorn", "-k", "gthread", "-w", "1", "--threads", "4"),
        *("--bind", "127.0.0.1:0", "--no-control-socket"),
        f'ingest_server.wsgi:create_app("{config}")',
    ]


def test_a_wrong_configuration_is_one_sentence_and_no_endless_restart(tmp_path):
    config = tmp_path / "server.toml"
    config.write_text("[server]\nlisten_on = 3\n")

    ended = subprocess.run(command(config), capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode != 0
    assert f"ingest-server: {config}: there is no key [server] listen_on" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_folder_that_another_server_has_is_waited_for(tmp_path):
    with gunicorn(tmp_path) as first:
        (config,) = tmp_path.glob("*.toml")
        log = tmp_path / "second.log"
        with log.open("wb") as output, subprocess.Popen(command(config), stderr=output) as second:
            try:
                wait_for(lambda: "folder.held" in log.read_text(), "the second one waits")
                first.process.terminate()
                wait_for(lambda: "server.started" in log.read_text(), "the second one has it")
            finally:
                second.terminate()

    assert "Traceback" not in log.read_text()


def test_a_reload_goes_on_with_a_new_worker(tmp_path):
    with gunicorn(tmp_path) as site:
        with site.connect() as peer:
            upload_id = created(peer)
        site.process.send_signal(signal.SIGHUP)
        wait_for(lambda: site.log.read_text().count("server.started") == 2, "a new worker")

        wait_until_received(site.connect, upload_id, [])

        assert site.process.poll() is None


def test_the_private_listener_is_there_and_outlives_a_reload(tmp_path):
    private = ListenAddress(LOOPBACK, free_port())

    def asked(path):
        with Peer(private) as peer:
            peer.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            return peer.answer()

    with gunicorn(tmp_path, metrics={"listen": str(private)}) as site:
        with site.connect() as peer:
            created(peer)
        assert b"ingest_uploads_created_total 1.0" in asked("/metrics").body
        site.process.send_signal(signal.SIGHUP)
        wait_for(lambda: site.log.read_text().count("server.started") == 2, "a new worker")

        assert b"ingest_uploads_created_total 0.0" in asked("/metrics").body
        assert (asked("/readyz").status, asked("/readyz").body) == (200, b"ok\n")

    assert "Traceback" not in site.log.read_text()


def test_the_page_and_a_recording_are_given_as_by_our_own_container(site):
    data = bytes(range(256)) * 1200
    with httpx.Client(base_url=site.address.url, trust_env=False) as client:
        receipt = upload(client, data, name="clip.mp4", device="cam")
        path = f"/v1/fleet/recordings/{receipt['upload_id']}/content"

        assert client.get("/").headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert client.get("/v1/session").json()["mode"] == "open"
        assert client.get(path).content == data
        part = client.get(path, headers={"Range": "bytes=300000-300009"})
        assert (part.status_code, part.content) == (206, data[300000:300010])
        assert client.head(path).headers["Content-Length"] == str(len(data))
        for _ in range(20):  # whoever leaves in the middle gives the place back
            with client.stream("GET", path) as answer:
                next(answer.iter_bytes(1000))
        assert client.get(path).content == data
