"""What was learned of the way to the server, for each interface that leads there.

Something on the way may take requests of a certain size only, or no PUT, or lose packets of full size and
say nothing. No setting could say so beforehand: it is found out by what is refused or lost, used from then
on, and found out anew after a day of running, in however many runs, for such things get mended.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from edge_agent.base.helper import only_helps
from edge_agent.core.congestion_trial import Control, Measured
from edge_agent.core.packets import CongestionControl
from edge_agent.core.short_connections import AGREE, Broken, ShortConnections
from edge_agent.net.socket_options import SocketOption, accepted, congestion_option
from upload_protocol.ranges import RangeSet

KIB = 1024
_GOOD_FOR_S = 86_400.0
_OF_SIZE = frozenset({408, 413})
"""Answers that are about how long a body is, or how long it takes; what others are about is tried."""
_SEGMENTS = (1220, 536)
"""What fits into the least MTU of IPv6 (1280), then into that of IPv4 (576)."""
_MOST_INTERFACES = 16
_SINCE = "since_s"


@dataclass(frozen=True, slots=True)
class Learned:
    """Of one way."""

    max_request: int | None = None
    """Bytes of the largest request that may pass."""
    as_post: bool = False
    """PUT is refused: POST with ``X-HTTP-Method-Override`` goes in its place."""
    no_post: bool = False
    """The server does not know that."""
    max_segment: int | None = None
    """Bytes of data in a packet: fuller ones are lost."""
    max_connection: int | None = None
    """Bytes that a connection carries; after more of them it stands still, or ends."""
    congestion_control: Control | None = None
    """The one that moved more, where the owner wants that to be measured."""
    bbr_bytes_per_s: int = 0
    cubic_bytes_per_s: int = 0
    """What they moved then."""


_NOTHING = Learned()

NOT_SMALLER = (
    "if full packets are lost on the way (an MTU below 1500 that nobody tells), the agent cannot send"
    " smaller ones to a proxy that is reached over TLS: set the MTU of the interface, or reach the proxy by"
    " http://"
)


class Way:
    """Safe to use from several threads.

    Args:
        interface: returns which one leads to the server now.
        now_s: monotonic, and over all runs where what was learned is remembered.
        remembered: as `keep` had it.
        keep: called with all that is learned, when that changes, one call at a time; it may ask, and not tell, what
            is learned.
        agree: connections in a row that have carried equally much when they broke; then that is all that any carries.
    """

    def __init__(
        self,
        *,
        interface: Callable[[], str | None] = lambda: None,
        now_s: Callable[[], float] = lambda: 0.0,
        remembered: Mapping[str, Mapping[str, Any]] | None = None,
        keep: Callable[[dict[str, dict[str, Any]]], object] = lambda _: None,
        agree: int = AGREE,
    ) -> None:
        self._interface = interface
        self._now_s = now_s
        self._keep = keep
        self._lock = threading.Lock()
        """Held for moments: never while something outside is called that may take long."""
        self._learning = threading.Lock()
        """Held by who learns, from what is known before until the new is kept: two at a time lose nothing."""
        self._learned: dict[str, tuple[Learned, float]] = {}
        self._agree = agree
        self._short: dict[str, ShortConnections] = {}
        """Interface -> what connections over it have carried."""
        self.device: str | None = None
        """The interface that connections are bound to; None: the kernel chooses."""
        self.on_changed: Callable[[], object] = lambda: None
        """Called by who changes that; other rules of the owner's may hold there."""
        self.congestion_control: Callable[[str | None], CongestionControl | None] = lambda _: None
        """What the owner wants on an interface, asked for each connection; None: what all have."""
        self.usual_congestion_control: CongestionControl = "auto"
        """What all have."""
        self.trying: Control | None = None
        """What connections use while it is measured which one moves more."""
        self.other: str | None = None
        """What is known of other interfaces while the usual one leads nowhere; for people."""
        self.sets_packets = True
        """Whether connections are made with `options`; to a proxy over TLS they are not."""
        self.least_request = 256 * KIB
        """No smaller request is tried, whatever is refused."""
        for name, one in (remembered or {}).items():
            known = {field.name: one[field.name] for field in fields(Learned) if field.name in one}
            self._learned[name] = (Learned(**known), min(now_s(), one.get(_SINCE, now_s())))

    @property
    def learned(self) -> Learned:
        """What holds on the way in use."""
        return self._known(self._name())

    def _known(self, name: str) -> Learned:
        with self._lock:
            found, since_s = self._learned.get(name, (_NOTHING, 0.0))
        return _NOTHING if self._now_s() - since_s > _GOOD_FOR_S else found

    def limit(self, server_max: int | None) -> int | None:
        """Return the most bytes that a request may have, where the server takes *server_max*."""
        known = self.learned
        limits = (server_max, known.max_request, known.max_connection)
        return min((one for one in limits if one is not None), default=None)

    def options(self) -> tuple[SocketOption, ...]:
        """Return what is set on a socket before it is connected, beside what all have."""
        segment, device = self.learned.max_segment, self.device
        found: list[SocketOption] = []
        if segment is not None:
            found.append((socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment))
        if device is not None:
            found.append((socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0"))
        wanted = self.wanted_congestion_control
        if wanted == "measured":
            wanted = self.trying or self.learned.congestion_control or "auto"
        if wanted != self.usual_congestion_control:  # which each connection asks for by itself
            found += accepted([congestion_option(wanted)])  # what fails in a connect is a dead link
        return tuple(found)

    @property
    def usual(self) -> str | None:
        """Return the interface that the kernel chooses; None: there is none, or it is not known."""
        with only_helps("route", instead="rules for links do not count"):
            return self._interface()
        return None

    def interface(self) -> str | None:
        """Return the one over which connections are made now."""
        return self.device or self.usual

    def use(self, device: str | None) -> None:
        """Bind new connections to *device*; None: to none."""
        if device != self.device:
            self.device = device
            self.on_changed()

    @property
    def is_to_be_measured(self) -> bool:
        """Return whether the owner wants to know which congestion control moves more, and nobody does."""
        is_wanted = self.wanted_congestion_control == "measured"
        return is_wanted and self.learned.congestion_control is None

    @property
    def wanted_congestion_control(self) -> CongestionControl:
        """Return what the owner wants on the link in use."""
        return self.congestion_control(self.interface()) or self.usual_congestion_control

    def measured(self, found: Measured) -> None:
        """Take in what a trial has shown."""
        name = self._name()
        with self._learning:
            learned = replace(
                self._known(name),
                congestion_control=found.chosen,
                bbr_bytes_per_s=round(found.bbr),
                cubic_bytes_per_s=round(found.cubic),
            )
            self._learn(learned, name)

    def refused(self, status: int, length: int) -> bool:
        """Take in that somebody on the way refused a body of *length* bytes.

        Returns:
            Whether there is something else to try.
        """
        name = self._name()
        with self._learning:
            known = self._known(name)
            if status not in _OF_SIZE and not known.as_post and not known.no_post:
                self._learn(replace(known, as_post=True), name)
                return True
            if known.max_request is not None and length > known.max_request:
                return True  # it left before that was known
            if length <= self.least_request:
                return False
            smaller = 1 << ((length - 1).bit_length() - 1)
            self._learn(replace(known, max_request=max(self.least_request, smaller)), name)
        return True

    def does_not_know_post(self) -> None:
        """The server itself says that it takes no POST in place of PUT."""
        name = self._name()
        with self._learning:
            self._learn(replace(self._known(name), as_post=False, no_post=True), name)

    def lost_full_packets(self) -> bool:
        """Take in that full packets vanish; return whether smaller ones are left to try."""
        if not self.sets_packets:
            return False
        name = self._name()
        with self._learning:
            known = self._known(name)
            before = known.max_segment
            smaller = [one for one in _SEGMENTS if before is None or one < before]
            if not smaller:
                return False
            self._learn(replace(known, max_segment=smaller[0]), name)
        return True

    def broke(self, body: Broken) -> None:
        """Take in that a body broke off on the way in use, and nobody said why."""
        name = self._name()
        with self._lock:
            self._short_of(name).broke(body)

    def arrived(self, upload_id: str, received: RangeSet) -> int | None:
        """Take in what the server has of an upload, over whatever way it says so.

        Returns:
            The bytes that connections carry from now on, over the way that they broke on; None: as many as before.
        """
        with self._lock:
            said = [(name, one.arrived(upload_id, received)) for name, one in self._short.items()]
        lowered = [
            most for name, most in said if most is not None and self._carries_less(name, most)
        ]
        return min(lowered, default=None)

    def _carries_less(self, name: str, most: int) -> bool:
        with self._learning:
            known = self._known(name)
            if known.max_connection is not None and most >= known.max_connection:
                return False  # it left before that was known
            self._learn(replace(known, max_connection=most), name)
        return True

    def carried(self, count: int) -> None:
        """Take in that a connection has carried *count* bytes of bodies, and works."""
        name = self._name()
        with self._lock:
            self._short_of(name).carried(count)

    def _short_of(self, name: str) -> ShortConnections:
        one = self._short.pop(name, None) or ShortConnections(self._agree)
        self._short[name] = one
        while len(self._short) > _MOST_INTERFACES:
            del self._short[next(iter(self._short))]
        return one

    def _name(self) -> str:
        return self.interface() or ""

    def _learn(self, what: Learned, name: str) -> None:
        """Replace what is known of a way, by who holds `_learning`."""
        with self._lock:
            self._learned.pop(name, None)
            self._learned[name] = (what, self._now_s())
            while len(self._learned) > _MOST_INTERFACES:
                del self._learned[next(iter(self._learned))]
            # Whether the server knows POST for PUT is asked anew at each start: it may be upgraded.
            kept = {
                name: {**asdict(replace(one, no_post=False)), _SINCE: round(since_s)}
                for name, (one, since_s) in self._learned.items()
            }
        with only_helps(
            "memory of the way", instead="its limits are found out anew after a restart"
        ):
            self._keep(kept)
