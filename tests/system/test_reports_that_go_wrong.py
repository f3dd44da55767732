"""Recordings arrive whatever becomes of the reports beside them: no upload waits for one (law L6)."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from demo.ports import LOOPBACK
from tests.support.processes import Agent, Server, wait_for
from tests.support.recordings import sha256

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HEAD_BYTES = 64 * 1024
GIB = 1 << 30
JSON = b"Content-Type: application/json\r\n"


def answered(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, JSON, len(body), body)


ANSWERS = {
    "nothing": None,
    "500": answered(b"500 Internal Server Error", b"oops"),
    "413": answered(b"413 Content Too Large", b"<html>too large</html>"),
    "404": answered(b"404 Not Found", b""),
    "garbage": b"\x00\xff no http at all" * 1000,
    "another document": answered(b"200 OK", b'{"commands": "all of them", "now": 7}'),
    "a gigabyte": b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n" % (JSON, GIB),
}


class Spoiled:
    """Passes all that goes to a server, but for reports, which it answers itself."""

    def __init__(self, server_port: int, answer: bytes | None, *, is_endless: bool) -> None:
        self._server = (LOOPBACK, server_port)
        self._answer = answer
        self._is_endless = is_endless
        self._listener = socket.create_server((LOOPBACK, 0), backlog=64)
        self.url = f"http://{LOOPBACK}:{self._listener.getsockname()[1]}"
        self.reports = 0
        self.passed = 0
        """Bytes of answers to reports that the agent has taken."""
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            begin = client.recv(HEAD_BYTES)
            if begin.startswith(b"POST /v1/report"):
                self.reports += 1
                self._spoil(client)
                return
            upstream = socket.create_connection(self._server)
            self._open.append(upstream)
            upstream.sendall(begin)
            threading.Thread(target=_pass, args=(upstream, client), daemon=True).start()
            _pass(client, upstream)

    def _spoil(self, client: socket.socket) -> None:
        if self._answer is None:
            while client.recv(HEAD_BYTES):
                pass
            return
        client.sendall(self._answer)
        while self._is_endless:
            self.passed += client.send(b" " * HEAD_BYTES)
        client.close()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(HEAD_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("server"))
    one.start()
    yield one
    one.close()


OFTEN = ("nothing", "a gigabyte")
"""Of the two that could hold an agent up; the others each night."""


@pytest.mark.parametrize(
    "how",
    [one if one in OFTEN else pytest.param(one, marks=pytest.mark.nightly) for one in ANSWERS],
)
def test_recordings_arrive_though_each_report_is_answered_with(how, server, tmp_path):
    link = Spoiled(server.port, ANSWERS[how], is_endless=how == "a gigabyte")
    name = how.replace(" ", "-")
    token = server.new_token()
    agent = Agent(tmp_path, url=link.url, token=token, reports={"interval_seconds": 5.0})
    try:
        agent.start()
        wait_for(lambda: link.reports, "it reports")
        (agent.media / f"{name}-1.mp4").write_bytes(name.encode() * 400_000)
        wait_for(lambda: f"{name}-1.mp4" in published(server), "it arrives while a report runs")
        (agent.media / f"{name}-2.mp4").write_bytes(name.encode() * 400_000)
        wait_for(lambda: f"{name}-2.mp4" in published(server), "the next one arrives, too")
        (recording,) = agent.media.glob(f"{name}-2.mp4")
        assert published(server)[recording.name] == sha256(recording)
        assert agent.state()["blocked_by"] is None
        assert link.passed < 4 << 20, "it took a gigabyte for an answer to a report"
        assert agent.stop() == 0
    finally:
        agent.close()
        link.close()


def published(server: Server) -> dict[str, str]:
    return {one.name: sha256(one) for one in server.published_files()}
