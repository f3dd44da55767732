"""What systemd is told (sd_notify): ready, status, still alive. Does nothing outside of systemd."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from typing import Self

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.worker_thread import WorkerThread

log = structlog.get_logger()

LATE_S = 30.0
"""How late a worker may begin its next step: a loaded board, a card that blocks."""
SILENT_S = 180.0
"""How long a step may last without a sign of progress: a request may be idle for 60 s, retried by
the kernel, and hash a large file's prefix before its first byte."""


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

    def ready(self) -> None:
        self._send("READY=1")

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

    def stopping(self) -> None:
        self._send("STOPPING=1", "STATUS=stopping")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        # A leading @ stands for the NUL of an abstract socket.
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        message = "\n".join(line.replace("\n", " ") for line in lines).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(1.0)
                sender.sendto(message, name)
        except OSError as error:
            # Not worth failing for: systemd restarts us if it was the watchdog's.
            log.warning("systemd.notify_failed", error=os.strerror(error.errno or 0))


def stuck_workers(runners: Iterable[WorkerThread], activity: Activity, now_s: float) -> list[str]:
    """Return the workers that show neither progress nor a wait that they named.

    A worker between two steps has said how long it waits, and why is on the board. In a step it has
    to beat: the sender does for each piece of a request that the system takes.
    """
    stuck = []
    for runner in runners:
        busy_since_s = runner.busy_since_s
        if not runner.is_alive:
            stuck.append(runner.name)
        elif busy_since_s is None:
            if now_s > runner.due_s + LATE_S:
                stuck.append(runner.name)
        elif now_s > max(busy_since_s, activity.progress_s(runner.name) or 0.0) + SILENT_S:
            stuck.append(runner.name)
    return stuck
