"""What the kernel tells about a TCP connection; the only module that knows ``struct tcp_info``."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

from edge_agent.base.helper import only_helps

_OF_WORDS = 8
"""The 32-bit words begin after eight single bytes."""
_LENGTH = 216
_LEAST_LENGTH = 168
"""Of kernel 4.9; what is counted behind it came with 4.19."""
_WORDS = struct.Struct("=24I")
_BYTES = struct.Struct("=QQ")
_UNSENT = struct.Struct("=I")
_SHORTEST_RTT = struct.Struct("=I")
_SENT = struct.Struct("=QQ")
_TIMEOUTS, _PROBES = 2, 3
_RTO, _MSS, _UNACKED, _LAST_ACK, _RTT, _WINDOW = (0, 2, 4, 12, 15, 18)


@dataclass(frozen=True, slots=True)
class TcpInfo:
    outstanding: int
    """Packets sent and not acknowledged."""
    last_ack_s: float
    """How long ago anything was acknowledged."""
    rtt_s: float
    retry_s: float
    """How long the kernel waits before it tries a lost packet again; doubles with each try."""
    acked_bytes: int
    """Of the whole connection, headers and TLS included."""
    received_bytes: int = 0
    """The same, the other way."""
    timeouts: int = 0
    """How often in a row the oldest of them was sent again for nothing."""
    probes: int = 0
    """Keepalives that were sent and not answered."""
    in_flight_bytes: int = 0
    """About what is outstanding: packets by the usual size of one."""
    sent_bytes: int = 0
    """Of the whole connection, what was sent again included."""
    resent_bytes: int = 0
    window_bytes: int = 0
    """So much may be outstanding."""
    unsent_bytes: int = 0
    """Handed to the kernel, and never sent so far."""
    shortest_rtt_s: float = 0.0
    """Of the last five minutes: what a round trip takes when nothing waits on the way."""


def read(live: socket.socket) -> TcpInfo | None:
    """Return what the kernel knows; None: not connected, or a kernel older than 4.9."""
    with only_helps("TCP_INFO", instead="a dead connection is noticed some seconds later"):
        return _read(live)
    return None


def _read(live: socket.socket) -> TcpInfo | None:
    try:
        raw = live.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LENGTH)
    except OSError:
        return None
    if len(raw) < _LEAST_LENGTH:
        return None
    words = _WORDS.unpack_from(raw, _OF_WORDS)
    sent, resent = _SENT.unpack_from(raw, 200) if len(raw) >= _LENGTH else (0, 0)
    acked, received = _BYTES.unpack_from(raw, 120)
    return TcpInfo(
        outstanding=words[_UNACKED],
        last_ack_s=words[_LAST_ACK] / 1000,
        rtt_s=words[_RTT] / 1_000_000,
        retry_s=words[_RTO] / 1_000_000,
        acked_bytes=acked,
        received_bytes=received,
        timeouts=raw[_TIMEOUTS],
        probes=raw[_PROBES],
        in_flight_bytes=words[_UNACKED] * words[_MSS],
        sent_bytes=sent,
        resent_bytes=resent,
        window_bytes=words[_WINDOW] * words[_MSS],
        unsent_bytes=_UNSENT.unpack_from(raw, 144)[0],
        shortest_rtt_s=_SHORTEST_RTT.unpack_from(raw, 148)[0] / 1_000_000,
    )


def congestion_control(live: socket.socket) -> str:
    """Return the name of what decides how much of *live* may be on its way; empty: not known."""
    with only_helps("TCP_CONGESTION", instead="its name is not known"), suppress(OSError):
        return _congestion_control(live)
    return ""


def _congestion_control(live: socket.socket) -> str:
    raw = live.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return raw.partition(b"\0")[0].decode("ascii", "replace")
