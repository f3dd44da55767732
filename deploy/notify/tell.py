#!/usr/bin/env python3
"""Takes webhooks of ingest-server and tells people: by ntfy, by mail. Python 3.11, nothing else.

    tell.py --secret-file webhook.secret --ntfy https://ntfy.example.org/drones
    tell.py --secret-file webhook.secret --smtp mail.example.org:25 --from edge@example.org --to ops@example.org

An answer of 204 means that it was told; at anything else the server comes again, for about a day
(docs/webhooks.md). What came twice is told once.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import http.client
import http.server
import json
import smtplib
import sys
import threading
import time
import urllib.request
from collections import OrderedDict
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MOST_BYTES = 1 << 20
OLD_S = 300
"""A request that is older was recorded by somebody and is played again."""
TIMEOUT_S = 5
"""For each answer of ntfy or the mail server. The webhook's server gives up after 15 s and comes again."""
REMEMBERED = 10_000

Tell = Callable[[str, str], None]
"""Given a title and a text; raises OSError."""


def is_signed(secrets: list[bytes], headers: Any, body: bytes, now_s: float) -> bool:
    """Whether one of *secrets* signed this, lately (Standard Webhooks)."""
    stamp = headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit()) or abs(now_s - int(stamp[:12])) > OLD_S:
        return False
    signed = f"{headers.get('webhook-id', '')}.{stamp}.".encode() + body
    given = headers.get("webhook-signature", "").split()
    for secret in secrets:
        right = "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
        if any(hmac.compare_digest(right.encode(), one.encode()) for one in given):
            return True
    return False


def read_secrets(path: Path) -> list[bytes]:
    """Return the secrets of the file that the server has, too."""
    lines = filter(None, map(str.strip, path.read_text("utf-8").splitlines()))
    return [
        base64.b64decode(line[6:]) if line.startswith("whsec_") else line.encode() for line in lines
    ]


def sentence(event: dict[str, Any]) -> tuple[str, str]:
    """Return a title and a text for a person. Names of files are data: nothing in them ends a line."""
    data = event.get("data") or {}
    what = str(event.get("type", "")).removeprefix("ingest.").replace(".", " ")
    who = event.get("deviceid") or event.get("subject") or ""
    named = " ".join(str(data[key]) for key in ("path", "name", "code") if data.get(key))
    text = data.get("detail") or named
    return _plain(f"{who}: {what}"), _plain(f"{text or what}")


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text)[:500]


def by_ntfy(url: str, token: str | None) -> Tell:
    """Return what tells a topic of ntfy."""
    where = urlsplit(url)
    topic = where.path.strip("/")
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"

    def tell(title: str, text: str) -> None:
        body = json.dumps({"topic": topic, "title": title, "message": text}).encode()
        root = f"{where.scheme}://{where.netloc}/"
        request = urllib.request.Request(root, body, headers)  # noqa: S310 # the owner's own
        urllib.request.urlopen(request, timeout=TIMEOUT_S).close()  # noqa: S310

    return tell


def by_mail(server: str, sender: str, to: list[str]) -> Tell:
    """Return what sends a mail; over TLS where the server offers it."""
    host, _, port = server.partition(":")

    def tell(title: str, text: str) -> None:
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = title, sender, ", ".join(to)
        message.set_content(text)
        with smtplib.SMTP(host, int(port or 25), timeout=TIMEOUT_S) as smtp:
            smtp.ehlo_or_helo_if_needed()
            if smtp.has_extn("starttls"):
                smtp.starttls()
            smtp.send_message(message)

    return tell


class Receiver(http.server.ThreadingHTTPServer):
    """Tells one event after the other: what comes again while it is still told waits, and is not told twice."""

    def __init__(self, port: int, secret_file: Path, ways: dict[str, Tell]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.secret_file = secret_file
        self.ways = ways
        self.telling = threading.Lock()
        self.told: OrderedDict[tuple[str, str], None] = OrderedDict()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver
    timeout = 30

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdigit()) or int(length) > MOST_BYTES:
            self._answer(413)
            return
        body = self.rfile.read(int(length))
        if not is_signed(read_secrets(self.server.secret_file), self.headers, body, time.time()):  # noqa: TID251 # stands alone
            self._answer(401)
            return
        with self.server.telling:
            is_told = self._tell(self.headers["webhook-id"], json.loads(body))
        self._answer(204 if is_told else 503)

    def _tell(self, event_id: str, event: dict[str, Any]) -> bool:
        told, failed = self.server.told, 0
        for name, tell in self.server.ways.items():
            if (event_id, name) in told:
                continue
            try:
                tell(*sentence(event))
            except (OSError, http.client.HTTPException) as error:
                failed += 1
                line = f"{name}: {error}; the server comes again"
                print(line, file=sys.stderr, flush=True)  # noqa: T201
            else:
                told[event_id, name] = None
                while len(told) > REMEMBERED:
                    told.popitem(last=False)
        return not failed

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Tells people what ingest-server tells by webhook."
    )
    parser.add_argument("--port", type=int, default=8090, help="of this machine (8090)")
    parser.add_argument("--secret-file", type=Path, required=True, help="the one of [[webhook]]")
    parser.add_argument("--ntfy", metavar="URL", help="of a topic")
    parser.add_argument("--ntfy-token-file", type=Path, help="where the topic wants one")
    parser.add_argument("--smtp", metavar="HOST:PORT")
    parser.add_argument("--from", dest="sender", metavar="ADDRESS")
    parser.add_argument("--to", nargs="+", metavar="ADDRESS")
    options = parser.parse_args()
    ways: dict[str, Tell] = {}
    if options.ntfy:
        token = options.ntfy_token_file
        ways["ntfy"] = by_ntfy(options.ntfy, None if token is None else token.read_text().strip())
    if options.smtp:
        if not (options.sender and options.to):
            parser.error("--smtp needs --from and --to")
        ways["mail"] = by_mail(options.smtp, options.sender, options.to)
    if not ways:
        parser.error("nobody would be told: --ntfy, --smtp, or both")
    Receiver(options.port, options.secret_file, ways).serve_forever()


if __name__ == "__main__":
    main()
