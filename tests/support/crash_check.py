"""What a server, started after a power cut, has lost of what it had acknowledged before."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from ingest_server.config import load
from ingest_server.core import events
from ingest_server.core.names import STAGING
from ingest_server.server import IngestServer
from tests.support.crash_client import HOST, MODIFIED_S, Client
from tests.support.crash_load import Expected
from tests.support.inotify import watching
from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange, RangeSet

SETTINGS = {
    "INGEST_SERVER_AUTH__MODE": "open",
    "INGEST_SERVER_LIMITS__MIN_FREE": "8MiB",
    "INGEST_SERVER_SERVER__STOP_TIMEOUT_S": "2",
    "INGEST_SERVER_LOG__LEVEL": "warning",
}


def losses(data_dir: Path, expected: dict[str, Expected]) -> list[str]:
    """Return a sentence for each broken promise; starts a server over *data_dir* and uses it."""
    found = [*_rows_without_bytes(data_dir), *_not_as_published(data_dir, expected)]
    unannounced = set(_perhaps_unannounced(data_dir))
    with watching(data_dir / "published") as watcher:
        found += _after_a_start(data_dir, expected)
    told = {path for path, _ in watcher.whole()}
    found += [f"{path} is published, nobody was told" for path in unannounced - told]
    found += [
        f"{path} has lost the time of the recording"
        for path in (data_dir / "published").rglob("*")
        if path.is_file() and not is_manifest(path) and path.stat().st_mtime != MODIFIED_S
    ]
    return found


def _perhaps_unannounced(data_dir: Path) -> Iterator[str]:
    """Yield each published name whose upload was not over with its announcement."""
    with closing(sqlite3.connect(data_dir / "state.db")) as connection:
        rows = connection.execute(
            "SELECT id, target FROM uploads WHERE state IN ('publishing', 'complete')"
        ).fetchall()
    for upload_id, target in rows:
        if (data_dir / "parts" / f"{upload_id}.part").exists():
            yield target


def _after_a_start(data_dir: Path, expected: dict[str, Expected]) -> list[str]:
    """Return what a server that starts there answers wrongly."""
    found: list[str] = []
    config = load(None, environ=SETTINGS, listen=f"{HOST}:0", data_dir=data_dir)
    server = IngestServer(config)
    server.parts.http.expiration_interval = 0.05  # how soon it sees who is late
    server.start()
    try:
        for one in expected.values():
            if one.id is None:
                continue
            client = Client(server.address.port, one.device)
            try:
                found += [f"{one.name}: {loss}" for loss in _of_upload(client, data_dir, one)]
                found += [f"{one.name}: {loss}" for loss in _of_group(client, data_dir, one)]
            finally:
                client.close()
    finally:
        server.stop()
    with closing(sqlite3.connect(data_dir / "state.db")) as connection:
        verdict = connection.execute("PRAGMA integrity_check").fetchone()[0]
        told = Counter(connection.execute("SELECT subject, type FROM events").fetchall())
        groups = Counter(
            json.loads(data)["group"]
            for (data,) in connection.execute(
                "SELECT data FROM events WHERE type = ?", (events.GROUP_COMPLETED,)
            )
        )
    if verdict != "ok":
        found.append(f"the database: {verdict}")
    for one in expected.values():
        found += [f"{one.name}: {loss}" for loss in _not_as_told(told, one)]
        if one.group is not None and groups[one.group["group"]] != 1:
            found.append(f"{one.name}: its group was told of {groups[one.group['group']]} times")
    manifests = Counter(one["group"] for one in _manifests(data_dir))
    found += [f"group {one} has {count} manifests" for one, count in manifests.items() if count > 1]
    return found


def is_manifest(path: Path) -> bool:
    return ".group" in path.name and path.suffix == ".json"


def _manifests(data_dir: Path) -> Iterator[dict[str, Any]]:
    for path in (data_dir / "published").rglob("*.json"):
        if path.parent.name != STAGING and is_manifest(path):
            yield json.loads(path.read_bytes())


def _not_as_told(told: Counter[tuple[str, str]], one: Expected) -> Iterator[str]:
    """Yield each event that must be in the outbox just once and is not."""
    due = {
        events.CREATED: one.id is not None,
        events.ABORTED: one.is_aborted,
        # Asked again after the cut, it is complete by now at the latest.
        events.COMPLETED: one.is_completing,
    }
    for kind, is_due in due.items():
        count = told[one.id or "", kind]
        if count > 1 or (is_due and not count):
            yield f"the event {kind} is in the outbox {count} times"


def _rows_without_bytes(data_dir: Path) -> Iterator[str]:
    """Yield recorded ranges past the end of their file, before a start mends that."""
    with closing(sqlite3.connect(data_dir / "state.db")) as connection:
        rows = connection.execute(
            "SELECT id, name, received FROM uploads WHERE state IN ('open', 'verifying')"
        ).fetchall()
    for upload_id, name, received in rows:
        part = data_dir / "parts" / f"{upload_id}.part"
        length = part.stat().st_size if part.exists() else 0
        stop = max((pair[1] for pair in json.loads(received)), default=0)
        if stop > length:
            yield f"{name}: bytes up to {stop} are recorded, the file has {length}"


def _not_as_published(data_dir: Path, expected: dict[str, Expected]) -> Iterator[str]:
    """Yield what is visible and is not the whole of one recording, under its own name."""
    for path in (data_dir / "published").rglob("*"):
        # The copies that are made there are the server's own until they have a name.
        if not path.is_file() or path.parent.name == STAGING:
            continue
        if is_manifest(path):
            yield from _not_as_said(data_dir, path)
            continue
        one = expected.get(path.name)
        if one is None or not one.is_completing:
            yield f"{path.name} is published, and nobody asked for it"
        elif path.read_bytes() != one.content:
            yield f"{path.name} is published with other bytes"


def _not_as_said(data_dir: Path, manifest: Path) -> Iterator[str]:
    """Yield each file that a manifest names and that is not there, or is another."""
    for member in json.loads(manifest.read_bytes())["members"]:
        path = data_dir / "published" / member["published_as"]
        if not path.is_file() or str(Digest.of(path.read_bytes())) != member["digest"]:
            yield f"{manifest.name} names {member['name']}, and it is not there"


def _of_group(client: Client, data_dir: Path, one: Expected) -> Iterator[str]:
    """Tell of it again, as a device does that has lost the answer."""
    if one.group is None:
        return
    status, document = client.tell_of_group(one.group)
    if status != 200:
        yield f"all of its group is there, and telling of it answers {status} {document['code']}"
    elif one.group_status is not None and document != one.group_status:
        yield f"its group was {one.group_status}, and is {document}"
    else:
        yield from _not_as_said(data_dir, data_dir / "published" / document["manifest"])


def _of_upload(client: Client, data_dir: Path, one: Expected) -> Iterator[str]:
    upload_id = one.id or ""
    status, document = client.status(upload_id)
    if one.is_aborting:
        if one.is_aborted and status != 410:
            yield f"it was aborted, and answers {status} {document.get('state')}"
        return
    known = {"open", "verifying", "publishing", "complete"}
    if status != 200 or document["state"] not in known:
        yield f"it was created, and answers {status} {document.get('code', document.get('state'))}"
        return
    # Not open: its client asked to complete it between the ledger's instant and the cut.
    if one.is_completing or document["state"] != "open":
        yield from _of_completion(client, data_dir, one)
        return
    received = RangeSet.from_pairs(document["received"])
    for span in one.held:
        if not received.covers(span):
            yield f"{span} was acknowledged, of that there is {received.within(span).to_pairs()}"
    with (data_dir / "parts" / f"{upload_id}.part").open("rb") as part:
        for span in received:
            part.seek(span.start)
            if not one.fits(part.read(span.length), span):
                yield f"{span} is said to be there, and other bytes are"
    if not one.replacing:
        yield from _goes_on(client, data_dir, one, received)


def _of_completion(client: Client, data_dir: Path, one: Expected) -> Iterator[str]:
    """Ask again, as a client does that has lost the answer: it must get the same, or its first."""
    status, receipt = client.complete(one.id or "", one.content)
    while status == 202:
        status, receipt = client.complete(one.id or "", one.content)
    if status != 200:
        yield f"all of it was acknowledged, and completing it answers {status} {receipt['code']}"
        return
    if one.receipt is not None and receipt != one.receipt:
        yield f"the receipt was {one.receipt}, and is {receipt}"
    path = data_dir / "published" / receipt["published_as"]
    if not path.is_file() or path.read_bytes() != one.content:
        yield f"the receipt names {receipt['published_as']}, and the recording is not there"
    if receipt["digest"] != str(Digest.of(one.content)):
        yield f"the receipt has the digest {receipt['digest']}"


def _goes_on(client: Client, data_dir: Path, one: Expected, received: RangeSet) -> Iterator[str]:
    """Send what is missing and complete it: the upload goes on where the server says."""
    content = one.content
    for gap in received.missing(len(content)):
        data = content[gap.start : gap.stop]
        client.put(
            one.id or "", ByteRange(gap.start, gap.stop), data, len(content), with_digest=True
        )
    yield from _of_completion(client, data_dir, one)
