"""What the kernel tells about a TCP connection; the only module that knows ``struct tcp_info``."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

_OF_WORDS = 8
"""The 32-bit words begin after eight single bytes."""
_LENGTH = 192
_WORDS = struct.Struct("=24I")
_BYTES_ACKED = struct.Struct("=Q")
_NOTSENT = struct.Struct("=I")
_DELIVERY_RATE = struct.Struct("=Q")
_RTO, _UNACKED, _LAST_ACK, _RTT, _RETRANSMITS = 0, 4, 12, 15, 23


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
    not_sent_bytes: int
    retransmits: int
    """Packets, of the whole connection."""
    delivery_bytes_per_s: int


def read(live: socket.socket) -> TcpInfo | None:
    """Return what the kernel knows; None: not connected, or a kernel older than 4.19."""
    try:
        raw = live.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LENGTH)
    except OSError:
        return None
    if len(raw) < _DELIVERY_RATE.size + 160:
        return None
    words = _WORDS.unpack_from(raw, _OF_WORDS)
    return TcpInfo(
        outstanding=words[_UNACKED],
        last_ack_s=words[_LAST_ACK] / 1000,
        rtt_s=words[_RTT] / 1_000_000,
        retry_s=words[_RTO] / 1_000_000,
        acked_bytes=_BYTES_ACKED.unpack_from(raw, 120)[0],
        not_sent_bytes=_NOTSENT.unpack_from(raw, 144)[0],
        retransmits=words[_RETRANSMITS],
        delivery_bytes_per_s=_DELIVERY_RATE.unpack_from(raw, 160)[0],
    )
