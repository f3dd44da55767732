"""A tap on TCP connections to a port of this machine: every byte of both directions is counted."""

from __future__ import annotations

import builtins
import socket

from demo.ports import LOOPBACK
from tests.support.relay import Relay


class Tap(Relay):
    """Listens on a port of its own and passes everything on."""

    def __init__(self, port: int) -> None:
        super().__init__((LOOPBACK, 0), (LOOPBACK, port))
        self._bytes = 0

    @property
    def bytes(self) -> int:
        with self._lock:
            return self._bytes

    def _passes(self, _source: socket.socket, piece: builtins.bytes) -> bool:
        with self._lock:
            self._bytes += len(piece)
        return True
