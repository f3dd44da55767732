"""What systemd is told (sd_notify): ready, status, still alive; and the sockets that it hands over.

Does nothing outside of systemd.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Self

import structlog

log = structlog.get_logger()


_FIRST_PASSED = 3


def passed_sockets(environ: Mapping[str, str], *, pid: int) -> list[socket.socket]:
    """Return the sockets that a ``.socket`` unit has opened for this process (sd_listen_fds(3))."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(pid) or not count.isdigit():
        return []
    passed = []
    for fd in range(_FIRST_PASSED, _FIRST_PASSED + int(count)):
        try:
            os.set_inheritable(fd, False)
            one = socket.socket(fileno=fd)
        except OSError as error:
            log.warning(
                "systemd.socket_refused", error=error.strerror, action="none: goes on without"
            )
            continue
        why = _why_not(one)
        if why is None:
            passed.append(one)
        else:
            one.close()
            action = "none: give it a path in ListenStream=, without Accept=yes"
            log.warning("systemd.socket_refused", error=why, action=action)
    return passed


def _why_not(one: socket.socket) -> str | None:
    if one.family != socket.AF_UNIX:
        return "it is open to the network"
    is_stream = one.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
    if not is_stream or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "nobody can connect to it"
    return None


class Notifier:
    """Sends state changes to the service manager as datagrams (sd_notify(3))."""

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        """How long systemd waits for a sign of life; None: it does not wait."""
        self._address = address
        self._status = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, pid: int) -> Self:
        is_ours = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        microseconds = environ.get("WATCHDOG_USEC", "")
        has_watchdog = is_ours and microseconds.isdigit() and int(microseconds) > 0
        return cls(
            environ.get("NOTIFY_SOCKET") or None,
            int(microseconds) / 1_000_000 if has_watchdog else None,
        )

    def ready(self, status: str | None = None) -> None:
        self._send("READY=1", *(() if status is None else (f"STATUS={status}",)))

    def status(self, line: str) -> None:
        """Show *line* in ``systemctl status``; the same again is not sent again."""
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def reloading(self, now_s: float) -> None:
        """Say that a reload begins; `ready` ends it.

        Args:
            now_s: CLOCK_MONOTONIC, by which systemd orders this against its own signal.
        """
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(now_s * 1_000_000)}")

    def stopping(self, status: str = "stopping") -> None:
        self._send("STOPPING=1", f"STATUS={status}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        # A leading @ stands for the NUL of an abstract socket.
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        message = "\n".join(line.replace("\n", " ") for line in lines).encode(errors="replace")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(1.0)
                sender.sendto(message, name)
        except Exception as error:  # noqa: BLE001 - whatever it is: systemd restarts us if it was the watchdog's
            log.warning(
                "systemd.notify_failed", error=getattr(error, "strerror", None) or str(error)
            )


def watch(notifier: Notifier, is_alive: Callable[[], bool], stopped: threading.Event) -> None:
    """Feed the watchdog for as long as *is_alive* answers true; returns when *stopped*.

    *is_alive* has to do a piece of the real work: a thread that only feeds would keep a server
    alive whose database is stuck. Where it hangs, the feeding ends, and systemd restarts us.
    """
    if notifier.watchdog_s is None:
        return
    while not stopped.wait(notifier.watchdog_s / 3):
        if is_alive():
            notifier.alive()
        else:
            log.error("watchdog.starved", error="the database does not answer")
