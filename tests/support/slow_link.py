"""A TCP link that is slow per connection, as a long way with losses is, and can fall silent."""

import contextlib
import socket
import threading
import time
from typing import Self

from demo.ports import LOOPBACK

_PIECE = 16 * 1024
_BUFFER_BYTES = 64 * 1024


class SlowLink:
    """Listens on a port of its own and passes bytes on; several connections carry more than one."""

    def __init__(self, server_port: int, *, bytes_per_s: float) -> None:
        self._server = (LOOPBACK, server_port)
        self._pause_s = _PIECE / bytes_per_s
        self._moves = threading.Event()
        self._moves.set()
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._listener.bind((LOOPBACK, 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def connections(self) -> int:
        with self._lock:
            return len(self._open) // 2

    def fall_silent(self) -> None:
        """From now on nothing moves and nobody is let in, and nobody is told."""
        self._moves.clear()

    def speak_again(self) -> None:
        self._moves.set()

    def break_all(self) -> None:
        """Reset every connection."""
        with self._lock:
            still_open = list(self._open)
        for one in still_open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._moves.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(20)
        self._listener.close()
        self.break_all()
        for thread in self._threads:
            thread.join(20)

    def _accept(self) -> None:
        while not self._ends.is_set():
            self._moves.wait()
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._server) as server:
            with self._lock:
                self._open |= {client, server}
            back = threading.Thread(target=self._pass, args=(server, client, 0.0), daemon=True)
            back.start()
            self._pass(client, server, self._pause_s)
            back.join()
            with self._lock:
                self._open -= {client, server}

    def _pass(self, source: socket.socket, target: socket.socket, pause_s: float) -> None:
        try:
            while data := source.recv(_PIECE):
                self._moves.wait()
                target.sendall(data)
                if pause_s:
                    time.sleep(pause_s * len(data) / _PIECE)
        except OSError:
            pass
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
