"""A whole server in this process, as its configuration makes it, on a port of the kernel's choice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from edge_host.clock import SystemClock
from ingest_server.auth.authentication import SCOPE_UPLOAD
from ingest_server.auth.tokens import issue
from ingest_server.config import load
from ingest_server.front.address import parse_address
from ingest_server.server import IngestServer
from ingest_server.storage.sqlite.transactions import SqliteState
from tests.support.core_site import new_key
from tests.support.in_process import FEW_THREADS
from tests.support.plain import plain_client
from tests.support.processes import toml
from tests.support.raw_http import Peer
from upload_protocol.digests import Digest

DATA = bytes(range(256)) * 16
CRLF = "a\r\nSet-Cookie: x=1\r\n\r\n.mp4"
"""A name that would end its header, if it ever came into one."""


class Secured:
    """The server, and short words for what tests do with it."""

    def __init__(self, server: IngestServer, folder: Path, stack: ExitStack) -> None:
        self.server = server
        self.folder = folder
        assert isinstance(server.parts.state, SqliteState)
        self.state = server.parts.state
        self._stack = stack

    def token(self, device: str = "drone-1", *scopes: str, expires_at: str | None = None) -> str:
        scopes = scopes or (SCOPE_UPLOAD,)
        issued = issue(device, SystemClock().now_utc(), scopes=scopes, expires_at=expires_at)
        self.state.access.add_token(issued.record)
        return issued.token

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self._stack.enter_context(
            plain_client(self.server.url, headers=headers, trust_env=False, timeout=20)
        )

    def device(self, device: str = "drone-1") -> httpx.Client:
        return self.client(self.token(device))

    def audit(self) -> list[dict[str, Any]]:
        path = self.folder / "audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def published(self) -> dict[str, bytes]:
        root = self.folder / "data" / "published"
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }


def create(client: httpx.Client, *, key: str | None = None, **members: Any) -> httpx.Response:
    document = {"name": "clip.mp4", "length": len(DATA), **members}
    return client.post("/v1/uploads", json=document, headers={"Idempotency-Key": key or new_key()})


def put(
    client: httpx.Client, upload_id: str, data: bytes = DATA, start: int = 0, **headers: str
) -> httpx.Response:
    where = f"bytes {start}-{start + len(data) - 1}/*"
    return client.put(
        f"/v1/uploads/{upload_id}/content",
        content=data,
        headers={"Content-Range": where, **headers},
    )


def complete(client: httpx.Client, upload_id: str, data: bytes = DATA) -> httpx.Response:
    """Ask to complete, as often as the server asks for that: a busy machine verifies for longer than one request."""
    document = {"length": len(data), "digest": str(Digest.of(data))}
    give_up_s = time.monotonic() + 60
    while True:
        answer = client.post(f"/v1/uploads/{upload_id}/complete", json=document)
        if answer.status_code != 202 or time.monotonic() > give_up_s:
            return answer
        time.sleep(0.1)


def upload(client: httpx.Client, data: bytes = DATA, **members: Any) -> dict[str, Any]:
    """Bring one file through; returns its receipt."""
    upload_id = create(client, **{"length": len(data), **members}).json()["id"]
    assert put(client, upload_id, data).status_code == 200
    answer = complete(client, upload_id, data)
    assert answer.status_code == 200, answer.text
    return answer.json()


@contextmanager
def secured(folder: Path, *, more: str = "", **tables: Any) -> Iterator[Secured]:
    """Run it; *more* is TOML that no table can say."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "server.toml"
    tables = {
        **tables,
        "server": {
            "listen": "127.0.0.1:0",
            "data_dir": "data",
            "stop_timeout_s": 2.0,
            "threads": FEW_THREADS,
            **tables.get("server", {}),
        },
        "limits": {"min_free": 0, "max_length": "1GiB"} | tables.get("limits", {}),
        "log": {"audit_file": "audit.jsonl"} | tables.get("log", {}),
    }
    path.write_text(toml(tables) + more)
    server = IngestServer(load(path, environ={}))
    server.parts.http.expiration_interval = 0.05  # how soon it sees who is late
    server.start()
    try:
        with ExitStack() as stack:
            yield Secured(server, folder, stack)
    finally:
        server.stop()


def peer(site: Secured) -> Peer:
    """Return a bare connection to *site*."""
    return Peer(parse_address(site.server.url.removeprefix("http://")))
