"""What a published file had when it was last read whole: the only thing that vouches for it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from upload_protocol.digests import Digest


@dataclass(frozen=True, slots=True)
class Reading:
    """One published file as it was found; the newest one counts."""

    upload_id: str
    """The upload that published it."""
    identity: str
    """Of the file that was read: `FileBlobs.identity`."""
    digest: Digest
    """What it had, whatever its receipt says."""
    run: str
    """Which run of the server found it; empty: another program."""
    read_s: float
    """The server's uptime then."""
    read_at: str
    """The wall clock then (RFC 3339)."""


def find(connection: sqlite3.Connection, upload_id: str) -> Reading | None:
    row = connection.execute(
        "SELECT upload_id, identity, digest, run, read_s, read_at FROM readings "
        "WHERE upload_id = ?",
        (upload_id,),
    ).fetchone()
    if row is None:
        return None
    upload, identity, digest, run, read_s, read_at = row
    return Reading(upload, identity, Digest(digest), run, read_s, read_at)


def save(connection: sqlite3.Connection, reading: Reading) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO readings (upload_id, identity, digest, run, read_s, read_at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            reading.upload_id,
            reading.identity,
            reading.digest.value,
            reading.run,
            reading.read_s,
            reading.read_at,
        ),
    )
