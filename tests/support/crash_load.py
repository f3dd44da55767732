"""Clients that load a server with uploads and keep a ledger of what it has acknowledged.

Each fact is in the ledger before (what a client is about to change) or after (what was answered) the
request that it is about. So the ledger as it was before an instant says what must be on the disk at
that instant, and what may be.
"""

from __future__ import annotations

import http.client
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.crash_client import MODIFIED_AT, Client, ranges_of
from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange, RangeSet

KIB = 1024
MIB = 1024 * KIB
_INVERT = bytes(255 - value for value in range(256))


@dataclass
class Expected:
    """One upload, as the ledger knows it at an instant."""

    name: str
    device: str
    first: bytes
    """What is sent of it to begin with; every byte of it changes where it is replaced."""
    id: str | None = None
    held: RangeSet = field(default_factory=RangeSet)
    """Acknowledged, and not about to be replaced."""
    replacing: RangeSet = field(default_factory=RangeSet)
    """Where the first and the second version may be, a mixture of both, or nothing."""
    replaced: RangeSet = field(default_factory=RangeSet)
    is_aborting: bool = False
    is_aborted: bool = False
    is_completing: bool = False
    receipt: dict[str, Any] | None = None
    group: dict[str, Any] | None = None
    """What its client was about to tell, or has told, of a group that it is the last file of."""
    group_status: dict[str, Any] | None = None
    """What was answered to that."""

    @property
    def content(self) -> bytes:
        """The whole file with what has been replaced."""
        content = bytearray(self.first)
        for span in self.replaced:
            piece = slice(span.start, span.stop)
            content[piece] = self.first[piece].translate(_INVERT)
        return bytes(content)

    def fits(self, stored: bytes, span: ByteRange) -> bool:
        """Whether *stored* is what a client has sent for *span*."""
        content = self.content[span.start : span.stop]
        if stored == content or len(stored) != len(content):
            return stored == content
        second = self.first[span.start : span.stop].translate(_INVERT)
        return all(
            found == sent or (found == newer and self.replacing.covers(ByteRange(at, at + 1)))
            for at, (found, sent, newer) in enumerate(
                zip(stored, content, second, strict=True), span.start
            )
        )


Fact = tuple[str, str, Any]


