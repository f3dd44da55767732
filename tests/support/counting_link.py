"""A TCP link that counts: what really goes over the wire from the client to the server."""

import contextlib
import socket
import threading
from typing import Self

from demo.ports import LOOPBACK

_BUFFER_BYTES = 256 * 1024
"""Of each socket of the link, so that what it holds back at a kill is bounded."""


class CountingLink:
    """Listens on a port of its own and passes bytes on, both ways, counting those to the server.

    It connects to the server before it reads from the client: where no server listens, nothing is
    taken from the client, so nothing is counted as sent.
    """

    def __init__(self, server_port: int) -> None:
        self._server = (LOOPBACK, server_port)
        self._lock = threading.Lock()
        self._sent = 0
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((LOOPBACK, 0), backlog=64)
        self._set_buffers(self._listener)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    @property
    def sent(self) -> int:
        """Bytes that came from the client so far, heads of requests included."""
        with self._lock:
            return self._sent

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(20)
        self._listener.close()
        with self._lock:
            still_open = list(self._open)
        for one in still_open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        upstream = socket.socket()
        self._set_buffers(upstream)
        with client, upstream:
            try:
                upstream.connect(self._server)
            except OSError:
                self._reset(client)
                return
            with self._lock:
                self._open |= {client, upstream}
            back = threading.Thread(target=self._pass, args=(upstream, client, False), daemon=True)
            back.start()
            self._pass(client, upstream, True)
            back.join()
            with self._lock:
                self._open -= {client, upstream}

    def _pass(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        buffer = bytearray(64 * 1024)
        view = memoryview(buffer)
        try:
            while count := source.recv_into(buffer):
                if counted:
                    with self._lock:
                        self._sent += count
                target.sendall(view[:count])
        except OSError:
            # One end died: the other must see it at once, as on a direct connection.
            for end in (source, target):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            return
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    @staticmethod
    def _reset(client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    @staticmethod
    def _set_buffers(one: socket.socket) -> None:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
