"""SIGKILL between the last byte and its verification, and nobody who ever asks again."""

import http.client
import sys
from contextlib import suppress

import pytest

from demo.ports import LOOPBACK
from tests.support.processes import Server, wait_for
from tests.support.recordings import MB, make_large_recording, sha256

pytestmark = pytest.mark.slow

DIES_THERE = """
import os, signal, sys
from ingest_server.cli import main
from ingest_server.uploads.service import UploadService

UploadService.complete = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(main())
"""


def post(server: Server, token: str, data: bytes, headers: dict[str, str]) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, server.port, timeout=20.0)
    with suppress(OSError, http.client.HTTPException):  # the server dies before it answers
        connection.request("POST", "/files/", data, {"Authorization": f"Bearer {token}", **headers})
        connection.getresponse()
        pytest.fail("the server has answered")
    connection.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"},
        {"Upload-Complete": "?1"},
    ],
    ids=["tus", "ietf"],
)
def test_L3_a_server_killed_behind_the_last_byte_publishes_when_it_starts(tmp_path, headers):
    server = Server(tmp_path / "server")
    data = make_large_recording(tmp_path / "clip.mp4", length=20 * MB).read_bytes()
    token = server.new_token()
    program = server.command
    server.command = [sys.executable, "-c", DIES_THERE, *program[3:]]
    server.start()
    length = {"Upload-Length": str(len(data))} if "Tus-Resumable" in headers else {}

    post(server, token, data, {**headers, **length})
    wait_for(lambda: server.child.ended() is not None, "the server is dead")
    assert server.published_files() == []
    server.command = program
    server.start()

    try:
        wait_for(server.published_files, "the file is published")
        (file,) = server.published_files()
        assert sha256(file) == sha256(tmp_path / "clip.mp4")
    finally:
        server.close()
