"""What would come out the same for each test is made once in a process: routes, schemas, authorities.

Each test has an application, databases and a client of its own. Most of the time that they took to make was
spent on what does not differ between them.
"""

from __future__ import annotations

import functools
import inspect
import sqlite3
import ssl
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
def in_one_step(migrations: tuple[str, ...]) -> tuple[str, ...]:
    """Return as many steps as *migrations*, the first of which leads from nothing to the newest version.

    The same file comes out; no table is changed on the way to it.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        migrate_in_steps(made, Path(), migrations, copy="", too_new=RuntimeError)
        script = [line for line in made.iterdump() if line not in {"BEGIN TRANSACTION;", "COMMIT;"}]
    return ("\n".join(script), *[""] * (len(migrations) - 1))


def _migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[str], **options: Any
) -> None:
    if migrations in SCHEMAS and sqlite_file.version(connection) == 0:
        migrations = in_one_step(tuple(migrations))
    migrate_in_steps(connection, path, migrations, **options)


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
    vars(sqlite_file)["migrate"] = _migrate
    # A client that is told nothing reads the system's authorities, which takes longer than its requests.
    vars(httpx_transports)["create_ssl_context"] = _ssl_context
