"""The link between agent and server, which can be cut and mended: all bytes pass through here.

A cut one is like a modem that is unplugged: what is open breaks, and nobody is let in.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

from demo.ports import LOOPBACK

_PIECE = 256 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: to close is to break."""


class Link:
    """Listens on a port of its own and passes on what comes, both ways."""

    def __init__(self, server_port: int) -> None:
        self._server = (LOOPBACK, server_port)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = _bound(0)
        self.port: int = self._listener.getsockname()[1]
        self.is_cut = True

    def mend(self) -> None:
        """Let bytes pass from now on; no effect if they do."""
        with self._lock:
            if not self.is_cut:
                return
            self.is_cut = False
            self._listener.listen(128)
            listener = self._listener
        threading.Thread(target=self._accept, args=(listener,), name="link", daemon=True).start()

    def cut(self) -> None:
        """Break what is open, and refuse all else until it is mended; no effect if it is cut."""
        with self._lock:
            if self.is_cut:
                return
            self.is_cut = True
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept; closing would not
            self._listener.close()
            # Taken again at once, and not listened on: the port stays this link's.
            self._listener = _bound(self.port)
            still_open, self._open = self._open, set()
        for one in still_open:
            _break(one)

    def stop(self) -> None:
        """End it for good."""
        self.cut()
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                if self.is_cut:
                    return
                continue  # that one went away before it was let in
            threading.Thread(target=self._serve, args=(client,), name="link", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._server, timeout=5.0)
        except OSError:  # as if it were asked directly
            _break(client)
            client.close()
            return
        server.settimeout(None)
        both = {client, server}
        with client, server:
            with self._lock:
                if self.is_cut:
                    _break(client)
                    return
                self._open |= both
            back = threading.Thread(target=_pass, args=(server, client), name="link", daemon=True)
            back.start()
            _pass(client, server)
            back.join()
            with self._lock:
                self._open -= both


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((LOOPBACK, port))
    return bound


def _pass(source: socket.socket, target: socket.socket) -> None:
    target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while data := source.recv(_PIECE):
            target.sendall(data)
    except OSError:
        _break(source)
        _break(target)
        return
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _break(one: socket.socket) -> None:
    """Have the other side learn at once that nothing more comes, and whoever reads here, too."""
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        one.shutdown(socket.SHUT_RDWR)
