"""What would come out the same for each test is made once in a process: routes, schemas, authorities.

Each test has an application, databases and a client of its own. Most of the time that they took to make was
spent on what does not differ between them.
"""

from __future__ import annotations

import functools
import inspect
import sqlite3
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from falcon.routing import compiled
from httpx._transports import default as httpx_transports

from edge_agent.store import schema as agent_schema
from edge_host import sqlite_file
from ingest_server.storage.sqlite import fleet_schema
from ingest_server.storage.sqlite import schema as server_schema

SCHEMAS = tuple(found.MIGRATIONS for found in (agent_schema, server_schema, fleet_schema))
"""Of the programs' own files. What a test makes up, an older version for instance, is migrated as it is."""

migrate_in_steps = sqlite_file.migrate
"""As the programs do it."""


@functools.cache
def _newest(migrations: tuple[str, ...], vacuum: int) -> bytes:
    """Return an empty file of the newest version."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        made.execute(f"PRAGMA auto_vacuum = {vacuum}")  # of the file, and copied with it
        migrate_in_steps(made, Path(), migrations, copy="", too_new=RuntimeError)
        return made.serialize()


def migrate_at_once(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[str], **options: Any
) -> None:
    """Bring an empty file to the newest version by a copy of one that has been brought there."""
    if migrations in SCHEMAS:
        with _one_at_a_time:  # another one has perhaps begun to use it
            if sqlite_file.version(connection) == 0:
                [vacuum] = connection.execute("PRAGMA auto_vacuum").fetchone()
                with closing(sqlite3.connect(":memory:")) as made:
                    made.deserialize(_newest(tuple(migrations), vacuum))
                    made.backup(connection)
                return
    migrate_in_steps(connection, path, migrations, **options)


_one_at_a_time = threading.Lock()
_is_coroutine_function = functools.lru_cache(maxsize=1024)(inspect.iscoroutinefunction)


def _is_coroutine_method(responder: Callable[..., Any]) -> bool:
    return _is_coroutine_function(getattr(responder, "__func__", responder))


_create_ssl_context = httpx.create_ssl_context


@functools.cache
def _trusting_all() -> ssl.SSLContext:
    return _create_ssl_context()


def _ssl_context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    if verify is True and cert is None:
        return _trusting_all()
    return _create_ssl_context(verify=verify, cert=cert, trust_env=trust_env)


def make_once() -> None:
    """Do so from now on, in this process."""
    # Falcon turns routes into Python and compiles that; of a few applications the text is the same.
    vars(compiled)["compile"] = functools.lru_cache(maxsize=64)(compile)
    # It asks of each responder of each route whether it is a coroutine, and most are its own.
    vars(compiled)["iscoroutinefunction"] = _is_coroutine_method
    # A file of the newest version: two thirds of the time were changes to tables that had no rows.
    vars(sqlite_file)["migrate"] = migrate_at_once
    # A client that is told nothing reads the system's authorities, which takes longer than its requests.
    vars(httpx_transports)["create_ssl_context"] = _ssl_context
