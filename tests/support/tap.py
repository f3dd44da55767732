"""A tap on TCP connections to a port of this machine: every byte of both directions is counted."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

from demo.ports import LOOPBACK


class Tap:
    """Listens on a port of its own and passes everything on, TLS and all."""

    def __init__(self, port: int) -> None:
        self._target = (LOOPBACK, port)
        self._lock = threading.Lock()
        self._bytes = 0
        self._listener = socket.create_server((LOOPBACK, 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def bytes(self) -> int:
        with self._lock:
            return self._bytes

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target, timeout=10)
            except OSError:
                return
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open += [near, far]
            for pair in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=self._pass, args=pair, daemon=True))
                self._threads[-1].start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65_536):
                with self._lock:
                    self._bytes += len(piece)
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
