"""When something is told to a broker, and when a lost one is asked again; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Timing:
    """Every duration of the reporter, in seconds."""

    min_gap_s: float = 2.0
    """Between two ``state`` messages: a burst of changes becomes one message."""
    look_gap_s: float = 0.5
    """Between two looks at the agent: making the document costs a database query."""
    interval_s: float = 30.0
    """Between two ``state`` messages while something goes on."""
    metered_bytes_per_hour: int = 200_000
    """Of ``state`` messages over a metered link, while something is sent."""
    idle_bytes_per_hour: int = 20_000
    """The same, while nothing is."""
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
