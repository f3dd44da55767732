"""The tables of ``fleet.db``, migration by migration."""

from __future__ import annotations

MIGRATIONS = (
    """
    CREATE TABLE devices (
        device TEXT PRIMARY KEY,
        number INTEGER NOT NULL UNIQUE,
        facts BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE documents (
        number INTEGER NOT NULL,
        kind TEXT NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (number, kind)
    ) WITHOUT ROWID;
    CREATE TABLE commands (
        place INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        device TEXT NOT NULL,
        status TEXT NOT NULL,
        body TEXT NOT NULL
    );
    CREATE INDEX commands_by_device ON commands (device, place);
    CREATE INDEX commands_unanswered ON commands (place) WHERE status IN ('waiting', 'sent');
    CREATE TABLE events (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        device TEXT NOT NULL,
        id TEXT NOT NULL,
        type TEXT NOT NULL,
        at TEXT NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (device, id)
    );
    CREATE INDEX events_by_device ON events (device, number);
    CREATE TABLE samples (
        step_s INTEGER NOT NULL,
        start_s INTEGER NOT NULL,
        number INTEGER NOT NULL,
        packed BLOB NOT NULL,
        PRIMARY KEY (step_s, start_s, number)
    ) WITHOUT ROWID;
    CREATE TABLE notices (key TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE holds_standing (
        number INTEGER PRIMARY KEY,
        epoch TEXT NOT NULL,
        through INTEGER NOT NULL,
        count INTEGER NOT NULL,
        is_full INTEGER NOT NULL
    );
    CREATE TABLE holds (
        number INTEGER NOT NULL,
        file_id TEXT NOT NULL,
        mtime_s INTEGER NOT NULL,
        name TEXT NOT NULL,
        folder TEXT NOT NULL,
        length INTEGER NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (number, file_id)
    ) WITHOUT ROWID;
    CREATE INDEX holds_by_time ON holds (number, mtime_s DESC, file_id);
    """,
    """
    ALTER TABLE devices ADD COLUMN said_s REAL NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE documents ADD COLUMN said_s REAL NOT NULL DEFAULT 0;
    CREATE INDEX devices_by_change ON devices (changed);
    CREATE TABLE gone (device TEXT PRIMARY KEY, changed INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX gone_by_change ON gone (changed);
    """,
)
"""`number` stands for a device: rows of one minute lie side by side, by it, and are short.

`samples` begins with time: what is written in one minute is one run of pages, and so is what is dropped.
"""
