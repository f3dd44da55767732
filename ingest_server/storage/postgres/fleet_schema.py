"""The tables of what devices report, beside those of uploads.

Unlike in ``fleet.db`` the table of events has a name of its own: ``events`` are those of uploads.
"""

from __future__ import annotations

from ingest_server.storage.postgres.text import TEXT

EVENTS = "device_events"

TABLES = f"""
    CREATE TABLE devices (
        device {TEXT} PRIMARY KEY,
        number BIGINT NOT NULL UNIQUE,
        facts BYTEA NOT NULL,
        said_s DOUBLE PRECISION NOT NULL,
        changed BIGINT NOT NULL
    );
    CREATE INDEX devices_by_change ON devices (changed);
    CREATE TABLE gone (device {TEXT} PRIMARY KEY, changed BIGINT NOT NULL);
    CREATE INDEX gone_by_change ON gone (changed);
    CREATE TABLE documents (
        number BIGINT NOT NULL,
        kind {TEXT} NOT NULL,
        body BYTEA NOT NULL,
        said_s DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (number, kind)
    );
    CREATE TABLE commands (
        place BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id {TEXT} NOT NULL UNIQUE,
        device {TEXT} NOT NULL,
        status {TEXT} NOT NULL,
        body {TEXT} NOT NULL
    );
    CREATE INDEX commands_by_device ON commands (device, place);
    CREATE INDEX commands_unanswered ON commands (device, place) WHERE status IN ('sent', 'waiting');
    CREATE TABLE {EVENTS} (
        number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        device {TEXT} NOT NULL,
        id {TEXT} NOT NULL,
        type {TEXT} NOT NULL,
        at {TEXT} NOT NULL,
        body BYTEA NOT NULL,
        UNIQUE (device, id)
    );
    CREATE INDEX {EVENTS}_by_device ON {EVENTS} (device, number);
    CREATE TABLE samples (
        step_s BIGINT NOT NULL,
        start_s BIGINT NOT NULL,
        number BIGINT NOT NULL,
        packed BYTEA NOT NULL,
        PRIMARY KEY (step_s, start_s, number)
    );
    CREATE TABLE notices (key {TEXT} PRIMARY KEY, body BYTEA NOT NULL);
    CREATE TABLE holds_standing (
        number BIGINT PRIMARY KEY,
        epoch {TEXT} NOT NULL,
        through BIGINT NOT NULL,
        count BIGINT NOT NULL,
        is_full BIGINT NOT NULL
    );
    CREATE TABLE holds (
        number BIGINT NOT NULL,
        file_id {TEXT} NOT NULL,
        mtime_s BIGINT NOT NULL,
        name {TEXT} NOT NULL,
        folder {TEXT} NOT NULL,
        length BIGINT NOT NULL,
        state {TEXT} NOT NULL,
        reason {TEXT} NOT NULL,
        PRIMARY KEY (number, file_id)
    );
    CREATE INDEX holds_by_time ON holds (number, mtime_s DESC, file_id);
"""
