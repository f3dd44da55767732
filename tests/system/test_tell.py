"""The small receiver that is handed out: a server's webhook becomes a note of ntfy and a mail."""

import http.server
import json
import socketserver
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from demo.ports import LOOPBACK, free_port, is_listening
from ingest_server.core import events
from ingest_server.notify.webhooks import signature
from tests.support.processes import Program, wait_for
from tests.support.secured import secured

TELL = Path(__file__).parents[2] / "deploy" / "notify" / "tell.py"
SECRET = b"a secret of more than 24 bytes"
FAILING = {"device": "drone-1", "failed": 2, "detail": "2 recordings failed"}


ANSWERS = {b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}


class Ntfy(http.server.BaseHTTPRequestHandler):
    """Takes notes as ntfy's root does; `statuses` are its first answers."""

    server: "Taker"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.set()
        self.server.may_answer.wait(20)
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == 200:
            self.server.taken.append({"path": self.path, **body})
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Smtp(socketserver.StreamRequestHandler):
    """Takes mail as RFC 5321 has it, as far as a plain sender needs it."""

    server: "Taker"

    def handle(self) -> None:
        self.wfile.write(b"220 mail\r\n")
        for line in self.rfile:
            word = line[:4].upper()
            self.wfile.write(ANSWERS.get(word, b"250 mail\r\n"))
            if word == b"DATA":
                text = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.taken.append(message_from_bytes(text, policy=default))
                self.wfile.write(b"250 taken\r\n")


class Taker(socketserver.ThreadingTCPServer):
    def __init__(self, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__((LOOPBACK, 0), handler)
        self.taken: list[Any] = []
        self.statuses: list[int] = []
        self.asked, self.may_answer = threading.Event(), threading.Event()
        self.may_answer.set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


@pytest.fixture
def ntfy():
    with Taker(Ntfy) as made:
        yield made


@pytest.fixture
def mail():
    with Taker(Smtp) as made:
        yield made


@pytest.fixture
def url(tmp_path, ntfy, mail):
    secret, port = tmp_path / "webhook.secret", free_port()
    secret.write_bytes(SECRET)
    told = ["--ntfy", f"http://{LOOPBACK}:{ntfy.server_address[1]}/drones"]
    told += ["--smtp", f"{LOOPBACK}:{mail.server_address[1]}", "--from", "edge@example.org"]
    told += ["--to", "ops@example.org"]
    command = [sys.executable, TELL, "--port", str(port), "--secret-file", secret, *told]
    program = Program("tell", tmp_path, command)
    try:
        program.start()
        wait_for(lambda: is_listening(port), "it listens")
        yield f"http://{LOOPBACK}:{port}/"
    finally:
        program.close()


def post(url: str, document: dict[str, Any], *, age_s: int = 0, secret: bytes = SECRET) -> int:
    body, at = json.dumps(document).encode(), int(time.time()) - age_s
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(at),
        "webhook-signature": signature(secret, "evt_1", at, body),
    }
    return httpx.post(url, content=body, headers=headers, timeout=30).status_code


def event(**data: str) -> dict[str, Any]:
    return {"type": "ingest.device.failing", "subject": "drone-1", "data": data}


@pytest.mark.slow
def test_what_a_server_tells_of_a_device_is_a_note_and_a_mail(tmp_path, url, ntfy, mail):
    webhook = f'[[webhook]]\nurl = "{url}"\nallow_private = true\n'
    webhook += (
        f'secret_file = "{tmp_path / "webhook.secret"}"\nevents = ["ingest.device.failing"]\n'
    )
    with secured(tmp_path / "server", more=webhook) as site:
        site.server.parts.state.run(
            lambda state: state.tell_of_device(events.DEVICE_FAILING, "drone-1", FAILING)
        )
        wait_for(lambda: ntfy.taken and mail.taken, "both were told")

    title, text = "drone-1: device failing", "2 recordings failed"
    assert ntfy.taken == [{"path": "/", "topic": "drones", "title": title, "message": text}]
    [letter] = mail.taken
    assert (letter["Subject"], letter["From"]) == (title, "edge@example.org")
    assert letter["To"] == "ops@example.org"
    assert letter.get_content().strip() == text


def test_who_was_told_is_not_told_again_when_the_other_way_failed(url, ntfy, mail):
    ntfy.statuses = [500]

    assert post(url, event(detail="a")) == 503
    assert post(url, event(detail="a")) == 204
    assert post(url, event(detail="a")) == 204

    assert (len(ntfy.taken), len(mail.taken)) == (1, 1)


def test_what_comes_again_while_it_is_told_is_told_once(url, ntfy):
    ntfy.may_answer.clear()
    with ThreadPoolExecutor(2) as servers:
        first = servers.submit(post, url, event(detail="a"))
        assert ntfy.asked.wait(20)
        again = servers.submit(post, url, event(detail="a"))
        assert httpx.post(url, content=b"{}", timeout=30).status_code == 401, "others do not wait"
        ntfy.may_answer.set()

        assert (first.result(), again.result()) == (204, 204)
    assert len(ntfy.taken) == 1


def test_what_nobody_signed_or_what_is_old_is_not_told(url, ntfy, mail):
    assert post(url, event(detail="a"), secret=b"another secret of 24 bytes") == 401
    assert post(url, event(detail="a"), age_s=3600) == 401
    assert httpx.post(url, content=b"{}", timeout=30).status_code == 401

    assert (ntfy.taken, mail.taken) == ([], [])


def test_a_name_of_a_file_adds_no_line_to_a_mail(url, mail):
    document = event(name="a\r\nBcc: all@example.org\r\n\r\nb.mp4")
    document["subject"] = "drone\nX: y"

    assert post(url, document) == 204

    [letter] = mail.taken
    assert letter.keys() == [
        "Subject",
        "From",
        "To",
        "Content-Type",
        "Content-Transfer-Encoding",
        "MIME-Version",
    ]
    assert letter.get_content().strip() == "a  Bcc: all@example.org    b.mp4"
