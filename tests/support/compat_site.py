"""A server that speaks the protocols of other upload servers, behind a socket or plain WSGI."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ingest_server.protocols.compat.dialect import CompatSettings
from tests.support.ingest import Ingest, ingest
from tests.support.plain import plain_client, wsgi_client
from tests.support.raw_http import serving

DIALECTS = ("frago", "drf", "django", "django-init", "turbo")
KINDS = ("own container", "plain WSGI")


@dataclass
class CompatSite:
    server: Ingest
    client: httpx.Client
    address: Any = None

    def published(self) -> dict[str, bytes]:
        assert self.server.data_dir is not None
        root = self.server.data_dir / "published"
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    def only_published(self) -> bytes:
        (content,) = self.published().values()
        return content

    def recorded_digests(self) -> list[str]:
        """Return the SHA-256 of each receipt."""
        found = self.server.receiver.listing.page(None, state="complete", after=None, limit=100)[0]
        return [one.receipt.digest.hex for one in found if one.receipt is not None]

    def failures(self) -> list[str]:
        """Return the codes of the events that tell of a failed upload."""
        assert self.server.data_dir is not None
        database = self.server.data_dir / "state.db"
        with closing(sqlite3.connect(database)) as connection:
            rows = connection.execute(
                "SELECT data FROM events WHERE type = 'ingest.upload.failed' ORDER BY seq"
            ).fetchall()
        return [json.loads(row[0])["code"] for row in rows]

    def open_uploads(self) -> int:
        return len(self.server.receiver.listing.page(None, state="open", after=None, limit=100)[0])


@contextmanager
def noted_reads(site: CompatSite) -> Iterator[list[tuple[str, int]]]:
    """Yield the reads of stored bytes in the body of this, each as upload and offset."""
    blobs = site.server.store.blobs
    found: list[tuple[str, int]] = []
    open_part = blobs.open_part

    class Noted:
        def __init__(self, upload_id: str, *how: Any) -> None:
            self._part, self._upload_id = open_part(upload_id, *how), upload_id

        def __getattr__(self, name: str) -> Any:
            return getattr(self._part, name)

        def pread(self, length: int, offset: int) -> bytes:
            found.append((self._upload_id, offset))
            return self._part.pread(length, offset)

    blobs.open_part = Noted  # type: ignore[method-assign, assignment]  # watched for a while
    try:
        yield found
    finally:
        blobs.open_part = open_part  # type: ignore[method-assign]  # as it was


@contextmanager
def compat_site(
    folder: Path, kind: str = "plain WSGI", *, mode: str = "open", token: str = "", **settings: Any
) -> Iterator[CompatSite]:
    compat_settings = settings.pop("compat", CompatSettings())
    with ingest(
        folder / "data", mode=mode, compat=DIALECTS, compat_settings=compat_settings, **settings
    ) as server:
        if kind == "plain WSGI":
            with wsgi_client(server.app) as client:
                yield CompatSite(server, client)
            return
        with (
            serving(server.app) as running,
            plain_client(running.address.url) as client,
        ):
            yield CompatSite(server, client, running.address)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def recording(size: int) -> bytes:
    """Bytes that no boundary, no repetition and no shift leaves unnoticed."""
    block = b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(-(-size // 32)))
    return block[:size]


def form_of(boundary: str, *parts: tuple[str, str | None, bytes]) -> bytes:
    """Return a multipart body of (name, file name, content) in just this order."""
    out = b""
    for name, filename, content in parts:
        extra = "" if filename is None else f'; filename="{filename}"'
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
        out += head.encode() + content + b"\r\n"
    return out + f"--{boundary}--\r\n".encode()