class Ledger:
    """What the clients know, in the order in which they learned it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, tuple[str, bytes]] = {}
        self._facts: list[Fact] = []

    def begin(self, name: str, device: str, content: bytes) -> None:
        with self._lock:
            self._files[name] = (device, content)
            self._facts.append(("begun", name, None))

    def note(self, kind: str, name: str, what: Any = None) -> None:
        with self._lock:
            self._facts.append((kind, name, what))

    def __len__(self) -> int:
        with self._lock:
            return len(self._facts)

    def until(self, count: int) -> dict[str, Expected]:
        """Return name -> upload, after the first *count* facts."""
        found: dict[str, Expected] = {}
        for kind, name, what in self._facts[:count]:
            if kind == "begun":
                device, content = self._files[name]
                found[name] = Expected(name, device, content)
            else:
                _apply(found[name], kind, what)
        return found


def _apply(one: Expected, kind: str, what: Any) -> None:
    if kind == "created":
        one.id = what
    elif kind == "held":
        for span in what:
            one.held = one.held.add(span)
    elif kind == "replacing":
        one.held, one.replacing = one.held.remove(what), one.replacing.add(what)
    elif kind == "replaced":
        one.held, one.replacing = one.held.add(what), one.replacing.remove(what)
        one.replaced = one.replaced.add(what)
    elif kind == "aborting":
        one.is_aborting = True
    elif kind == "aborted":
        one.is_aborted = True
    elif kind == "completing":
        one.is_completing = True
    elif kind == "completed":
        one.receipt = what
    elif kind == "telling":
        one.group = what
    elif kind == "told":
        one.group_status = what
    else:
        raise ValueError(kind)


class Sender:
    """Uploads one recording after the other until the server or the test ends."""

    def __init__(self, port: int, number: int, seed: int, ledger: Ledger) -> None:
        self._draw = random.Random(f"{seed}-{number}")
        self._ledger = ledger
        self._client = Client(port, f"cam-{number}")
        self._prefix = f"{seed}-{number}"
        self._published = b""
        """What was published last."""
        self._stop = threading.Event()
        self.failure: BaseException | None = None
        self._before: dict[str, Any] | None = None
        """Receipt of what was uploaded before, for a group."""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        number = 0
        try:
            while not self._stop.is_set():
                self._upload(f"{self._prefix}-{number}.mp4")
                number += 1
        except (OSError, http.client.HTTPException) as error:
            if not self._stop.is_set():
                self.failure = error
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.failure = error
        finally:
            self._client.close()

    def _upload(self, name: str) -> None:
        draw, ledger, client = self._draw, self._ledger, self._client
        length = draw.choice([1, 5000, 100_000, 400_000, 1_000_000]) + draw.randrange(5000)
        before = self._published if draw.random() < 0.3 else b""
        first = before + draw.randbytes(length)
        ledger.begin(name, client.device, first)
        upload_id, held = client.begin(name, len(first), before)
        ledger.note("created", name, upload_id)
        ledger.note("held", name, held)
        pieces = list(_pieces(len(first), draw.choice([64, 200, 400]) * KIB))
        pieces = [piece for piece in pieces if not held.covers(piece)]
        if draw.random() < 0.5:
            draw.shuffle(pieces)
        content = bytearray(first)
        once: list[ByteRange] = []
        for span in pieces:
            # One that broke off may still be on its way, and would bring the first version back.
            once += [] if self._send(name, upload_id, span, first) else [span]
            if once and draw.random() < 0.15:
                self._replace(name, upload_id, draw.choice(once), content, first)
            if self._stop.is_set():
                return
            if draw.random() < 0.02:
                ledger.note("aborting", name)
                assert client.abort(upload_id) == 200
                ledger.note("aborted", name)
                return
        self._complete(name, upload_id, bytes(content))

    def _send(self, name: str, upload_id: str, span: ByteRange, first: bytes) -> bool:
        """Send a piece, in one or two requests; return whether the first one broke off."""
        draw, client, total = self._draw, self._client, len(first)
        data = first[span.start : span.stop]
        breaks_off = draw.random() < 0.2
        if breaks_off:
            sent = draw.randrange(span.length)
            client.put_and_break_off(upload_id, span, data, total, sent=sent)
            # The answer to this question is an acknowledgement too.
            _, document = client.status(upload_id)
            self._ledger.note("held", name, ranges_of(document).within(span))
        held = client.put(upload_id, span, data, total, with_digest=draw.random() < 0.3)
        self._ledger.note("held", name, held.within(span))
        return breaks_off

    def _replace(
        self, name: str, upload_id: str, span: ByteRange, content: bytearray, first: bytes
    ) -> None:
        """Send other bytes for a range that is held; twice the same ones change nothing."""
        data = first[span.start : span.stop].translate(_INVERT)
        self._ledger.note("replacing", name, span)
        held = self._client.put(upload_id, span, data, len(first), with_digest=False)
        assert held.covers(span)
        self._ledger.note("replaced", name, span)
        content[span.start : span.stop] = data

    def _complete(self, name: str, upload_id: str, content: bytes) -> None:
        self._ledger.note("completing", name)
        status, receipt = self._client.complete(upload_id, content)
        while status == 202:
            status, receipt = self._client.complete(upload_id, content)
        assert status == 200, receipt
        self._ledger.note("completed", name, receipt)
        self._published = content if len(content) < MIB else b""
        if self._draw.random() < 0.1:  # as if the answer had been lost
            assert self._client.complete(upload_id, content) == (200, receipt)
        if self._before is not None and self._draw.random() < 0.5:
            self._tell_of_group(name, [self._before, receipt])
        self._before = receipt

    def _tell_of_group(self, name: str, receipts: list[dict[str, Any]]) -> None:
        report = _group_of(name, self._client.device, receipts)
        self._ledger.note("telling", name, report)
        status, document = self._client.tell_of_group(report)
        assert status == 200, document
        self._ledger.note("told", name, document)


def _group_of(name: str, device: str, receipts: list[dict[str, Any]]) -> dict[str, Any]:
    members = [
        {
            "name": one["name"],
            "folder": "",
            "role": "original",
            "length": one["length"],
            "digest": one["digest"],
            "modified_at": MODIFIED_AT,
            "upload_id": one["upload_id"],
        }
        for one in receipts
    ]
    return {
        "group": Digest.of(name.encode()).hex[:32],
        "family": "stem",
        "title": name.removesuffix(".mp4"),
        "folder": "",
        "members": members,
        "is_whole": True,
        "device": device,
    }


def _pieces(length: int, size: int) -> Iterator[ByteRange]:
    for start in range(0, length, size):
        yield ByteRange(start, min(start + size, length))
