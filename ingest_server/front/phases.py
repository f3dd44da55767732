"""What a connection waits for."""

from __future__ import annotations

import enum

HAS_LEFT = "edge_uploader.has_left"
"""In a request's environ: tells, at any moment, whether its client has closed the connection."""


class Phase(enum.Enum):
    """What a connection waits for while it is parked."""

    IDLE = enum.auto()
    HANDSHAKE = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    TURN = enum.auto()
    """For its turn, not for bytes."""
    ANSWER = enum.auto()
    """For the peer to read."""
    SLICE = enum.auto()
    """For a turn to send more of an answer."""
    HELD = enum.auto()
    """For its answer to be let go."""
    LINGER = enum.auto()


TURNS = frozenset({Phase.TURN, Phase.SLICE})
"""It waits for others, not for its peer."""
ANSWERING = frozenset({Phase.ANSWER, Phase.SLICE, Phase.HELD})
AFTER = ANSWERING | {Phase.LINGER}
"""Nothing that the peer sends is looked at."""
