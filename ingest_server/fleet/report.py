"""The report of a device, read: what may be in it, and how much of it; pure.

Whoever writes it is not trusted: each part has a bound, and a report that goes beyond one is refused as a
whole, so that nothing of it is half taken. Members that are not known are left out of account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingest_server.fleet.values import encoded, inner, text, version, whole
from upload_protocol.members import MessageError, object_of, optional, required

KIB = 1024
MOST_BYTES = 64 * KIB
MOST_OF = {"info": 8 * KIB, "state": 8 * KIB, "files": 32 * KIB, "reported": 8 * KIB}
"""Bytes of each document, as JSON without spaces."""
MOST_EVENT = 8 * KIB
MOST_RESULT = 16 * KIB
MOST_AT_ONCE = 20
"""Acknowledgements and events in one report; rows of files of each kind."""

LEAST_NEXT_S, MOST_NEXT_S = 5.0, 7200.0

STATUSES = frozenset({"accepted", "done", "rejected", "expired", "failed", "duplicate"})
_OF_A_FIRST = ("accepted", "done", "failed")


@dataclass(frozen=True, slots=True)
class ToldAnswer:
    """The acknowledgement of a command."""

    id: str
    status: str
    code: str | None
    message: str | None
    result: Mapping[str, Any] | None
    first_status: str | None = None
    """Of a duplicate: what the command has come to; None: an older agent, which does not say."""


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """Something that happened on the device."""

    id: str
    type: str
    seq: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """One report; what is None was not in it."""

    device: str | None
    """Who it says it is: believed only where no credential says it."""
    boot_id: str
    run_id: str
    seq: int
    next_s: float
    clock: str
    is_farewell: bool
    """The run ends with it."""
    info: Mapping[str, Any] | None
    state: Mapping[str, Any] | None
    documents: Mapping[str, bytes]
    """What is in it of `MOST_OF`, as JSON."""
    reported_version: int | None
    acks: tuple[ToldAnswer, ...]
    events: tuple[ToldEvent, ...]
    holds: tuple[str, int] | None
    """Epoch and change up to which the device could tell what it holds."""

    @classmethod
    def from_json(cls, source: object) -> Report:
        """Read it.

        Raises:
            MessageError: it has not the form, or goes beyond a bound; the text names the member.
        """
        given = object_of(source)
        if required(given, "v", int) != 1:
            raise MessageError("'v' must be 1: this server knows no other form of a report")
        documents = {
            name: encoded(found, name, most)
            for name, most in MOST_OF.items()
            if (found := optional(given, name, dict)) is not None
        }
        _refuse_many_rows(inner(given.get("files")))
        return cls(
            device=optional(given, "device", str),
            boot_id=parse_id(given, "boot_id"),
            run_id=parse_id(given, "run_id"),
            seq=max(0, required(given, "seq", int)),
            next_s=_next_s(given.get("next_s")),
            clock="synced" if given.get("clock") == "synced" else "unsynced",
            is_farewell=given.get("status") == "offline",
            info=optional(given, "info", dict),
            state=optional(given, "state", dict),
            documents=documents,
            reported_version=version(inner(given.get("reported")).get("version")),
            acks=tuple(read_ack(one) for one in _list(given, "acks")),
            events=tuple(read_event(one) for one in _list(given, "events")),
            holds=_holds(optional(given, "holds", dict)),
        )


def read_ack(source: object) -> ToldAnswer:
    """Read the acknowledgement of a command.

    Raises:
        MessageError: it is none.
    """
    given = object_of(source)
    status = required(given, "status", str)
    if status not in STATUSES:
        msg = f"'status' of an acknowledgement is one of {', '.join(sorted(STATUSES))}"
        raise MessageError(msg)
    result = optional(given, "result", dict)
    first = given.get("first_status")
    encoded(result, "result", MOST_RESULT)
    return ToldAnswer(
        parse_id(given, "id"),
        status,
        text(given.get("code"), 64),
        text(given.get("message"), 1000),
        result,
        first if status == "duplicate" and first in _OF_A_FIRST else None,
    )


def read_event(source: object) -> ToldEvent:
    """Read something that happened on a device.

    Raises:
        MessageError: it is no such thing, or too large.
    """
    given = object_of(source)
    kind = text(required(given, "type", str), 100) or ""
    return ToldEvent(
        parse_id(given, "id"),
        kind,
        whole(given.get("seq")) or 0,
        encoded(given, "event", MOST_EVENT),
    )


def parse_id(given: Mapping[str, Any], name: str) -> str:
    """Return an id that a device made.

    Raises:
        MessageError: it is none.
    """
    found = required(given, name, str)
    if not 0 < len(found) <= 128 or not found.isprintable():
        msg = f"{name!r} must have 1 to 128 printable characters"
        raise MessageError(msg)
    return found


def _next_s(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise MessageError("'next_s' must be the seconds until the next report, at the latest")
    return float(min(max(value, LEAST_NEXT_S), MOST_NEXT_S))


def _list(given: Mapping[str, Any], name: str) -> list[Any]:
    found = optional(given, name, list) or []
    if len(found) > MOST_AT_ONCE:
        msg = f"{name!r} has {len(found)} entries, at most {MOST_AT_ONCE} are taken at once"
        raise MessageError(msg)
    return found


def _refuse_many_rows(files: Mapping[str, Any]) -> None:
    for name in ("pending", "failed"):
        for row in _list(files, name):
            object_of(row)


def _holds(given: Mapping[str, Any] | None) -> tuple[str, int] | None:
    if given is None:
        return None
    return parse_id(given, "epoch"), max(0, required(given, "through", int))
