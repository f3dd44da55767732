"""Tries both congestion controls on the lanes' connections where the owner wants that to be measured."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence

import structlog

from edge_agent.core.congestion_trial import TURNS, CongestionTrial
from edge_agent.net import tcp_info
from edge_agent.net.socket_options import try_congestion_control
from edge_agent.net.way import Way

log = structlog.get_logger()

_GAP_S = 2.0
"""Between two recordings a lane is idle for a moment; what takes longer is a gap in what is measured."""


class CongestionChoice:
    """Called with the lanes' lock held. The result is kept by `Way`, which new connections ask.

    Args:
        way: knows whether the owner wants it on the link in use, and what was measured there.
        new_trial: makes one, for each link anew.
        try_it: asks the kernel whether it lets us have a congestion control.
    """

    def __init__(
        self,
        way: Way,
        *,
        new_trial: Callable[[], CongestionTrial] = CongestionTrial,
        try_it: Callable[[str], None] = try_congestion_control,
    ) -> None:
        self._way = way
        self._new_trial = new_trial
        self._try = try_it
        self._trial: CongestionTrial | None = None
        self._interface: str | None = None
        self._busy_s = 0.0
        self._has_both: bool | None = None

    def look(
        self,
        now_s: float,
        acked_bytes: int,
        sockets: Sequence[socket.socket | None],
        *,
        is_busy: bool,
    ) -> None:
        """Go on with what is to be measured, if anything is.

        Args:
            now_s: monotonic.
            acked_bytes: by the connections of all lanes, ever.
            sockets: of the lanes; None: it has no connection now.
            is_busy: the link alone holds the lanes back: no limit, no schedule, no lack of recordings.
        """
        way, interface = self._way, self._way.interface()
        if not way.is_to_be_measured or not self._kernel_has_both():
            self._trial = way.trying = None
            return
        if self._trial is None or interface != self._interface:
            self._trial, self._interface = self._new_trial(), interface
        trial = self._trial
        if not is_busy:
            return
        if now_s - self._busy_s > _GAP_S:
            trial.pause()
        self._busy_s = now_s
        measured = trial.look(now_s, acked_bytes)
        if measured is None:
            way.trying = trial.control
            _set(sockets, trial.control)
            return
        self._trial = way.trying = None
        way.measured(measured)
        _set(sockets, measured.chosen)
        log.info(
            "link.measured",
            interface=interface,
            congestion_control=measured.chosen,
            bbr_bytes_per_s=round(measured.bbr),
            cubic_bytes_per_s=round(measured.cubic),
        )

    def _kernel_has_both(self) -> bool:
        if self._has_both is None:
            try:
                for control in TURNS:
                    self._try(control)
            except OSError:
                self._has_both = False
            else:
                self._has_both = True
        return self._has_both


def _set(sockets: Sequence[socket.socket | None], control: str) -> None:
    """Let connections that are there go on with *control*: a kernel changes it at any time."""
    for live in sockets:
        if live is not None and tcp_info.congestion_control(live) != control:
            with contextlib.suppress(OSError):  # it was just closed
                live.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, control.encode())
