"""A way to a server through this process: what kinds of it count, cut or swallow say so in two methods."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

Address = str | tuple[str, int]
"""A path, or a host and a port."""


class Relay:
    """Listens at one address for what is at another one, and passes everything on, TLS and all."""

    def __init__(self, here: Address, there: Address) -> None:
        self._there = there
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = _socket(here)
        self._listener.bind(here)
        self._listener.listen(256)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def _opened(self, near: socket.socket, far: socket.socket) -> None:
        """Note a new connection, whose two ends these are; under the lock."""

    def _passes(self, source: socket.socket, piece: bytes) -> bool:
        """Return whether *piece*, which came from *source*, is passed on."""
        return True

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = _socket(self._there)
                far.connect(self._there)
            except OSError:
                return
            for one in (near, far):
                if one.family != socket.AF_UNIX:
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open += [near, far]
                self._opened(near, far)
            for pair in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=self._pass, args=pair, daemon=True))
                self._threads[-1].start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65_536):
                if self._passes(source, piece):
                    sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(20)
        for one in (self._listener, *self._open):
            one.close()


def _socket(address: Address) -> socket.socket:
    return socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
