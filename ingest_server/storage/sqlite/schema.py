"""The database's tables, and how an older database becomes one of this version."""

from __future__ import annotations

from collections.abc import Sequence

# Each entry takes user_version from its index to the next. Never edit one that was released.
MIGRATIONS: Sequence[str] = (
    """
    CREATE TABLE uploads (
        id TEXT PRIMARY KEY,
        device TEXT NOT NULL,
        key TEXT NOT NULL,
        name TEXT NOT NULL,
        folder TEXT NOT NULL,
        created_at TEXT NOT NULL,
        length INTEGER,
        digest BLOB,
        modified_at TEXT,
        media_type TEXT,
        metadata TEXT NOT NULL,
        state TEXT NOT NULL,
        received TEXT NOT NULL,
        touched_s REAL NOT NULL,
        target TEXT,
        receipt TEXT,
        UNIQUE (device, key)
    ) STRICT;
    CREATE INDEX uploads_by_state ON uploads (state, device);
    CREATE INDEX uploads_by_digest ON uploads (digest, device) WHERE state = 'complete';
    CREATE TABLE tokens (
        token_id TEXT PRIMARY KEY,
        device TEXT NOT NULL,
        token_hash BLOB NOT NULL UNIQUE,
        created_at TEXT NOT NULL,
        scopes TEXT NOT NULL,
        expires_at TEXT,
        last_used_at TEXT
    ) STRICT;
    CREATE TABLE uptime (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        seconds REAL NOT NULL
    ) STRICT;
    INSERT INTO uptime VALUES (1, 0.0);
    """,
    """
    CREATE TABLE notes (
        upload_id TEXT NOT NULL,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (upload_id, key)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE tokens ADD COLUMN replaces TEXT;
    CREATE TABLE claims (
        claim_id TEXT PRIMARY KEY,
        token_hash BLOB NOT NULL UNIQUE,
        created_at TEXT NOT NULL,
        expires_at TEXT NOT NULL,
        devices INTEGER NOT NULL,
        revoked_at TEXT
    ) STRICT;
    CREATE TABLE claimed (
        device TEXT PRIMARY KEY,
        claim_id TEXT NOT NULL,
        serial TEXT NOT NULL,
        claimed_at TEXT NOT NULL,
        token_id TEXT NOT NULL
    ) STRICT;
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        type TEXT NOT NULL,
        time TEXT NOT NULL,
        subject TEXT NOT NULL,
        device TEXT NOT NULL,
        data TEXT NOT NULL,
        uptime_s REAL NOT NULL
    ) STRICT;
    CREATE TABLE targets (
        name TEXT PRIMARY KEY,
        taken_in INTEGER NOT NULL,
        disabled_at TEXT
    ) STRICT;
    CREATE TABLE deliveries (
        target TEXT NOT NULL,
        seq INTEGER NOT NULL,
        subject TEXT NOT NULL,
        state TEXT NOT NULL,
        tries INTEGER NOT NULL,
        next_try_s REAL NOT NULL,
        error TEXT,
        PRIMARY KEY (target, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX deliveries_waiting ON deliveries (target, subject, seq) WHERE state = 'pending';
    """,
    """
    ALTER TABLE uploads ADD COLUMN removed_at TEXT;
    CREATE INDEX uploads_by_age ON uploads (removed_at, touched_s) WHERE state = 'complete';
    CREATE INDEX uploads_by_target ON uploads (target) WHERE target IS NOT NULL;
    CREATE TABLE removals (
        path TEXT PRIMARY KEY,
        upload_id TEXT NOT NULL,
        identity TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE readings (
        upload_id TEXT PRIMARY KEY,
        identity TEXT NOT NULL,
        digest BLOB NOT NULL,
        run TEXT NOT NULL,
        read_s REAL NOT NULL,
        read_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE uptime ADD COLUMN runs INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE uploads ADD COLUMN rewrites INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE INDEX uploads_by_length ON uploads (device, length) WHERE state = 'complete';
    """,
    """
    CREATE INDEX uploads_by_creation ON uploads (created_at, id, device, state);
    CREATE INDEX uploads_ended ON uploads (device, touched_s)
        WHERE state IN ('failed', 'expired', 'aborted');
    CREATE INDEX events_by_device ON events (device, seq);
    CREATE INDEX deliveries_by_event ON deliveries (seq);
    CREATE TABLE contacts (
        device TEXT PRIMARY KEY,
        contact_at TEXT NOT NULL,
        program TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    DROP INDEX uploads_by_digest;
    CREATE INDEX uploads_by_digest ON uploads (digest, device, name, folder, created_at, id)
        WHERE state = 'complete' AND removed_at IS NULL;
    """,
    """
    CREATE TABLE users (
        name TEXT PRIMARY KEY,
        role TEXT NOT NULL,
        password TEXT NOT NULL,
        created_at TEXT NOT NULL,
        changed_at TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE sessions (
        session_hash BLOB PRIMARY KEY,
        user TEXT NOT NULL,
        created_at TEXT NOT NULL,
        begun_s REAL NOT NULL,
        used_at TEXT NOT NULL,
        used_s REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX sessions_by_user ON sessions (user, created_at);
    """,
    """
    ALTER TABLE uploads ADD COLUMN verified_at TEXT;
    UPDATE uploads SET verified_at = json_extract(receipt, '$.verified_at')
        WHERE state = 'complete' AND removed_at IS NULL
        AND json_extract(receipt, '$.upload_id') = id;
    CREATE INDEX recordings ON uploads (verified_at, id, folder, name)
        WHERE verified_at IS NOT NULL;
    CREATE INDEX recordings_by_device ON uploads (device, verified_at, id, folder, name)
        WHERE verified_at IS NOT NULL;
    """,
    """
    CREATE TABLE groups (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        device TEXT NOT NULL,
        id TEXT NOT NULL,
        family TEXT NOT NULL,
        title TEXT NOT NULL,
        folder TEXT NOT NULL,
        members TEXT NOT NULL,
        missing TEXT NOT NULL,
        is_whole INTEGER NOT NULL,
        done INTEGER NOT NULL,
        told_at TEXT NOT NULL,
        state TEXT NOT NULL,
        revision INTEGER NOT NULL,
        completed_at TEXT,
        manifest TEXT,
        size INTEGER NOT NULL,
        UNIQUE (device, id)
    ) STRICT;
    CREATE INDEX groups_by_device ON groups (device, seq, size);
    CREATE INDEX groups_by_state ON groups (state, seq);
    """,
    """
    ALTER TABLE uploads ADD COLUMN route TEXT NOT NULL DEFAULT '';
    CREATE INDEX uploads_by_route ON uploads (route, state) WHERE route != '';
    """,
    """
    CREATE TABLE relocation (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        id TEXT NOT NULL,
        folder TEXT NOT NULL
    ) STRICT;
    CREATE TABLE carried (upload_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE commits (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        number INTEGER NOT NULL
    ) STRICT;
    INSERT INTO commits VALUES (1, 0);
    """,
    """
    CREATE INDEX deliveries_given_up ON deliveries (target, seq) WHERE state = 'dead';
    """,
)

VERSION = len(MIGRATIONS)
