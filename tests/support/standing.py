"""What befalls a published file on the disk, and what the server makes of it then."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from ingest_server.storage.files.parts import FileBlobs
from ingest_server.upkeep.scrub import Report, Scrub
from tests.support.core_site import CoreSite
from tests.support.events import events
from upload_protocol.digests import Digest
from upload_protocol.messages import CompleteRequest

DATA = os.urandom(5000)
DAY_S = 86_400
READ = "read published"


def where(site: CoreSite, published_as: str) -> Path:
    return site.data_dir / "published" / published_as


def damage(site: CoreSite, published_as: str, at: int = 1000) -> bytes:
    """Flip one bit in place, and set the time of the change back as far as a program can."""
    path = where(site, published_as)
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return path.read_bytes()


def rot(site: CoreSite, published_as: str) -> bytes:
    """Flip one bit as a disk does: nothing of the file's metadata tells."""
    rotten = damage(site, published_as)
    identity = site.blobs.identity(published_as)
    with closing(sqlite3.connect(site.data_dir / "state.db")) as connection, connection:
        connection.execute("UPDATE readings SET identity = ?", (identity,))
    return rotten


def claim(site: CoreSite, data: bytes = DATA, **more: Any) -> tuple[str, Any]:
    """Create and complete by a digest, without sending a byte."""
    upload = site.create(length=len(data), digest=Digest.of(data), **more)
    return upload, site.receiver.complete("cam", upload, CompleteRequest(len(data), None))


def told(site: CoreSite) -> list[dict[str, Any]]:
    return [data for kind, data in events(site) if kind == "ingest.file.corrupted"]


def reads(site: CoreSite) -> int:
    return site.blobs.seen.count(READ)


def forget_readings(site: CoreSite) -> None:
    site.stop()
    with closing(sqlite3.connect(site.data_dir / "state.db")) as connection, connection:
        connection.execute("DELETE FROM readings")
    site.start()


def verify(site: CoreSite) -> Report:
    """Read all published files anew, as ``verify`` does."""
    blobs, report = FileBlobs(site.data_dir), Report()
    blobs.look()
    try:
        Scrub(site.state, blobs, site.clock).run(lambda _report, _path: None, report)
    finally:
        blobs.close()
    return report
