"""How many requests run at once: uploads up to their number, and always room for all others.

Six kinds of request, by what they cost:

* an **upload** carries a body that comes as fast as its sender's link, so it may hold a thread for
  hours. There are as many as configured, three quarters of them for one device at most; one more is
  refused (503, 429), which its client answers by waiting, while a queue would look to it like
  a dead link;
* a **small upload** brings no more than `GATHERED_BYTES`, which are here when its head is: it waits for nobody
  but the disk. A few run at once, and the others wait for their turn without a thread, so that nobody is
  refused for many of them. One whose bytes come later is an upload like any other;
* a **reading** request (block digests, lists, what is put together of other uploads) reads or makes
  megabytes for a line of text. Two run at once, one of each device: nobody else waits for it;
* a **control** request (create, complete, abort) is short, but may wait for the disk. A few run at once,
  and the others wait for their turn without a thread;
* a **download** reads a published file, or what has arrived of one, for as long as its reader takes. Four have a thread at once, one while
  uploads come, each for `SLICE_BYTES` and then behind those that wait: however many are read, and however
  fast, the rest go on;
* a **light** one (status, probe, health) is never refused and never waits behind the others.

Those that wait go on in turn by device (`queues`): of each a few run at once, and whoever asks for much
waits for itself. What comes without a good credential counts as its address.

So a server needs as many threads as uploads and `RESERVED_THREADS` more.

Whoever is refused for too much gets the answer `HELD_S` later (`front.held`): to ask again at once would
else cost the server more than the asker.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, auto

from ingest_server.core.errors import Refused
from ingest_server.front.request_head import RequestHead

CONTROL_THREADS = 16
"""Control requests at once: what one disk and a few cores can do at the same time."""
CONTROL_OF_ONE_DEVICE = 4
CONTROL_OF_ONE_PEER = 12
"""Of one address whose credentials nobody knows yet: whoever is known finds a turn beside them."""
LIGHT_THREADS = 8
LIGHT_OF_ONE_DEVICE = 4
LIGHT_OF_ONE_PEER = 8
"""Light requests of one address at once. Not fewer: behind one address there may be a whole site."""
SMALL_THREADS = 16
SMALL_OF_ONE_DEVICE = 4
SMALL_OF_ONE_PEER = 12
READING_THREADS = 2
READING_OF_ONE = 1
DOWNLOAD_THREADS = 4
DOWNLOADS_BESIDE_UPLOADS = 1
"""While uploads come. One alone gives its readers hundreds of MB/s; each more is one more that every piece
of an upload waits behind, for the processor and for the interpreter."""
UPLOADS_PAUSE_S = 1.0
"""Uploads come still for so long after the last one: a device pauses between two pieces, and longer ones
are those of a device that waits for its next recording."""
SLICE_BYTES = 4 * 1024 * 1024
"""Of a download in one turn: some ms, or what a disk reads in some tens of them."""
RESERVED_THREADS = (
    CONTROL_THREADS + SMALL_THREADS + LIGHT_THREADS + READING_THREADS + DOWNLOAD_THREADS
)

GATHERED_BYTES = 16 * 1024
"""A JSON body up to this size is received before its request takes a thread. Up to it, an upload is small."""

BUSY_RETRY_S = 5.0
"""When a refused upload comes back: a request takes 5 to 10 s, so some thread is free by then."""
DEVICE_RETRY_S = 1.0
HELD_S = 0.5
"""How long a refusal is held back: each connection that asks again at once is refused twice a second. Agents and
curl wait one second for a `100 Continue`; a refusal that came later would find their body on its way."""

RECORDINGS_PATH = "/v1/fleet/recordings"
PARTIAL_PATH = "/v1/fleet/partial"
CONTENT = "/content"

_LIGHT_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_READING = frozenset({"blocks", "uploads", "upload", "recordings", "partial", "groups"})
"""What a path ends with that asks for digests of blocks, or for a list, of any protocol."""


class Cost(Enum):
    """What a request may hold up."""

    UPLOAD = auto()
    SMALL = auto()
    READING = auto()
    DOWNLOAD = auto()
    CONTROL = auto()
    LIGHT = auto()


def is_gathered(head: RequestHead) -> bool:
    """Whether the request's body is received before the request takes a thread."""
    return (
        head.method == b"POST"
        and not head.is_put
        and 0 < head.length <= GATHERED_BYTES
        and not head.is_chunked
        and _is_json(head.headers.get(b"Content-Type", b"").decode("latin-1"))
    )


