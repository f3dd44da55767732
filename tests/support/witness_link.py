"""A link that misbehaves and remembers what was acknowledged over it: the server's promises, held to its store.

`broken` collects what broke a law, a sentence each; `look` compares what is stored with what was promised.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from ingest_server.core.record import State
from ingest_server.front.body import BodyInterruptedError, SocketBody
from tests.support.clock import VirtualClock
from tests.support.ledger import Ledger
from tests.support.link import Fault, Link
from tests.support.mortal_server import MortalServer
from upload_protocol.headers import parse_content_range
from upload_protocol.ranges import ByteRange, RangeSet

_AT_ONCE_S = 20.0
"""Within that, of real time, a request is answered beside a dead one, however busy the machine is; a lock that
is waited for would time out far later."""


@dataclass(frozen=True)
class WireFault(Fault):
    """What may befall a request beside: its connection goes silent, or the camera works while its body passes."""

    silent_after: int | None = None
    """The body stops after so many bytes, and nobody hangs up: the client gives up, the server does not know."""
    meanwhile: Callable[[], object] | None = None


class _SilentBody(SocketBody):
    """Goes silent after *data*, until the server interrupts it."""

    def __init__(self, data: bytes, length: int) -> None:
        self.remaining, self.received, self.takes_interim = length, 0, False
        self._data = memoryview(data)
        self._ended = threading.Event()
        self.silent = threading.Event()

    def readinto(self, buffer: memoryview) -> int:
        wanted = min(len(buffer), len(self._data))
        if wanted:
            buffer[:wanted], self._data = self._data[:wanted], self._data[wanted:]
            self.remaining -= wanted
            self.received += wanted
            return wanted
        self.silent.set()
        self._ended.wait()
        raise BodyInterruptedError("the request was given up")

    def interrupt(self) -> None:
        self._ended.set()


@dataclass
class _Silent:
    """A request whose link died."""

    upload_id: str
    where: ByteRange
    body: _SilentBody
    thread: threading.Thread


class WitnessLink(Link):
    """Carries requests to a `MortalServer`, which is started again when it was asked in vain a few times."""

    def __init__(self, server: MortalServer, clock: VirtualClock) -> None:
        super().__init__(server.site.app, clock)
        self.server = server
        self.ledgers: dict[str, Ledger] = defaultdict(Ledger)
        self.paths: set[str] = set()
        self.broken: list[str] = []
        self.silent: list[_Silent] = []
        self.asked_in_vain = 0
        self.puts_to_death: int | None = None
        """So many more requests with bytes are answered, then the server dies with nothing but what is durable."""
        self._sent = bytearray()
        self._fault = Fault()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.paths.add(request.url.path)
        if self.server.is_dead:
            self.asked_in_vain += 1
            if self.asked_in_vain < 3:
                raise httpx.ConnectError("nobody listens", request=request)
            self.revive()
        where = _where(request)
        upload_id = _upload_of(request)
        if where is not None and upload_id is not None:
            return self._put(request, upload_id, where)
        response = super().handle_request(request)
        self._learn(response)
        return response

    def revive(self) -> None:
        """Start the server again."""
        self.asked_in_vain = 0
        self.hang_up()
        self.server.start()
        self.app = self.server.site.app
        self.look()

    def _put(self, request: httpx.Request, upload_id: str, where: ByteRange) -> httpx.Response:
        ledger = self.ledgers[upload_id]
        again, ledger.held = ledger.held.within(where), ledger.held.remove(where)
        self._sent = bytearray()
        try:
            response = super().handle_request(request)
        except Exception:
            ledger.note(where.start, bytes(self._sent), again, is_answered=False)
            self._look_at_prefix(upload_id, where.start)
            raise
        is_answered = response.status_code == 200
        ledger.note(where.start, bytes(self._sent), again, is_answered=is_answered)
        self._learn(response)
        if self.puts_to_death is not None:
            self.puts_to_death -= 1
            if self.puts_to_death == 0 and not self.server.is_dead:
                self.server.cut_now(keeps_unsynced=False)
        return response

    def _pass(self, request: httpx.Request) -> Iterator[bytes]:
        for number, piece in enumerate(super()._pass(request)):
            if request.method == "PUT":
                self._sent += piece
            meanwhile = getattr(self._fault, "meanwhile", None)
            if meanwhile is not None and number == 0:
                meanwhile()
            yield piece

    def _call(self, request: httpx.Request, body: Any) -> httpx.Response:
        after, upload_id = getattr(self._fault, "silent_after", None), _upload_of(request)
        where = _where(request)
        if after is not None and where is not None and upload_id is not None:
            self._fall_silent(request, upload_id, where, body.read()[:after])
            raise httpx.ReadTimeout("nothing comes back", request=request)
        response = self._answered_at_once(request, body, upload_id, where)
        if self.server.is_dead:
            raise httpx.ReadError("the server is gone", request=request)
        return response

    def choose(self, fault: Fault) -> Fault:
        """Note what befalls the request that begins; a schedule ends with this."""
        self._fault = fault
        return fault

    def _fall_silent(
        self, request: httpx.Request, upload_id: str, where: ByteRange, data: bytes
    ) -> None:
        del self._sent[len(data) :]
        body = _SilentBody(data, where.length)
        thread = threading.Thread(
            target=lambda: super(WitnessLink, self)._call(request, body), daemon=True
        )
        one = _Silent(upload_id, where, body, thread)
        thread.start()
        while thread.is_alive() and not body.silent.wait(0.01):
            pass  # it may have been refused
        self.silent.append(one)

    def _answered_at_once(
        self, request: httpx.Request, body: Any, upload_id: str | None, where: ByteRange | None
    ) -> httpx.Response:
        beside = [one for one in self.silent if one.upload_id == upload_id]
        if not beside:
            return super()._call(request, body)
        found: list[httpx.Response] = []
        thread = threading.Thread(
            target=lambda: found.append(super(WitnessLink, self)._call(request, body)), daemon=True
        )
        thread.start()
        thread.join(_AT_ONCE_S)
        if not found:
            self.broken.append("L8: a retry waits for a request whose link died")
            self.hang_up()
            thread.join(_AT_ONCE_S)
            beside = []
        for one in beside:
            if where is None or not one.where.intersects(where) or found[0].status_code != 200:
                continue
            one.thread.join(_AT_ONCE_S)
            if one.thread.is_alive():
                self.broken.append("L8: a request whose link died goes on beside its retry")
                one.body.interrupt()
            self.silent.remove(one)
        return found[0]

    def hang_up(self) -> None:
        """Let the server see that the silent connections are gone."""
        for one in self.silent:
            one.body.interrupt()
            one.thread.join(_AT_ONCE_S)
        self.silent.clear()

    def _learn(self, response: httpx.Response) -> None:
        if not response.is_success or "json" not in response.headers.get("content-type", ""):
            return
        document = response.json()
        if not {"id", "received"} <= document.keys() or document["state"] != "open":
            return
        ledger = self.ledgers[document["id"]]
        ledger.held = RangeSet.from_pairs(document["received"])
        if ledger.unsure:
            self.broken += ledger.settle(self._stored(document["id"]))

    def _look_at_prefix(self, upload_id: str, start: int) -> None:
        """Of a request that the link broke, all that had passed is kept."""
        cut = self._fault.cut_after
        if cut is None or not self._sent or self.server.is_dead or not cut:
            return
        passed = ByteRange(start, start + min(cut, len(self._sent)))
        record = self.server.state.find(upload_id)
        if record is not None and record.state is State.OPEN and not record.received.covers(passed):
            self.broken.append(f"L4: {passed} had arrived before the cut, and is not kept")

    def look(self) -> None:
        """Compare what was acknowledged with what the server has."""
        for upload_id, ledger in self.ledgers.items():
            record = self.server.state.find(upload_id)
            if record is None:
                self.broken.append(f"L1: upload {upload_id} was acknowledged, and is not known")
            elif record.state is State.OPEN:
                self._look_at(upload_id, ledger, record.received)
            elif record.state is State.COMPLETE:
                for block, differed in ledger.again.items():
                    if not any(differed):
                        self.broken.append(f"L4: block {block} was sent again and is the same")
                ledger.again.clear()

    def _look_at(self, upload_id: str, ledger: Ledger, received: RangeSet) -> None:
        stored = self._stored(upload_id) if ledger.held else b""
        for span in ledger.held:
            if not received.covers(span):
                self.broken.append(f"L1: {span} was acknowledged, and is not recorded")
            elif stored[span.start : span.stop] != ledger.content[span.start : span.stop]:
                self.broken.append(f"L1: {span} was acknowledged, and other bytes are there")

    def _stored(self, upload_id: str) -> bytes:
        return self.server.blobs.whole(upload_id)


def _where(request: httpx.Request) -> ByteRange | None:
    given = request.headers.get("content-range")
    return None if given is None else parse_content_range(given).where


def _upload_of(request: httpx.Request) -> str | None:
    parts = request.url.path.split("/")
    return parts[3] if len(parts) > 3 and parts[2] == "uploads" else None
