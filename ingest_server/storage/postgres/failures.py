"""What an error of PostgreSQL means, and what of it is told to whom."""

from __future__ import annotations

import psycopg
from psycopg import errors

from ingest_server.core.errors import StateError, StateFailed

BUSY_RETRY_S = 5.0
_OF_A_STANDBY = (
    *("standby", "during recovery"),
    # PostgreSQL's own functions, which say it where its words are not English.
    *("call_enum_check_hook", "GetSerializableTransactionSnapshot", "get_relation_info"),
)


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


def is_read_only(error: psycopg.Error) -> bool:
    """Whether this connection leads to a database that takes no writes: a standby, or one that was made so."""
    if isinstance(error, errors.FeatureNotSupported):
        # A standby says so of all that is serializable, and of a table without a log. Much else is not supported, too.
        said = f"{error} {error.diag.source_function}"
        return any(one in said for one in _OF_A_STANDBY)
    return isinstance(error, errors.ReadOnlySqlTransaction)


def is_away(error: psycopg.Error) -> bool:
    """Whether the database does nothing for anybody now, and an operator may have to see to it."""
    known = errors.TooManyConnections | errors.DiskFull
    return is_lost(error) or is_read_only(error) or isinstance(error, known)


def failed(error: psycopg.Error) -> StateFailed:
    """Return what a client is told about *error*."""
    if is_read_only(error):
        return StateFailed(
            "server-busy", "the server's database takes no writes now", retry_after_s=BUSY_RETRY_S
        )
    if isinstance(error, errors.DiskFull | errors.OutOfMemory):
        return StateFailed("storage-full", "the server's database cannot grow", retry_after_s=60)
    # QueryCanceled: it took longer than one statement may.
    if is_conflict(error) or isinstance(error, errors.LockNotAvailable | errors.QueryCanceled):
        return StateFailed(
            "server-busy", "the server's database is busy", retry_after_s=BUSY_RETRY_S
        )
    if is_away(error):
        return StateFailed(
            "server-busy", "the server's database does not answer", retry_after_s=BUSY_RETRY_S
        )
    return StateFailed("storage-failed", f"the server's database failed ({first_line(error)})")


def meaning(error: psycopg.Error) -> str:
    """Return why the database cannot be used now, what that means, and what to do."""
    todo = (
        "see whether PostgreSQL runs and has connections left (max_connections), and whether [storage] state leads "
        "there with a password that is right"
    )
    if is_read_only(error):
        todo = (
            "it is a standby, or was made read-only: let the address lead to the primary, or name all hosts with "
            "?target_session_attrs=read-write"
        )
    elif isinstance(error, errors.DiskFull):
        todo = "its disk is full"
    return (
        f"{first_line(error)}. Requests are refused, and nothing that was acknowledged is lost; it is tried "
        f"again with each. What to do: {todo}"
    )


def unusable(error: psycopg.Error, where: str) -> StateError:
    """Return why the server cannot start with the database at *where*, and what to do."""
    what = first_line(error)
    if isinstance(error, errors.InsufficientPrivilege):
        return StateError(
            f"{where} lets us in and nothing more ({what}): the user must own the database's schema. As "
            "its owner: GRANT ALL ON SCHEMA public TO that user"
        )
    if is_read_only(error):
        return StateError(
            f"{where} is read-only ({what}): it is a standby, or was made so. Name the primary, or several hosts with "
            "?target_session_attrs=read-write"
        )
    return StateError(
        f"cannot use the database {where} ({what}): see [storage] state, and whether PostgreSQL runs there"
    )


def first_line(error: psycopg.Error) -> str:
    """Return what PostgreSQL said, without where and how."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
