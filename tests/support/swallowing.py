"""A way to a server that, once told to, takes every byte and passes none on: a link that is lost behind a proxy."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

Address = str | tuple[str, int]
"""A path, or a host and a port."""


class Swallowing:
    """Listens at one address for what is at another one."""

    def __init__(self, here: Address, there: Address) -> None:
        self._there = there
        self._lock = threading.Lock()
        self._swallows = False
        self._open: list[socket.socket] = []
        self._lost: set[socket.socket] = set()
        """What has swallowed something: nothing comes through there any more."""
        self._listener = _socket(here)
        self._listener.bind(here)
        self._listener.listen(256)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def swallow(self) -> None:
        """Pass nothing on from here on; connections are taken as before."""
        with self._lock:
            self._swallows = True
            self._lost.update(self._open)

    def go_on(self) -> None:
        """Let new connections through; those that were open stay lost."""
        with self._lock:
            self._swallows = False

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = _socket(self._there)
                far.connect(self._there)
            except OSError:
                return
            with self._lock:
                self._open += [near, far]
                if self._swallows:
                    self._lost.update((near, far))
            for pair in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=self._pass, args=pair, daemon=True))
                self._threads[-1].start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65_536):
                if source not in self._lost:
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
