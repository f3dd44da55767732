"""What goes to a session with the broker and what is heard of it, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

UNSUPPORTED_VERSION: Final = 132
LOGIN_REFUSED: Final = frozenset({134, 135, 138, 140})
"""Bad user name or password, not authorised, banned, bad authentication method."""
NOT_AUTHORISED: Final = 135
SESSION_TAKEN_OVER: Final = 142
PACKET_TOO_LARGE: Final = 149


@dataclass(frozen=True, slots=True)
class Message:
    topic: str
    payload: bytes
    qos: int = 1
    is_retained: bool = False
    expiry_s: int | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """The TCP connection (and TLS) stands; the broker has not answered yet."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker took us; None: it names no limit."""

    is_session_present: bool
    maximum_packet_bytes: int | None
    receive_maximum: int
    maximum_qos: int
    takes_retained: bool


@dataclass(frozen=True, slots=True)
class Acknowledged:
    mid: int
    code: int
    """128 and above: refused. MQTT 3.1.1 knows only success."""
    reason: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """What we want to hear, with QoS 1."""

    topic: str
    wants_retained: bool = True
    """Whether the broker is to send what it has kept there (MQTT 3.1.1 always does)."""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The broker's word on one `Subscription`."""

    mid: int
    code: int
    """128 and above: refused."""
    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """A message; the broker forgets it when the session was told to acknowledge it."""

    topic: str
    payload: bytes
    is_retained: bool = False
    """The broker had kept it: nobody says when it was sent."""
    mid: int = 0
    qos: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over; nothing more is heard of it."""

    code: int
    """The broker's reason code; 0 where it gave none."""
    reason: str
    was_answered: bool
    """Whether anybody on the other side answered the CONNECT, with a yes or a no."""
    was_reached: bool
    """Whether the TCP connection (and TLS) stood."""
    was_refused: bool = False
    """By us: the broker sent what we do not take, and may have it for the next session again."""


Heard = Reached | Connected | Acknowledged | Subscribed | Received | Ended
