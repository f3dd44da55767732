"""Where requests wait for their turn, by what they cost, and in turn by who asks.

Who asks is known to the application only, once the request has a thread; so it tells, for each
credential that it found to be good, whose it is, and the next request with that credential waits under
the device's name. What nobody has vouched for waits under its address: a name in a wrong token takes
no turn of the device that it names.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from ingest_server.base.turns import Turns
from ingest_server.front.admission import (
    CONTROL_OF_ONE_DEVICE,
    CONTROL_OF_ONE_PEER,
    CONTROL_THREADS,
    DOWNLOAD_THREADS,
    DOWNLOADS_BESIDE_UPLOADS,
    LIGHT_OF_ONE_DEVICE,
    LIGHT_OF_ONE_PEER,
    READING_OF_ONE,
    READING_THREADS,
    SLICE_BYTES,
    SMALL_OF_ONE_DEVICE,
    SMALL_OF_ONE_PEER,
    SMALL_THREADS,
    UPLOADS_PAUSE_S,
    Cost,
    cost_of,
)
from ingest_server.front.pacing import Pacing
from ingest_server.front.request_head import IDENTITY, RequestHead

T = TypeVar("T")

ASKED = "edge_uploader.asked"
"""In a request's environ: the `Asked` of it."""
MOST_KNOWN = 16384
"""Credentials that are known by sight; the one that was not seen for longest is forgotten first."""

PACED = frozenset({Cost.CONTROL, Cost.SMALL, Cost.LIGHT, Cost.READING})
"""What computes more than it waits for its peer."""


class KnownDevices:
    """Whose each credential is, as far as the application has told."""

    def __init__(self) -> None:
        self._names: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, credential: bytes, name: str) -> None:
        """Remember that *credential* was good, and whose."""
        with self._lock:
            self._names[credential] = name
            self._names.move_to_end(credential)
            while len(self._names) > MOST_KNOWN:
                self._names.popitem(last=False)

    def forget(self, credential: bytes) -> None:
        """Forget *credential*, which is good no more, or never was."""
        with self._lock:
            self._names.pop(credential, None)

    def name_of(self, credential: bytes) -> str | None:
        with self._lock:
            return self._names.get(credential)


