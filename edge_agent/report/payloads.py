"""What is told to a broker, and when; pure.

Four topics below ``<prefix>/v1/<device>/``: ``status`` (presence, retained, last will), ``info`` (what
the agent is, retained), ``state`` (what it does now, retained, newest wins) and ``event`` (what
happened, never lost). ``docs/mqtt.md`` is the page for their readers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

KIB: Final = 1024
VERSION: Final = 1
"""Of the payloads and of the topic tree; keys are added within it, never removed."""

MAX_MESSAGE_BYTES: Final = 8 * KIB
"""Of one payload. Brokers limit what they take and MQTT 3.1.1 cannot say how much; a message over
the limit ends the connection, and a client that repeats it reconnects for ever."""

_PACKET_OVERHEAD_BYTES: Final = 128
"""Fixed header, packet id and the MQTT 5 properties that we set; the topic comes on top."""


@dataclass(frozen=True, slots=True)
class Topics:
    status: str
    info: str
    state: str
    event: str

    @classmethod
    def of(cls, prefix: str, device_id: str) -> Topics:
        root = f"{prefix.strip('/')}/v{VERSION}/{device_id}"
        return cls(f"{root}/status", f"{root}/info", f"{root}/state", f"{root}/event")


@dataclass(frozen=True, slots=True)
class Timing:
    """Every duration of the reporter, in seconds."""

    min_gap_s: float = 2.0
    """Between two ``state`` messages: a burst of changes becomes one message."""
    look_gap_s: float = 0.5
    """Between two looks at the agent: making the document costs a database query."""
    interval_s: float = 30.0
    """Between two ``state`` messages while something goes on."""
    poll_s: float = 20.0
    """Longest wait of a step while an answer is due: what nobody woke us for is found then."""
    calm_s: float = 60.0
    """Longest wait of a step while none is: each wakes the board."""
    connect_s: float = 45.0
    """For name, route, TCP and TLS; longer is a broker that is not there."""
    answer_s: float = 10.0
    """For the broker's answer to the CONNECT; some that know 3.1.1 only never give one to MQTT 5."""
    acknowledge_s: float = 120.0
    """For one acknowledgement on a connection that lives; longer is a broker that is stuck."""
    echo_s: float = 10.0
    """For our own ``status`` to come back on MQTT 3.1.1."""
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 60.0
    refused_base_s: float = 30.0
    """After a refused login or a stolen session: a person has to act, hammering helps nobody."""
    refused_cap_s: float = 900.0
    stable_s: float = 30.0
    """A session that lived this long clears the count of failures."""
    retry_refused_s: float = 3600.0
    """Between two offers of messages that the broker refused: its rules may have been mended."""
    duplicate_s: float = 1800.0
    """So long after its last trace the other client with our id counts as gone; longer than the two
    can wait for each other."""
    will_delay_s: int = 30
    """How long the broker waits with the last will (MQTT 5): a short cut is no alarm."""
    session_s: int = 86_400
    """How long the broker keeps our session."""
    state_expiry_s: int = 86_400
    """How long the broker keeps a ``state`` that nobody renews."""
    fallback_s: float = 86_400.0
    """How long MQTT 3.1.1 is remembered for a broker that refused MQTT 5."""


# --- when -----------------------------------------------------------------------------------


def state_wait_s(
    sent: Mapping[str, Any] | None,
    now: Mapping[str, Any],
    *,
    age_s: float,
    timing: Timing,
) -> float:
    """Return the seconds until *now* should be published; 0: at once.

    At once when something changed that a person would act on, or the percentage moved by five, but
    never sooner than ``min_gap_s`` after the last; otherwise by the clock: the interval while the
    agent is busy, ten times that while nothing happens, ten times either on a metered link.

    Args:
        sent: the last document that was published in this session; None: none.
        age_s: since then.
    """
    if sent is None:
        return 0.0
    if _landmarks(sent) != _landmarks(now) or _has_progressed(sent, now):
        return max(0.0, timing.min_gap_s - age_s)
    interval = timing.interval_s
    if now.get("state") == "idle":
        interval *= 10
    if (now.get("link") or {}).get("metered"):
        interval *= 10 if interval == timing.interval_s else 3
    return max(0.0, interval - age_s)


