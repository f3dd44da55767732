"""When a connection is silent, and when it is better to begin a new one than to wait for it."""

from __future__ import annotations

from dataclasses import dataclass

_SILENT_S = 1.0
_SILENT_RTTS = 4.0
_PATIENCE_S = 6.0
"""Beyond this something between us and the server has forgotten the connection (NAT, a new address)."""

_WORTH_S = 1.5
"""A new connection costs a handshake and a small window; a retry that is due sooner is cheaper."""

_STILL_S = 15.0
"""A request that stands still for longer is said to. A server that works at something mostly answers before that;
what it reads of a large file for `blocks` may take longer on a slow disk."""

_OFTEN_FOR_S = 300.0
_OFTEN_S = 1.0
_SELDOM_S = 5.0


@dataclass(frozen=True, slots=True)
class Flow:
    """What the kernel knows of one connection at this moment."""

    outstanding: int
    """Packets sent and not acknowledged."""
    silent_s: float
    """Since anything was acknowledged, or since something is outstanding if that is less."""
    rtt_s: float
    retry_s: float
    """How long the kernel waits before it tries a lost packet again; doubles with each try."""
    gained: int = 0
    """Bytes acknowledged since the request began."""
    timeouts: int = 0
    still_s: float = 0.0
    """Since anything moved, either way, on a connection that carries a request."""
    unsent_bytes: int = 0
    """Handed to the kernel, and waiting until the other side takes more."""


class Silence:
    """How long one connection has been silent, by samples.

    The kernel's own time since the last byte was sent does not do: it counts each retry anew.
    """

    def __init__(self, began_s: float = 0.0, acked_bytes: int = 0) -> None:
        self.began_s = began_s
        self.acked_before = acked_bytes
        """On the same connection, before the request began."""
        self._acked_bytes = -1
        self._since_s = 0.0
        self._moved = (-1, -1)
        self._moved_s = began_s

    def lasts_s(
        self, now_s: float, *, outstanding: int, acked_bytes: int, last_ack_s: float
    ) -> float:
        """Return the seconds of silence, from a sample; *last_ack_s* is how long ago one came."""
        if outstanding == 0 or acked_bytes != self._acked_bytes:
            self._acked_bytes = acked_bytes
            self._since_s = now_s
        return min(last_ack_s, now_s - self._since_s)

    def still_s(self, now_s: float, *, acked_bytes: int, received_bytes: int) -> float:
        """Return the seconds in which no byte has got through, from a sample."""
        if (acked_bytes, received_bytes) != self._moved:
            self._moved = acked_bytes, received_bytes
            self._moved_s = now_s
        return now_s - self._moved_s


def is_silent(flow: Flow) -> bool:
    """Return whether so little is heard that somebody should look whether the link still works."""
    if flow.outstanding == 0:  # nothing to acknowledge: the server thinks, or its window is closed
        return False
    return flow.silent_s >= max(_SILENT_S, _SILENT_RTTS * flow.rtt_s)


def is_lost(flow: Flow) -> bool:
    """Return whether to give the connection up, now that the link is known to work."""
    if not is_silent(flow):
        return False
    worth_s = max(_WORTH_S, _SILENT_RTTS * flow.rtt_s)
    return flow.retry_s >= worth_s or flow.silent_s >= max(_PATIENCE_S, 2 * worth_s)


def why_still(flow: Flow) -> str | None:
    """Return what is known of a request that stands still, for a person; None: it moves."""
    if flow.still_s < _STILL_S:
        return None
    what = f"nothing has moved for more than {_STILL_S:.0f} s: "
    if flow.outstanding:
        what += "what was sent is not acknowledged, so the link is lost, or something on the way drops it"
    elif flow.unsent_bytes:
        what += "who takes the bytes (the server, or a proxy on the way) takes no more of them"
    else:
        what += (
            "all that was sent was taken, and no answer comes: the server is busy with it, or something"
            " on the way (a firewall, a proxy) has swallowed it"
        )
    return f"{what}; it goes on over a new connection by itself"


def probe_interval_s(away_s: float) -> float:
    """Return the time between two looks at a link that has been away for *away_s*.

    Each second, so that a fly-by of seconds is used; after minutes it is no fly-by, and a server that
    is down shall not be knocked at by every device each second.
    """
    return _OFTEN_S if away_s < _OFTEN_FOR_S else _SELDOM_S