class Arrivals:
    """Knows whether uploads come: one is received, or was a moment ago."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._running = 0
        self._ended_s = -math.inf
        self._lock = threading.Lock()

    def begin(self) -> None:
        with self._lock:
            self._running += 1

    def end(self) -> None:
        with self._lock:
            self._running -= 1
            self._ended_s = self._now_s()

    def downloads_at_once(self) -> int:
        """Return how many downloads may have a thread."""
        has_come = self._running or self._now_s() < self._ended_s + UPLOADS_PAUSE_S
        return DOWNLOADS_BESIDE_UPLOADS if has_come else DOWNLOAD_THREADS


class Asked(Generic[T]):
    """One request, as far as its turn goes."""

    def __init__(
        self,
        known: KnownDevices,
        credential: bytes,
        turns: Turns[T] | None,
        name: str,
        *,
        ended: Callable[[str, float], None],
        slice_bytes: int | None = None,
        arrivals: Arrivals | None = None,
        is_small: bool = False,
    ) -> None:
        self.slice_bytes = slice_bytes
        """How much of the answer is sent in one turn; None: the turn ends with the first pause."""
        self.is_small = is_small
        """Whether it is a small upload, which counts among no others."""
        self.asks_too_much = False
        """Whether it is refused for how much is asked; its answer is held back."""
        self.has_too_many = False
        """Whether as many of its device wait as may; it is not to wait, but to be refused."""
        self._known = known
        self._credential = credential
        self._turns = turns
        self._name = name
        self._ended = ended
        """Hears what the request took of a processor, before its turn is given back."""
        self._arrivals = arrivals
        """Of an upload, where it counts from `may_begin` to `end`; it waits for no turn."""

    def is_of(self, device: str) -> None:
        """Hear that its credential is good, and of *device*."""
        self._known.note(self._credential, device)

    def is_nobodys(self) -> None:
        """Hear that its credential is not good: the next one with it counts as its address."""
        self._known.forget(self._credential)

    def may_begin(self, most: int | None) -> bool:
        """Whether its turn has come, or it needs none.

        Args:
            most: how many of one device may run or wait; None: any number.
        """
        if self._arrivals is not None:
            self._arrivals.begin()
        if self._turns is None:
            return True
        if most is not None and self._is_devices and self._turns.asked(self._name) >= most:
            self.has_too_many, self._turns = True, None
            return True
        return self._turns.take(self._name)

    def wait(self, one: T) -> None:
        """Let *one* go on once it is its turn.

        Raises:
            RuntimeError: it needs none; a bug here.
        """
        if self._turns is None:
            raise RuntimeError("a request waits that needs no turn")
        self._turns.ask(one, self._name)

    def end(self, worked_s: float = 0.0) -> None:
        """Give its turn back.

        Args:
            worked_s: what it took of a processor.
        """
        if self._arrivals is not None:
            self._arrivals.end()
        if self._turns is not None:
            self._ended(self._name, worked_s)  # first: what it took counts for whoever follows
            self._turns.end(self._name)

    @property
    def _is_devices(self) -> bool:
        return _is_devices(self._name)


class Queues(Generic[T]):
    """The turns of one server; *go_on* is called with who has waited."""

    def __init__(self, go_on: Callable[[T], None], now_s: Callable[[], float]) -> None:
        self._arrivals = Arrivals(now_s)
        self._pacing = Pacing(now_s)
        self._known = KnownDevices()

        def paced(threads: int | None, of_device: int, of_address: int) -> Turns[T]:
            return Turns(threads, _share(of_device, of_address), go_on, may=self._may_begin)

        self._turns: dict[Cost, Turns[T]] = {
            Cost.CONTROL: paced(CONTROL_THREADS, CONTROL_OF_ONE_DEVICE, CONTROL_OF_ONE_PEER),
            Cost.SMALL: paced(SMALL_THREADS, SMALL_OF_ONE_DEVICE, SMALL_OF_ONE_PEER),
            Cost.LIGHT: paced(None, LIGHT_OF_ONE_DEVICE, LIGHT_OF_ONE_PEER),
            Cost.READING: paced(READING_THREADS, READING_OF_ONE, READING_OF_ONE),
            Cost.DOWNLOAD: Turns(
                self._arrivals.downloads_at_once, _share(DOWNLOAD_THREADS, DOWNLOAD_THREADS), go_on
            ),
        }

    def asked(
        self, head: RequestHead, peer: str, certificate: str | None, *, is_whole: bool = False
    ) -> Asked[T]:
        """Return the turn of a request; it is neither taken nor waited for yet.

        Args:
            is_whole: as `cost_of`.
            peer: whom it counts as if nobody knows its credential; "" for a proxy, who is many.
            certificate: the common name of the client's certificate, if it showed one.
        """
        credential = _credential(head, peer, certificate)
        device = self._known.name_of(credential)
        name = f"address {peer}" if device is None else f"{_DEVICE}{device}"
        cost = cost_of(head, is_whole=is_whole)
        is_proxys = not peer and device is None
        turns = None if cost is Cost.LIGHT and is_proxys else self._turns.get(cost)
        slice_bytes = SLICE_BYTES if cost is Cost.DOWNLOAD else None
        is_small = cost is Cost.SMALL
        return Asked(
            self._known,
            credential,
            turns,
            name,
            ended=self._has_ended if cost in PACED else lambda _name, _worked_s: None,
            slice_bytes=slice_bytes,
            arrivals=self._arrivals if is_small or cost is Cost.UPLOAD else None,
            is_small=is_small,
        )

    def look(self) -> None:
        """Let those go on whose turn has come with time, or since others have left."""
        for turns in self._turns.values():
            turns.look()

    def _may_begin(self, name: str) -> bool:
        # Behind one address there may be many, of whom each is known once it has asked.
        return not _is_devices(name) or self._pacing.may_begin(name)

    def _has_ended(self, name: str, worked_s: float) -> None:
        if _is_devices(name):
            self._pacing.ended(name, worked_s)
        self.look()

    def dismiss(self) -> list[T]:
        """Return all who wait, and forget them."""
        return [one for turns in self._turns.values() for one in turns.dismiss()]


_DEVICE = "device "


def _is_devices(name: str) -> bool:
    return name.startswith(_DEVICE)


def _share(of_device: int, of_address: int) -> Callable[[str], int]:
    return lambda name: of_device if _is_devices(name) else of_address


def _credential(head: RequestHead, peer: str, certificate: str | None) -> bytes:
    """Return what stands for what a request shows of who it is, however it is written.

    A token is known from wherever it comes. What a proxy says is believed of that proxy alone, and
    counts only without a token: it would be for the client to vary else.
    """
    words = head.headers.get(b"Authorization", b"").split()
    said = [head.headers.get(field, b"") for field in IDENTITY]
    shown = [b"token", words[-1]] if words else [b"proxy", peer.encode(), *said]
    shown.append((certificate or "").encode())
    return hashlib.blake2b(b"\0".join(shown), digest_size=16).digest()
