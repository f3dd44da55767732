"""The control socket, where the agent is asked: one request as a line of JSON, answers as lines of JSON.

A Unix socket in the state folder that only its owner (and root) may open, or one that systemd has opened
for whom its unit names. Whatever arrives there, the agent goes on; a client that sends too much, nothing
or nonsense, or comes in a crowd, gets a sentence or is cut off. Who asks is `control_client`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog

from edge_agent.base.clock import SystemClock
from edge_agent.base.errors import AgentError
from edge_agent.operate.commands import RequestError
from edge_agent.operate.control_client import short_name

log = structlog.get_logger()

MAX_REQUEST_BYTES = 4 * 1024 * 1024
"""Ten thousand paths of 400 bytes."""
MAX_CLIENTS = 8
_REQUEST_S = 10.0
_ANSWER_S = 10.0
_JOIN_S = 0.5

_CLOCK = SystemClock()
_CREDENTIALS = struct.Struct("3i")
"""Of a Unix socket's other end (unix(7)): process, user, group."""

_CROWDED = (
    f"{MAX_CLIENTS} clients are with the agent already, as many as it answers at once; ask again when"
    " one has ended, or end an `edge-agent upload` that only follows its files: they go on without it"
)
_CROWDED_BY_ONE = (
    "as many clients of this user are with the agent already as it answers at once; ask again when one has"
    " ended"
)
_SHORT_OF_THREADS = (
    "the agent can start no thread to answer with and goes on uploading; ask again, and if it stays so"
    " look at the limits of its service (TasksMax) and at the memory that is free"
)


class Desk(Protocol):
    """Answers requests."""

    def answer(self, request: Mapping[str, Any], stopping: threading.Event) -> Iterator[object]:
        """Yield the answers to one request, the last one soon after *stopping* is set.

        Raises:
            RequestError: it cannot be answered; the text says why.
        """
        ...


class ControlServer:
    """Listens; each client has its own thread for as long as it stays.

    Args:
        path: where; None: at *passed*.
        desk: answers.
        passed: a socket that listens already, and is somebody else's to end.
        most_bytes: of a request; read as JSON it may take thirty times as much.
        most_each: clients of one user at a time, so that none keeps the others out.
        request_s: until a request is here as a whole.
    """

    def __init__(
        self,
        path: Path | None,
        desk: Desk,
        *,
        passed: socket.socket | None = None,
        most_bytes: int = MAX_REQUEST_BYTES,
        most_each: int = MAX_CLIENTS,
        request_s: float = _REQUEST_S,
    ) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._passed = passed
        self._desk = desk
        self._stopping = threading.Event()
        self._request_s = request_s
        self._most_each = most_each
        self._lock = threading.Lock()
        self._users: list[int] = []
        """Of each client that is served, its user."""
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, unless it does. Where that fails it is logged: uploading depends on nothing else (law L6).

        Raises:
            OSError, RuntimeError: no descriptor or no thread is left.
        """
        if self._thread is not None:
            return
        listener = self._passed if self._path is None else _listening(self._path)
        if listener is None:
            return
        thread = threading.Thread(
            target=self._accept, args=(listener,), name="control", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:
            if self._path is not None:
                listener.close()
            raise
        self._listener, self._thread = listener, thread

    def stop(self) -> None:
        self._stopping.set()
        if self._path is None or self._listener is None or self._thread is None:
            return  # systemd keeps its own, with whoever waits there: the next start answers
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept; closing would not
        self._thread.join(_JOIN_S)
        self._listener.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = listener.accept()
            except OSError as error:
                if not self._stopping.is_set():
                    log.warning("control.failed", error=error.strerror)
                    self._stopping.wait(1.0)  # out of file descriptors, say
                continue
            self._admit(client)

    def _admit(self, client: socket.socket) -> None:
        """Serve *client* in a thread of its own, or tell it why not."""
        user = _user_of(client)
        why = self._take_place(user)
        if why is not None:
            _turn_away(client, why)
            return
        try:
            threading.Thread(
                target=self._serve, args=(client, user), name="control-client", daemon=True
            ).start()
        except RuntimeError:
            self._leave_place(user)
            _turn_away(client, _SHORT_OF_THREADS)

    def _take_place(self, user: int) -> str | None:
        """Let one more client of *user* in; else return why not."""
        with self._lock:
            if len(self._users) >= MAX_CLIENTS:
                return _CROWDED
            if self._users.count(user) >= self._most_each:
                return _CROWDED_BY_ONE
            self._users.append(user)
        return None

    def _leave_place(self, user: int) -> None:
        with self._lock:
            self._users.remove(user)

    def _serve(self, client: socket.socket, user: int) -> None:
        try:
            with client:
                self._talk(client)
        except OSError:
            pass  # the client went away: nobody is left to tell
        except Exception:
            log.exception("control.failed")
        finally:
            self._leave_place(user)

    def _talk(self, client: socket.socket) -> None:
        try:
            request = json.loads(_read_line(client, self._most_bytes, self._request_s))
            if not isinstance(request, dict):
                raise RequestError("the request must be an object")
            client.settimeout(_ANSWER_S)
            for answer in self._desk.answer(request, self._stopping):
                _send(client, answer)
        except (ValueError, RecursionError):
            _send(client, {"error": "the request is no JSON"})
        except (RequestError, AgentError) as error:
            _send(client, {"error": str(error)})


def _listening(path: Path) -> socket.socket | None:
    """Return a socket that listens at *path*, for its owner alone; None: that failed, and is logged."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        path.unlink(missing_ok=True)  # of a run that was killed: the state lock is ours
        os.fchmod(listener.fileno(), 0o600)  # before bind: there is no moment of another mode
        with short_name(path) as name:
            listener.bind(name)
        listener.listen(64)
    except OSError as error:
        listener.close()
        log.warning("control.failed", path=str(path), error=error.strerror)
        return None
    return listener


def _user_of(client: socket.socket) -> int:
    """Return the user who has connected; -1: the kernel does not say."""
    try:
        said = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return -1
    _pid, user, _group = _CREDENTIALS.unpack(said)
    return int(user)


def _read_line(client: socket.socket, most: int, within_s: float) -> bytes:
    """Return a line; who sends a byte now and then has no more time for it than others."""
    line, ends_s = bytearray(), _CLOCK.now_s() + within_s
    while not line.endswith(b"\n"):
        left_s = ends_s - _CLOCK.now_s()
        if left_s <= 0:
            raise TimeoutError
        client.settimeout(left_s)
        piece = client.recv(64 * 1024)
        if not piece:
            break
        line += piece
        if len(line) > most:
            raise RequestError(f"the request has more than {most} bytes")
    return bytes(line)


def _send(client: socket.socket, answer: object) -> None:
    client.sendall(json.dumps(answer).encode() + b"\n")


def _turn_away(client: socket.socket, why: str) -> None:
    with client, contextlib.suppress(OSError):
        client.setblocking(False)  # one sentence fits into the buffer of a new socket
        _send(client, {"error": why})
