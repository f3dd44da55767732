"""What an error of PostgreSQL means, and what of it is told to whom."""

from __future__ import annotations

import psycopg
from psycopg import errors

from ingest_server.core.errors import StateError, StateFailed

BUSY_RETRY_S = 5.0


def is_conflict(error: psycopg.Error) -> bool:
    """Whether another transaction was in the way, and the same one may pass when it is run again."""
    return isinstance(error, errors.SerializationFailure | errors.DeadlockDetected)


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is gone: the database was restarted, or the way to it broke."""
    known = (
        errors.AdminShutdown
        | errors.CrashShutdown
        | errors.CannotConnectNow
        | errors.IdleInTransactionSessionTimeout
    )
    is_broken = isinstance(error, psycopg.OperationalError) and not error.sqlstate
    return is_broken or isinstance(error, known)


def failed(error: psycopg.Error) -> StateFailed:
    """Return what a client is told about *error*."""
    if isinstance(error, errors.DiskFull | errors.OutOfMemory):
        return StateFailed("storage-full", "the server's database cannot grow", retry_after_s=60)
    # QueryCanceled: it took longer than one statement may.
    if is_conflict(error) or isinstance(error, errors.LockNotAvailable | errors.QueryCanceled):
        return StateFailed(
            "server-busy", "the server's database is busy", retry_after_s=BUSY_RETRY_S
        )
    if is_lost(error) or isinstance(error, errors.TooManyConnections):
        return StateFailed(
            "server-busy", "the server's database does not answer", retry_after_s=BUSY_RETRY_S
        )
    return StateFailed("storage-failed", f"the server's database failed ({_first_line(error)})")


def unusable(error: psycopg.Error, where: str) -> StateError:
    """Return why the server cannot start with the database at *where*, and what to do."""
    what = _first_line(error)
    if isinstance(error, errors.InsufficientPrivilege):
        return StateError(
            f"{where} lets us in and nothing more ({what}): the user must own the database's schema. As "
            "its owner: GRANT ALL ON SCHEMA public TO that user"
        )
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return StateError(
            f"{where} is read-only ({what}): it is a standby. Name the primary, or several hosts with "
            "?target_session_attrs=read-write"
        )
    return StateError(
        f"cannot use the database {where} ({what}): see [storage] state, and whether PostgreSQL runs there"
    )


def _first_line(error: psycopg.Error) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
