"""The database's tables, and how an older database becomes one of this version."""

from __future__ import annotations

from collections.abc import Sequence

from ingest_server.storage.postgres import fleet_schema, leading, leases
from ingest_server.storage.postgres.text import TEXT

# Each entry takes the version from its index to the next. Never edit one that was released.
MIGRATIONS: Sequence[str] = (
    f"""
    CREATE TABLE uploads (
        id {TEXT} PRIMARY KEY,
        device {TEXT} NOT NULL,
        key {TEXT} NOT NULL,
        name {TEXT} NOT NULL,
        folder {TEXT} NOT NULL,
        created_at {TEXT} NOT NULL,
        length BIGINT,
        digest BYTEA,
        modified_at {TEXT},
        media_type {TEXT},
        metadata {TEXT} NOT NULL,
        state {TEXT} NOT NULL,
        received {TEXT} NOT NULL,
        touched_s DOUBLE PRECISION NOT NULL,
        target {TEXT},
        receipt {TEXT},
        removed_at {TEXT},
        rewrites BIGINT NOT NULL DEFAULT 0,
        verified_at {TEXT},
        UNIQUE (device, key)
    );
    CREATE INDEX uploads_by_state ON uploads (state, device);
    CREATE INDEX uploads_by_digest ON uploads (digest, device, name, folder, created_at, id)
        WHERE state = 'complete' AND removed_at IS NULL;
    CREATE INDEX uploads_by_age ON uploads (removed_at, touched_s) WHERE state = 'complete';
    CREATE INDEX uploads_by_target ON uploads (target) WHERE target IS NOT NULL;
    CREATE INDEX uploads_by_length ON uploads (device, length) WHERE state = 'complete';
    CREATE INDEX uploads_by_creation ON uploads (created_at, id, device, state);
    CREATE INDEX uploads_ended ON uploads (device, touched_s)
        WHERE state IN ('failed', 'expired', 'aborted');
    CREATE INDEX recordings ON uploads (verified_at, id, folder, name)
        WHERE verified_at IS NOT NULL;
    CREATE INDEX recordings_by_device ON uploads (device, verified_at, id, folder, name)
        WHERE verified_at IS NOT NULL;
    CREATE TABLE notes (
        upload_id {TEXT} NOT NULL,
        key {TEXT} NOT NULL,
        value {TEXT} NOT NULL,
        PRIMARY KEY (upload_id, key)
    );
    CREATE TABLE readings (
        upload_id {TEXT} PRIMARY KEY,
        identity {TEXT} NOT NULL,
        digest BYTEA NOT NULL,
        run {TEXT} NOT NULL,
        read_s DOUBLE PRECISION NOT NULL,
        read_at {TEXT} NOT NULL
    );
    CREATE TABLE removals (
        path {TEXT} PRIMARY KEY,
        upload_id {TEXT} NOT NULL,
        identity {TEXT} NOT NULL
    );
    CREATE TABLE tokens (
        token_id {TEXT} PRIMARY KEY,
        device {TEXT} NOT NULL,
        token_hash BYTEA NOT NULL UNIQUE,
        created_at {TEXT} NOT NULL,
        scopes {TEXT} NOT NULL,
        expires_at {TEXT},
        last_used_at {TEXT},
        replaces {TEXT}
    );
    CREATE TABLE claims (
        claim_id {TEXT} PRIMARY KEY,
        token_hash BYTEA NOT NULL UNIQUE,
        created_at {TEXT} NOT NULL,
        expires_at {TEXT} NOT NULL,
        devices BIGINT NOT NULL,
        revoked_at {TEXT}
    );
    CREATE TABLE claimed (
        device {TEXT} PRIMARY KEY,
        claim_id {TEXT} NOT NULL,
        serial {TEXT} NOT NULL,
        claimed_at {TEXT} NOT NULL,
        token_id {TEXT} NOT NULL
    );
    CREATE TABLE contacts (
        device {TEXT} PRIMARY KEY,
        contact_at {TEXT} NOT NULL,
        program {TEXT} NOT NULL
    );
    CREATE TABLE users (
        name {TEXT} PRIMARY KEY,
        role {TEXT} NOT NULL,
        password {TEXT} NOT NULL,
        created_at {TEXT} NOT NULL,
        changed_at {TEXT} NOT NULL
    );
    CREATE TABLE sessions (
        session_hash BYTEA PRIMARY KEY,
        "user" {TEXT} NOT NULL,
        created_at {TEXT} NOT NULL,
        begun_s DOUBLE PRECISION NOT NULL,
        used_at {TEXT} NOT NULL,
        used_s DOUBLE PRECISION NOT NULL
    );
    CREATE INDEX sessions_by_user ON sessions ("user", created_at);
    CREATE TABLE events (
        seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id {TEXT} NOT NULL UNIQUE,
        type {TEXT} NOT NULL,
        time {TEXT} NOT NULL,
        subject {TEXT} NOT NULL,
        device {TEXT} NOT NULL,
        data {TEXT} NOT NULL,
        uptime_s DOUBLE PRECISION NOT NULL
    );
    CREATE INDEX events_by_device ON events (device, seq);
    CREATE TABLE targets (
        name {TEXT} PRIMARY KEY,
        taken_in BIGINT NOT NULL,
        disabled_at {TEXT}
    );
    CREATE TABLE deliveries (
        target {TEXT} NOT NULL,
        seq BIGINT NOT NULL,
        subject {TEXT} NOT NULL,
        state {TEXT} NOT NULL,
        tries BIGINT NOT NULL,
        next_try_s DOUBLE PRECISION NOT NULL,
        error {TEXT},
        PRIMARY KEY (target, seq)
    );
    CREATE INDEX deliveries_waiting ON deliveries (target, subject, seq) WHERE state = 'pending';
    CREATE INDEX deliveries_by_event ON deliveries (seq);
    CREATE TABLE groups (
        seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        device {TEXT} NOT NULL,
        id {TEXT} NOT NULL,
        family {TEXT} NOT NULL,
        title {TEXT} NOT NULL,
        folder {TEXT} NOT NULL,
        members {TEXT} NOT NULL,
        missing {TEXT} NOT NULL,
        is_whole BOOLEAN NOT NULL,
        done BIGINT NOT NULL,
        told_at {TEXT} NOT NULL,
        state {TEXT} NOT NULL,
        revision BIGINT NOT NULL,
        completed_at {TEXT},
        manifest {TEXT},
        size BIGINT NOT NULL,
        UNIQUE (device, id)
    );
    CREATE INDEX groups_by_device ON groups (device, seq, size);
    CREATE INDEX groups_by_state ON groups (state, seq);
    -- The folder of files that these facts are about.
    CREATE TABLE folder (
        only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
        id {TEXT} NOT NULL
    );
    CREATE TABLE uptime (
        only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
        seconds DOUBLE PRECISION NOT NULL,
        runs BIGINT NOT NULL DEFAULT 0
    );
    INSERT INTO uptime VALUES (1, 0.0, 0);

    -- Who writes. Empty after a crash of the database, and nobody may record then who wrote before it.
    CREATE UNLOGGED TABLE writers (
        epoch BIGINT PRIMARY KEY,
        upload_id {TEXT} NOT NULL,
        start BIGINT NOT NULL,
        stop BIGINT NOT NULL
    );
    CREATE INDEX writers_by_upload ON writers (upload_id);
    CREATE SEQUENCE writer_epochs;
    -- Whether the epochs of this run of the database were begun: a crash empties it.
    CREATE UNLOGGED TABLE epochs_begun (only_row BIGINT PRIMARY KEY CHECK (only_row = 1));
    """,
    fleet_schema.TABLES,
    leases.TABLES,
    leading.TABLES,
    f"""
    ALTER TABLE uploads ADD COLUMN route {TEXT} NOT NULL DEFAULT '';
    CREATE INDEX uploads_by_route ON uploads (route, state) WHERE route != '';
    """,
    f"""
    -- Where files were before, while they are copied to where they belong, and which have been.
    CREATE TABLE relocation (
        only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
        id {TEXT} NOT NULL,
        folder {TEXT} NOT NULL
    );
    CREATE TABLE carried (upload_id {TEXT} PRIMARY KEY);
    """,
    """
    CREATE INDEX deliveries_given_up ON deliveries (target, seq) WHERE state = 'dead';
    """,
)

VERSION = len(MIGRATIONS)
