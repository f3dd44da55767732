"""The connections that carry a request now, and what the kernel knows of each of them."""

from __future__ import annotations

import errno
import socket
import threading
from dataclasses import dataclass
from typing import Protocol

from edge_agent.base.clock import Clock
from edge_agent.core import stall
from edge_agent.core.median import median
from edge_agent.net import tcp_info
from edge_agent.net.socket_options import KEEPALIVE_AGAIN_S, probe_now


class BusyConnection(Protocol):
    """A connection that may be busy with a request."""

    def live_socket(self) -> socket.socket | None: ...

    def cut(self) -> None:
        """Break the running request off: the next one begins with a new connection."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the kernel knows of all connections that carry a request now."""

    lanes: int = 0
    rtt_s: float | None = None
    """The median."""
    in_flight_bytes: int | None = None
    """Sent and not acknowledged by the kernel of the other side."""
    resent_share: float | None = None
    """Of what these connections sent: what had to go again."""
    congestion_control: str | None = None
    """What the first of them uses, by the kernel's name for it."""


class BusyConnections:
    """From any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._busy: dict[BusyConnection, stall.Silence] = {}

    def __bool__(self) -> bool:
        return bool(self._busy)

    def begin(self, line: BusyConnection) -> None:
        """A request is about to be sent on *line*."""
        live = line.live_socket()
        info = None if live is None else tcp_info.read(live)
        acked_bytes = 0 if info is None else info.acked_bytes
        with self._lock:
            self._busy[line] = stall.Silence(self._clock.now_s(), acked_bytes)

    def end(self, line: BusyConnection) -> None:
        """The request on *line* is over."""
        with self._lock:
            self._busy.pop(line, None)

    def began_s(self, line: BusyConnection) -> float | None:
        """Return since when *line* is busy; None: it is not."""
        with self._lock:
            silence = self._busy.get(line)
        return None if silence is None else silence.began_s

    def figures(self) -> Figures:
        """Return how they do."""
        sockets = [live for _, live, _ in self._lines()]
        infos = [info for live in sockets if (info := tcp_info.read(live)) is not None]
        if not infos:
            return Figures()
        sent = sum(info.sent_bytes for info in infos)
        return Figures(
            lanes=len(infos),
            rtt_s=median([info.rtt_s for info in infos]),
            in_flight_bytes=sum(info.in_flight_bytes for info in infos),
            resent_share=sum(info.resent_bytes for info in infos) / sent if sent else None,
            congestion_control=tcp_info.congestion_control(sockets[0]) or None,
        )

    def flows(self) -> list[tuple[BusyConnection, socket.socket, stall.Flow]]:
        """Return what each has done since its request began, as far as the kernel tells."""
        flows = []
        for line, live, silence in self._lines():
            info = tcp_info.read(live)
            if info is not None:
                # All was acknowledged and the answer is waited for: then keepalives are what is not.
                outstanding = info.outstanding or info.probes
                silent_s = silence.lasts_s(
                    self._clock.now_s(),
                    outstanding=outstanding,
                    acked_bytes=info.acked_bytes,
                    last_ack_s=info.last_ack_s,
                )
                retry_s = info.retry_s if info.outstanding else KEEPALIVE_AGAIN_S
                # On a connection that was made since, all of it.
                gained = info.acked_bytes - min(silence.acked_before, info.acked_bytes)
                still_s = silence.still_s(
                    self._clock.now_s(),
                    acked_bytes=info.acked_bytes,
                    received_bytes=info.received_bytes,
                )
                flow = stall.Flow(
                    outstanding,
                    silent_s,
                    info.rtt_s,
                    retry_s,
                    gained,
                    info.timeouts,
                    still_s,
                    info.unsent_bytes,
                )
                flows.append((line, live, flow))
        return flows

    def ask_the_other_side(self) -> None:
        """Send a keepalive on each that waits for an answer: one that is dead is silent."""
        for _, live, _ in self._lines():
            info = tcp_info.read(live)
            if info is not None and info.outstanding == 0:
                probe_now(live)

    def without_address(self) -> list[BusyConnection]:
        """Return those whose own address this machine has no more."""
        return [line for line, live, _ in self._lines() if _has_lost_its_address(live)]

    def _lines(self) -> list[tuple[BusyConnection, socket.socket, stall.Silence]]:
        with self._lock:
            busy = tuple(self._busy.items())
        return [
            (line, live, silence)
            for line, silence in busy
            if (live := line.live_socket()) is not None
        ]


def _has_lost_its_address(live: socket.socket) -> bool:
    """Return whether this machine has the address no more that the connection began with."""
    try:
        own = live.getsockname()
        with socket.socket(live.family, socket.SOCK_STREAM) as trial:
            trial.bind((own[0], 0, *own[2:]))
    except OSError as error:
        return error.errno == errno.EADDRNOTAVAIL
    return False
