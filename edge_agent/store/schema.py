"""The tables of the state database, how older ones become it, and a recording as a row.

No SQL runs here: `recordings` does that.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from edge_agent.core.groups import Role
from edge_agent.core.recording import Identity, Recording
from edge_agent.core.upload import State
from edge_agent.store import changes, command_log, given_up, group_schema, notes, outbox
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

_RECORDINGS = """
CREATE TABLE recording (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  path BLOB NOT NULL,
  folder TEXT NOT NULL,
  name TEXT NOT NULL,
  device INTEGER NOT NULL,
  inode TEXT NOT NULL,
  length INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  ctime_ns INTEGER NOT NULL,
  state TEXT NOT NULL,
  origin TEXT NOT NULL,
  idempotency_key TEXT,
  upload_id TEXT,
  digest BLOB,
  receipt TEXT,
  delete_allowed INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  resent_bytes INTEGER NOT NULL DEFAULT 0,
  problem TEXT,
  detail TEXT,
  seen_at TEXT NOT NULL,
  verified_at TEXT
) STRICT;
CREATE INDEX recording_by_state ON recording(state, seq);
CREATE INDEX recording_by_path ON recording(path);
CREATE INDEX recording_by_inode ON recording(inode);
"""

# Files and bytes per state are shown twice a second: to count a long queue for that took a third of
# a core. Triggers, so that they are true in every transaction and whoever writes.
_TALLY = """
CREATE TABLE tally (
  state TEXT PRIMARY KEY,
  files INTEGER NOT NULL,
  bytes INTEGER NOT NULL
) STRICT;
INSERT INTO tally SELECT state, count(*), sum(length) FROM recording GROUP BY state;
CREATE TRIGGER recording_added AFTER INSERT ON recording BEGIN
  INSERT INTO tally VALUES (NEW.state, 1, NEW.length)
    ON CONFLICT(state) DO UPDATE SET files = files + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER recording_removed AFTER DELETE ON recording BEGIN
  UPDATE tally SET files = files - 1, bytes = bytes - OLD.length WHERE state = OLD.state;
END;
CREATE TRIGGER recording_moved AFTER UPDATE OF state, length ON recording BEGIN
  UPDATE tally SET files = files - 1, bytes = bytes - OLD.length WHERE state = OLD.state;
  INSERT INTO tally VALUES (NEW.state, 1, NEW.length)
    ON CONFLICT(state) DO UPDATE SET files = files + 1, bytes = bytes + excluded.bytes;
END;
"""

# The index costs nothing where the owner sets no priorities.
_PRIORITIES = """
ALTER TABLE recording ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
CREATE INDEX recording_ahead ON recording(state, priority DESC, seq) WHERE priority > 0;
"""

_RECEIPT_AGE = "ALTER TABLE recording ADD COLUMN receipt_s INTEGER;"

_AGE = """
ALTER TABLE recording ADD COLUMN seen_s INTEGER NOT NULL DEFAULT 0;
UPDATE recording SET seen_s = coalesce((SELECT CAST(value AS INTEGER) FROM setting WHERE key = 'running_s'), 0);
ALTER TABLE recording ADD COLUMN is_seen_at_true INTEGER NOT NULL DEFAULT 1;
"""

_VERSIONS = "ALTER TABLE recording ADD COLUMN supersedes TEXT;"

# A priority that a person gave to one recording outlives other rules of the owner's.
_CHOSEN = "ALTER TABLE recording ADD COLUMN is_chosen INTEGER NOT NULL DEFAULT 0;"

# Of which watched folder each is, and what is counted for each of them.
_FOLDERS = """
ALTER TABLE recording ADD COLUMN watch TEXT NOT NULL DEFAULT '';
DROP TRIGGER recording_added;
DROP TRIGGER recording_removed;
DROP TRIGGER recording_moved;
DROP TABLE tally;
CREATE TABLE tally (
  watch TEXT NOT NULL,
  state TEXT NOT NULL,
  files INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (watch, state)
) STRICT, WITHOUT ROWID;
INSERT INTO tally SELECT watch, state, count(*), sum(length) FROM recording GROUP BY watch, state;
CREATE TRIGGER recording_added AFTER INSERT ON recording BEGIN
  INSERT INTO tally VALUES (NEW.watch, NEW.state, 1, NEW.length)
    ON CONFLICT DO UPDATE SET files = files + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER recording_removed AFTER DELETE ON recording BEGIN
  UPDATE tally SET files = files - 1, bytes = bytes - OLD.length
    WHERE watch = OLD.watch AND state = OLD.state;