def _landmarks(document: Mapping[str, Any]) -> tuple[object, ...]:
    """Return what makes two states different things rather than two readings of one."""
    queue = document.get("queue") or {}
    totals = document.get("totals") or {}
    return (
        document.get("state"),
        document.get("blocked_by"),
        document.get("paused"),
        document.get("limit_bytes_per_s"),
        document.get("clock"),
        tuple(document.get("problems") or ()),
        queue.get("failed"),
        totals.get("files_done"),
        (document.get("current") or {}).get("file_id"),
    )


def _has_progressed(sent: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    before = (sent.get("current") or {}).get("percent")
    after = (now.get("current") or {}).get("percent")
    if before is None or after is None:
        return bool(before != after)
    return bool(abs(after - before) >= 5)


def reconnect_wait_s(failures: int, *, base_s: float, cap_s: float, jitter: float) -> float:
    """Return the seconds to wait after *failures* sessions in a row that came to nothing.

    ``(1 + jitter) / 2 * min(cap, base * 2**(failures - 1))``: exponential with "equal jitter". Half of
    the wait is certain, because a broker that refuses a login must not be asked at once again; the
    other half spreads a fleet whose broker has just come back.

    Args:
        failures: at least 1.
        jitter: a draw from ``[0, 1)``.
    """
    exponent = min(failures - 1, 32)
    return (1 + jitter) / 2 * min(cap_s, base_s * 2.0**exponent)


# --- what -----------------------------------------------------------------------------------


def encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )


def online(*, boot_id: str, session: int, reason: str, ts: str) -> dict[str, Any]:
    """Return the ``status`` of a connected agent; *reason* is ``start`` or ``reconnect``."""
    return _status("online", boot_id, session) | {"reason": reason, "ts": ts}


def offline(*, boot_id: str, session: int, reason: str, ts: str | None = None) -> dict[str, Any]:
    """Return the ``status`` of an agent that left.

    With reason ``lost`` it is the last will: fixed when the session begins, so it bears no time.
    """
    return _status("offline", boot_id, session) | {"reason": reason, "ts": ts}


def _status(status: str, boot_id: str, session: int) -> dict[str, Any]:
    return {"v": VERSION, "status": status, "boot_id": boot_id, "session": session}


@dataclass(frozen=True, slots=True)
class Presence:
    """What a ``status`` message says, whoever wrote it."""

    is_online: bool
    boot_id: str
    session: int


def read_presence(payload: bytes) -> Presence | None:
    """Return what a ``status`` message says; None: it is none."""
    try:
        document = json.loads(payload)
    except ValueError:
        return None
    if not isinstance(document, dict) or document.get("status") not in {"online", "offline"}:
        return None
    session = document.get("session")
    return Presence(
        is_online=document["status"] == "online",
        boot_id=str(document.get("boot_id")),
        session=session if isinstance(session, int) else 0,
    )


def birth(
    device_id: str, *, boot_id: str, timing: Timing, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the ``info`` document: what the agent is, with *about* from the composition root."""
    return {
        "v": VERSION,
        "device": device_id,
        "boot_id": boot_id,
        "telemetry": {"interval_s": timing.interval_s, "heartbeat_s": 10 * timing.interval_s},
        "commands": [],
        "schema": f"edgeup/v{VERSION}",
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


# --- which protocol -------------------------------------------------------------------------


def fallback_note(broker: str, *, boot_id: str, now_s: float, timing: Timing) -> dict[str, Any]:
    """Return what to remember of a broker that does not speak MQTT 5.

    By the monotonic clock within one boot and by a count of starts across boots: wall time may be
    wrong on a board without a battery.
    """
    return {
        "broker": broker,
        "boot_id": boot_id,
        "until_s": now_s + timing.fallback_s,
        "starts_left": 20,
    }


def remembers_fallback(note: object, broker: str, *, boot_id: str, now_s: float) -> bool:
    """Return whether *note* still says that *broker* wants MQTT 3.1.1."""
    if not isinstance(note, dict) or note.get("broker") != broker:
        return False
    if note.get("boot_id") == boot_id:
        return bool(now_s < note.get("until_s", 0))
    return bool(note.get("starts_left", 0) > 0)
