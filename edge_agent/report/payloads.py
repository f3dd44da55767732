"""What is told to a broker; pure.

Below ``<prefix>/v1/<device>/``: ``status`` (presence, retained, last will), ``info`` (what the agent is,
retained), ``state`` (what it does now, retained, newest wins), ``event`` (what happened, never lost),
``cmd`` and its answers ``cmd/ack``, and the settings, ``desired`` and ``reported`` (both retained).
``docs/mqtt.md`` is the page for their readers, ``schemas/`` has each as a JSON Schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from edge_agent.report.timing import Timing

KIB: Final = 1024
VERSION: Final = 1
"""Of the payloads and of the topic tree; keys are added within it, never removed."""

MAX_MESSAGE_BYTES: Final = 8 * KIB
"""Of one payload. Brokers limit what they take and MQTT 3.1.1 cannot say how much; a message over
the limit ends the connection, and a client that repeats it reconnects for ever."""

_PACKET_OVERHEAD_BYTES: Final = 128
"""Fixed header, packet id and the MQTT 5 properties that we set; the topic comes on top."""


_LONGEST: Final = 60
_MOST_PROBLEMS: Final = 8
"""Of a sentence or name, and of problems, in a state that was too long."""


@dataclass(frozen=True, slots=True)
class Topics:
    status: str
    info: str
    state: str
    event: str
    command: str
    ack: str
    desired: str
    reported: str

    @classmethod
    def of(cls, prefix: str, device_id: str) -> Topics:
        root = f"{prefix.strip('/')}/v{VERSION}/{device_id}"
        return cls(
            status=f"{root}/status",
            info=f"{root}/info",
            state=f"{root}/state",
            event=f"{root}/event",
            command=f"{root}/cmd",
            ack=f"{root}/cmd/ack",
            desired=f"{root}/desired",
            reported=f"{root}/reported",
        )


def encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )


def online(*, boot_id: str, run_id: str, session: int, reason: str, ts: str) -> dict[str, Any]:
    """Return the ``status`` of a connected agent; *reason* is ``start`` or ``reconnect``."""
    return _status("online", boot_id, run_id, session) | {"reason": reason, "ts": ts}


def offline(
    *, boot_id: str, run_id: str, session: int, reason: str, ts: str | None = None
) -> dict[str, Any]:
    """Return the ``status`` of an agent that left.

    With reason ``lost`` it is the last will: fixed when the session begins, so it bears no time.
    """
    return _status("offline", boot_id, run_id, session) | {"reason": reason, "ts": ts}


def _status(status: str, boot_id: str, run_id: str, session: int) -> dict[str, Any]:
    return {
        "v": VERSION,
        "status": status,
        "boot_id": boot_id,
        "run_id": run_id,
        "session": session,
    }


@dataclass(frozen=True, slots=True)
class Presence:
    """What a ``status`` message says, whoever wrote it."""

    is_online: bool
    boot_id: str
    run_id: str
    """Of one process: containers of one host share its boot."""
    session: int


def read_presence(payload: bytes) -> Presence | None:
    """Return what a ``status`` message says; None: it is none."""
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or document.get("status") not in {"online", "offline"}:
        return None
    session = document.get("session")
    return Presence(
        is_online=document["status"] == "online",
        boot_id=str(document.get("boot_id")),
        run_id=str(document.get("run_id")),
        session=session if isinstance(session, int) else 0,
    )


_ABOUT: Final[Mapping[str, Any]] = {
    "version": None,
    "host": {"model": None, "os": None, "arch": None},
    "commands": [],
    "settings": [],
    "transports": ["mqtt"],
}
"""The keys that are always there."""


def birth(
    device_id: str, *, boot_id: str, timing: Timing, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the ``info`` document: what the agent is, with *about* from the composition root."""
    return {
        "v": VERSION,
        "device": device_id,
        "boot_id": boot_id,
        "telemetry": {"interval_s": timing.interval_s, "heartbeat_s": 10 * timing.interval_s},
        "schema": f"edgeup/v{VERSION}",
        **_ABOUT,
        **about,
    }


class Happened(Protocol):
    """An event of the outbox."""

    @property
    def seq(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Any]: ...
    @property
    def created_at(self) -> str: ...
    @property
    def clock(self) -> str: ...
    @property
    def boot_id(self) -> str: ...
    @property
    def mono_ms(self) -> int: ...


def shorter(state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield *state* in ever shorter forms, for a broker of small packets: all keys are there, some ``null`` or cut."""
    current = state["current"]
    short = {
        **state,
        "blocked_detail": _cut(state["blocked_detail"]),
        "current": current and {**current, "name": _cut(current["name"])},
        "problems": state["problems"][:_MOST_PROBLEMS],
        "left_out": None,
        "folders": [],
        "notes": [],
    }
    yield short
    yield {**short, "link": None}
    yield {**short, "link": None, "disk": None, "blocked_detail": None}


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def cloud_event(event: Happened, device_id: str) -> dict[str, Any]:
    """Return *event* as CloudEvents 1.0 in structured mode, the one that MQTT 3.1.1 can carry too.

    ``clock`` and ``monoms`` let a reader place an event that was made before the device knew the
    time: a later one of the same ``bootid`` with a synchronised clock gives the difference.
    """
    document = {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/devices/{device_id}",
        "type": f"edgeup.{event.type}",
        "time": event.created_at,
        "datacontenttype": "application/json",
        "seq": event.seq,
        "bootid": event.boot_id,
        "clock": event.clock,
        "monoms": event.mono_ms,
        "data": dict(event.data),
    }
    if event.subject:  # the specification forbids an empty one
        document["subject"] = event.subject
    return document


def excess_bytes(topic: str, payload: bytes, *, maximum_packet_bytes: int | None) -> int:
    """Return by how much a message is too large for us or for the broker; 0: it fits."""
    limit = MAX_MESSAGE_BYTES
    if maximum_packet_bytes is not None:
        limit = min(limit, maximum_packet_bytes - len(topic.encode()) - _PACKET_OVERHEAD_BYTES)
    return max(0, len(payload) - limit)