END;
CREATE TRIGGER recording_moved AFTER UPDATE OF state, length, watch ON recording BEGIN
  UPDATE tally SET files = files - 1, bytes = bytes - OLD.length
    WHERE watch = OLD.watch AND state = OLD.state;
  INSERT INTO tally VALUES (NEW.watch, NEW.state, 1, NEW.length)
    ON CONFLICT DO UPDATE SET files = files + 1, bytes = bytes + excluded.bytes;
END;
"""

MIGRATIONS = (
    _RECORDINGS + outbox.SCHEMA + notes.SCHEMA,
    _TALLY,
    _PRIORITIES,
    _RECEIPT_AGE,
    _AGE,
    given_up.SCHEMA,
    _VERSIONS,
    command_log.SCHEMA + _CHOSEN,
    changes.SCHEMA,
    _FOLDERS,
    group_schema.GROUPS,
)
"""Entry n leads from version n to n + 1; entries are only ever added."""

SCHEMA_VERSION = len(MIGRATIONS)

COLUMNS = (
    "seq, id, path, folder, name, device, inode, length, mtime_ns, ctime_ns, state, origin, "
    "idempotency_key, upload_id, digest, receipt, delete_allowed, failures, resent_bytes, problem, "
    "detail, seen_at, verified_at, priority, receipt_s, seen_s, is_seen_at_true, supersedes, "
    "watch, role"
)


def to_recording(row: Sequence[Any]) -> Recording:
    """Return the recording that a row of `COLUMNS` holds."""
    return Recording(
        seq=row[0],
        id=row[1],
        path=row[2],
        folder=row[3],
        name=row[4],
        identity=Identity(row[5], int(row[6]), row[7], row[8], row[9]),
        state=State(row[10]),
        origin=row[11],
        idempotency_key=row[12],
        upload_id=row[13],
        digest=None if row[14] is None else Digest(row[14]),
        receipt=None if row[15] is None else Receipt.from_json(json.loads(row[15])),
        delete_allowed=bool(row[16]),
        failures=row[17],
        resent_bytes=row[18],
        problem=row[19],
        detail=row[20],
        seen_at=row[21],
        verified_at=row[22],
        priority=row[23],
        receipt_s=row[24],
        seen_s=row[25],
        is_seen_at_true=bool(row[26]),
        supersedes=row[27],
        watch=row[28],
        role=Role(row[29]),
    )


def changed_columns(before: Recording, after: Recording) -> dict[str, Any]:
    """Return column -> value of what differs; `seq`, `id` and what tells when it was seen, and what before, never do."""
    old, new = _values(before), _values(after)
    return {column: value for column, value in new.items() if value != old[column]}


def _values(recording: Recording) -> dict[str, Any]:
    identity = recording.identity
    return {
        "path": recording.path,
        "folder": recording.folder,
        "name": recording.name,
        "device": identity.device,
        "inode": str(identity.inode),
        "length": identity.length,
        "mtime_ns": identity.mtime_ns,
        "ctime_ns": identity.ctime_ns,
        "state": str(recording.state),
        "origin": recording.origin,
        "idempotency_key": recording.idempotency_key,
        "upload_id": recording.upload_id,
        "digest": None if recording.digest is None else recording.digest.value,
        "receipt": None if recording.receipt is None else json.dumps(recording.receipt.to_json()),
        "delete_allowed": int(recording.delete_allowed),
        "failures": recording.failures,
        "resent_bytes": recording.resent_bytes,
        "problem": recording.problem,
        "detail": recording.detail,
        "verified_at": recording.verified_at,
        "priority": recording.priority,
        "receipt_s": recording.receipt_s,
        "watch": recording.watch,
    }
