"""A way to a server that, once told to, takes every byte and passes none on: a link that is lost behind a proxy."""

from __future__ import annotations

import socket
import threading
from typing import Literal

from tests.support.relay import Address, Relay


class Swallowing(Relay):
    """Passes on until it is told to swallow."""

    def __init__(self, here: Address, there: Address) -> None:
        super().__init__(here, there)
        self._swallows = False
        self._lost: set[socket.socket] = set()
        """What has swallowed something: nothing comes through there any more."""

    def swallow(self) -> None:
        """Pass nothing on from here on; connections are taken as before."""
        with self._lock:
            self._swallows = True
            self._lost.update(self._open)

    def go_on(self) -> None:
        """Let new connections through; those that were open stay lost."""
        with self._lock:
            self._swallows = False

    def _opened(self, near: socket.socket, far: socket.socket) -> None:
        if self._swallows:
            self._lost.update((near, far))

    def _passes(self, source: socket.socket, _piece: bytes) -> bool:
        return source not in self._lost


class Short(Relay):
    """Lets so many bytes of the client's through each connection; of what comes then it takes all, or none."""

    def __init__(
        self, here: Address, there: Address, most: int, *, then: Literal["takes all", "takes none"]
    ) -> None:
        super().__init__(here, there)
        self._most = most
        self._then = then
        self._left: dict[socket.socket, int] = {}
        self._is_over = threading.Event()

    def _opened(self, near: socket.socket, far: socket.socket) -> None:
        self._left[near] = self._most

    def _passes(self, source: socket.socket, piece: bytes) -> bool:
        if source not in self._left:
            return True
        self._left[source] -= len(piece)
        is_through = self._left[source] >= 0
        if not is_through and self._then == "takes none":
            self._is_over.wait()
        return is_through

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        super().__exit__(*error)
