"""Clients that load a server with uploads and keep a ledger of what it has acknowledged.

Each fact is in the ledger before (what a client is about to change) or after (what was answered) the
request that it is about. So the ledger as it was before an instant says what must be on the disk at
that instant, and what may be.
"""

from __future__ import annotations

import http.client
import json
import random
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange, RangeSet

KIB = 1024
MIB = 1024 * KIB
HOST = "127.0.0.1"
MODIFIED_AT = "2024-11-20T23:30:00Z"
MODIFIED_S = 1732145400
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
    else:
        raise ValueError(kind)


class Client:
    """One device, and one connection at a time."""

    def __init__(self, port: int, device: str) -> None:
        self.device = device
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and the document of one request.

        Raises:
            OSError, http.client.HTTPException: the server is gone.
        """
        if self._connection is None:
            self._connection = http.client.HTTPConnection(HOST, self._port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self._connection.request(method, path, body, named)
            answer = self._connection.getresponse()
            content = answer.read()
        except BaseException:
            self.close()
            raise
        if answer.will_close:
            self.close()
        return answer.status, json.loads(content) if content else {}

    def create(self, name: str, length: int, before: bytes = b"") -> tuple[str, RangeSet]:
        """Create an upload of what *before*, which was published, was written on; return what is held of it."""
        request = {
            "name": name,
            "folder": "",
            "length": length,
            "device": self.device,
            "modified_at": MODIFIED_AT,
        }
        if before:
            request["extends"] = {"digest": str(Digest.of(before)), "length": len(before)}
        status, document = self.ask(
            "POST",
            "/v1/uploads",
            json.dumps(request).encode(),
            Content_Type="application/json",
            Idempotency_Key=secrets.token_hex(16),
        )
        assert status == 201, document
        return str(document["id"]), _ranges(document)

    def put(
        self, upload_id: str, span: ByteRange, data: bytes, total: int, *, with_digest: bool
    ) -> RangeSet:
        """Send a range; return all that the server holds by then."""
        headers = {"Content_Range": f"bytes {span.start}-{span.stop - 1}/{total}"}
        if with_digest:
            headers["Content_Digest"] = str(Digest.of(data))
        path = f"/v1/uploads/{upload_id}/content"
        status, document = self.ask("PUT", path, data, **headers)
        while document.get("code") == "superseded":
            # By the request that broke off before it: a server may see its head only now.
            status, document = self.ask("PUT", path, data, **headers)
        assert status == 200, document
        return _ranges(document)

    def put_and_break_off(
        self, upload_id: str, span: ByteRange, data: bytes, total: int, *, sent: int
    ) -> None:
        """Send the front of a range, and go."""
        self.close()
        connection = http.client.HTTPConnection(HOST, self._port, timeout=20)
        try:
            connection.putrequest("PUT", f"/v1/uploads/{upload_id}/content")
            connection.putheader("Content-Range", f"bytes {span.start}-{span.stop - 1}/{total}")
            connection.putheader("Content-Length", str(span.length))
            connection.endheaders()
            connection.send(data[:sent])
        finally:
            connection.close()

    def status(self, upload_id: str) -> tuple[int, dict[str, Any]]:
        return self.ask("GET", f"/v1/uploads/{upload_id}")

    def complete(self, upload_id: str, content: bytes) -> tuple[int, dict[str, Any]]:
        request = {"length": len(content), "digest": str(Digest.of(content))}
        return self.ask(
            "POST",
            f"/v1/uploads/{upload_id}/complete",
            json.dumps(request).encode(),
            Content_Type="application/json",
        )

    def abort(self, upload_id: str) -> int:
        return self.ask("DELETE", f"/v1/uploads/{upload_id}")[0]


def _ranges(document: dict[str, Any]) -> RangeSet:
    return RangeSet(ByteRange(*pair) for pair in document["received"])


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
        upload_id, held = client.create(name, len(first), before)
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
            self._ledger.note("held", name, _ranges(document).within(span))
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


def _pieces(length: int, size: int) -> Iterator[ByteRange]:
    for start in range(0, length, size):
        yield ByteRange(start, min(start + size, length))
