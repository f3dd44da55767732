"""Tests that ask for stores in memory, played on a real PostgreSQL and a real S3 store instead.

The environment names both; `on_engines` plays files of tests so, in a pytest of their own.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import psycopg

from ingest_server.storage.interface import Blobs, StateStore
from ingest_server.storage.postgres.transactions import PostgresState
from ingest_server.storage.s3.blobs import S3Blobs
from ingest_server.storage.s3.place import Place
from ingest_server.storage.s3.places import S3Places
from tests.support.postgres import Postgres
from tests.support.seaweed import BUCKET, Seaweed

DATABASE, ENDPOINT, CREDENTIALS = "TESTS_DATABASE", "TESTS_S3_ENDPOINT", "TESTS_S3_CREDENTIALS"


def new_stores() -> tuple[StateStore, Blobs] | None:
    """Return stores that nobody has used, where the environment names engines."""
    if DATABASE not in os.environ:
        return None
    name = f"t{secrets.token_hex(8)}"
    place = Place(BUCKET, f"{name}/", os.environ[ENDPOINT], None, Path(os.environ[CREDENTIALS]))
    url = os.environ[DATABASE]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    state = PostgresState.open(f"{url}&options=-c%20search_path%3D{name}")
    return state, S3Places(S3Blobs(place), (), state)


def on_engines(database: Postgres, store: Seaweed, *arguments: str, timeout_s: float) -> str:
    """Play tests on these engines; return the last line that pytest says.

    Raises:
        AssertionError: some failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        env={
            **os.environ,
            DATABASE: database.url(),
            ENDPOINT: store.endpoint,
            CREDENTIALS: str(store.credentials),
        },
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout.splitlines()[-1]
