"""What one token can ask of a server at once: ``python -m benchmarks.fairness_load KIND PORT TOKEN``.

Pinned to one processor, it asks until it is stopped, over many connections. Each kind is the costliest
request of its sort, for the server.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.machine import KIB
from demo.ports import LOOPBACK
from upload_protocol.digests import Digest

CONNECTIONS = 64
MIB = KIB * KIB
LARGE = 32 * MIB
LARGE_UPLOADS = 8
LATE_S = 0.005
"""Behind the headers: what the server does not wait for before the request takes a thread."""


class Asker:
    """One connection with a token."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection(LOOPBACK, port, timeout=120)
        self._head = {"Authorization": f"Bearer {token}"}

    def ask(
        self, method: str, path: str, body: bytes | None = None, **fields: str
    ) -> tuple[int, bytes]:
        """Send one request; the connection is made anew where it has ended."""
        head = self._head | {name.replace("_", "-"): value for name, value in fields.items()}
        self._connection.request(method, path, body, head)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()

    def say(self, path: str, document: dict[str, Any], **fields: str) -> tuple[int, dict[str, Any]]:
        body = json.dumps(document).encode()
        status, answer = self.ask("POST", path, body, Content_Type="application/json", **fields)
        return status, json.loads(answer)

    def create(self, length: int, name: str = "clip.mp4") -> str:
        key = secrets.token_hex(16)
        status, found = self.say(
            "/v1/uploads", {"name": name, "length": length}, Idempotency_Key=key
        )
        if status != http.client.CREATED:
            raise RuntimeError(f"refused: {found}")
        return str(found["id"])

    def put(self, upload: str, start: int, data: bytes, *, late_s: float = 0.0) -> int:
        where = f"bytes {start}-{start + len(data) - 1}/*"
        path = f"/v1/uploads/{upload}/content"
        if not late_s:
            return self.ask("PUT", path, data, Content_Range=where)[0]
        head = self._head | {"Content-Range": where, "Content-Length": str(len(data))}
        self._connection.request("PUT", path, headers=head)
        time.sleep(late_s)
        self._connection.send(data)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def complete(self, upload: str, data: bytes) -> int:
        digest = json.dumps({"length": len(data), "digest": str(Digest.of(data))}).encode()
        path = f"/v1/uploads/{upload}/complete"
        return self.ask("POST", path, digest, Content_Type="application/json")[0]


def _blocks(asker: Asker, large: list[str], number: int) -> Iterator[None]:
    while True:
        asker.ask("GET", f"/v1/uploads/{large[number % len(large)]}/blocks?size={LARGE}")
        yield


def _mismatches(asker: Asker, large: list[str], number: int) -> Iterator[None]:
    wrong = json.dumps({"length": LARGE, "digest": str(Digest.of(b"other"))}).encode()
    path = f"/v1/uploads/{large[number % len(large)]}/complete"
    while True:
        asker.ask("POST", path, wrong, Content_Type="application/json")
        yield


def _lists(asker: Asker, _large: list[str], _number: int) -> Iterator[None]:
    while True:
        asker.ask("GET", "/v1/uploads?limit=1000")
        yield


def _statuses(asker: Asker, large: list[str], number: int) -> Iterator[None]:
    while True:
        asker.ask("GET", f"/v1/uploads/{large[number % len(large)]}")
        yield


def _bytes(asker: Asker, _large: list[str], _number: int) -> Iterator[None]:
    upload = asker.create(LARGE)
    for at in range(LARGE):
        asker.put(upload, at, b"x")
        yield


def _late_bytes(asker: Asker, _large: list[str], _number: int) -> Iterator[None]:
    upload = asker.create(LARGE)
    for at in range(LARGE):
        asker.put(upload, at, b"x", late_s=LATE_S)
        yield


def _pieces(asker: Asker, _large: list[str], _number: int) -> Iterator[None]:
    upload, piece = asker.create(1024 * LARGE), bytes(64 * KIB)
    for at in range(16 * LARGE // KIB):
        asker.put(upload, at * len(piece), piece)
        yield


def _pairs(asker: Asker, _large: list[str], _number: int) -> Iterator[None]:
    while True:
        asker.ask("DELETE", f"/v1/uploads/{asker.create(5)}")
        yield


KINDS: dict[str, Callable[[Asker, list[str], int], Iterator[None]]] = {
    "digests of blocks": _blocks,
    "completing with a wrong digest": _mismatches,
    "lists of uploads in many pieces": _lists,
    "statuses": _statuses,
    "creating and aborting": _pairs,
    "requests of one byte": _bytes,
    "requests of one byte that comes later": _late_bytes,
    "requests of 64 KiB": _pieces,
}


def main() -> None:
    kind, port, token = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    maker = Asker(port, token)
    large = [maker.create(LARGE) for _ in range(LARGE_UPLOADS)]
    for upload in large:
        maker.put(upload, 0, bytes(LARGE))
    done = [0] * CONNECTIONS

    def ask(number: int) -> None:
        asker = Asker(port, token)
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException, RuntimeError):
                for _ in KINDS[kind](asker, large, number):
                    done[number] += 1
            asker.close()

    for number in range(CONNECTIONS):
        threading.Thread(target=ask, args=(number,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()  # until it is told to end
    print(sum(done), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