def may_be_small(head: RequestHead) -> bool:
    """Whether the request's body is to be looked for before the request takes a thread.

    Not where it is held back: a client that waits for the application's word is to get that word.
    """
    return 0 < head.length <= GATHERED_BYTES and not head.is_chunked and not head.expects_continue


def cost_of(head: RequestHead, *, is_whole: bool = False) -> Cost:
    """Return what kind of request it is.

    By what it asks for: what is not to bring anything costs no less for the body that it brings.

    Args:
        is_whole: its body `may_be_small`, and has arrived.
    """
    # HEAD is answered by what answers GET.
    if head.method in {b"GET", b"HEAD"}:
        if is_download(head.plain_path):
            return Cost.DOWNLOAD
        if head.plain_path.rpartition("/")[2] in _READING:
            return Cost.READING
    has_body = head.length > 0 or head.is_chunked
    # With a body it is refused as such: it may hold the thread of an upload, but no turn at reading.
    if head.method == b"POST" and not has_body and _concatenates(head):
        return Cost.READING
    if head.method in _LIGHT_METHODS:
        return Cost.LIGHT
    brings = has_body and head.method != b"DELETE"
    if not brings or is_gathered(head):
        return Cost.CONTROL
    return Cost.SMALL if is_whole else Cost.UPLOAD


def is_download(path: str) -> bool:
    """Whether what is at *path* may be a whole recording, or what has arrived of one."""
    return path.startswith((RECORDINGS_PATH, PARTIAL_PATH)) and path.endswith(CONTENT)


def _concatenates(head: RequestHead) -> bool:
    return head.headers.get(b"Upload-Concat", b"").strip().startswith(b"final")


def is_upload(
    method: str, length: int | None, content_type: str | None, *, is_chunked: bool
) -> bool:
    """Whether a request may hold its thread for a body: whatever `is_gathered` does not speak of."""
    if is_chunked:
        return True
    limit = GATHERED_BYTES if method == "POST" and _is_json(content_type or "") else 0
    return (length or 0) > limit


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


class Admission:
    """Counts the requests that run; on any WSGI server."""

    def __init__(self, max_uploads: int, max_requests_per_device: int | None = None) -> None:
        self.max_requests_per_device = max_requests_per_device
        self._max_uploads = max_uploads
        self._uploads = 0
        self._devices: Counter[str] = Counter()
        self._senders: Counter[str] = Counter()
        """Those of them that are uploads."""
        self._lock = threading.Lock()

    @property
    def uploads(self) -> int:
        return self._uploads

    def admit(self, device: str | None, *, is_upload: bool, has_too_many: bool = False) -> Admitted:
        """Count a request in; `Admitted.leave` counts it out.

        Args:
            has_too_many: as many requests of the device as may run wait for their turn already.

        Raises:
            Refused: too many run already.
        """
        with self._lock:
            most = self.max_requests_per_device
            runs = 0 if device is None else self._devices[device]
            if device is not None and most is not None and (has_too_many or runs >= most):
                detail = f"{most} requests of this device run or wait already, as many as are taken"
                raise Refused("too-many-requests", detail, retry_after_s=DEVICE_RETRY_S)
            if is_upload and self._uploads >= self._max_uploads:
                detail = f"{self._max_uploads} uploads run already, as many as the server takes"
                raise Refused("server-busy", detail, retry_after_s=BUSY_RETRY_S)
            share = self._max_uploads - self._max_uploads // 4
            if is_upload and device is not None and self._senders[device] >= share:
                detail = (
                    f"{share} uploads of this device run already; the rest is for other devices"
                )
                raise Refused("too-many-requests", detail, retry_after_s=BUSY_RETRY_S)
            self._uploads += is_upload
            if device is not None:
                self._devices[device] += 1
                self._senders[device] += is_upload
        return Admitted(self, device, is_upload)

    def _leave(self, device: str | None, is_upload: bool) -> None:
        with self._lock:
            self._uploads -= is_upload
            if device is not None:
                self._devices[device] -= 1
                self._senders[device] -= is_upload
                if not self._devices[device]:
                    del self._devices[device], self._senders[device]


UNBOUNDED = Admission(1_000_000)


@dataclass(slots=True)
class Admitted:
    """A request that runs."""

    _admission: Admission
    _device: str | None
    _is_upload: bool
    _has_left: bool = field(default=False)

    def leave(self) -> None:
        """Count the request out; more than once does nothing."""
        if not self._has_left:
            self._has_left = True
            self._admission._leave(self._device, self._is_upload)
