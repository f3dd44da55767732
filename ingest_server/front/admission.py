"""How many requests run at once: uploads up to their number, and always room for all others.

Three kinds of request:

* an **upload** carries a body that comes as fast as its sender's link, so it may hold a thread for
  hours. There are as many as configured; one more is refused at once (503), which its client
  answers by waiting, while a queue would look to it like a dead link;
* a **control** request (create, complete, abort, block digests) is short, but may wait for the disk.
  A few run at once, and the others wait for their turn without a thread;
* a **light** one (status, probe, health) is never refused and never waits behind the other two, nor
  behind those of another address: of one address a few run at once, and the others wait their turn.

So a server needs as many threads as uploads and `RESERVED_THREADS` more.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ingest_server.core.errors import Refused
from ingest_server.front.request_head import RequestHead

CONTROL_THREADS = 16
"""Control requests at once: what one disk and a few cores can do at the same time."""
LIGHT_THREADS = 8
RESERVED_THREADS = CONTROL_THREADS + LIGHT_THREADS
LIGHT_OF_ONE_PEER = 8
"""Light requests of one address at once. Not fewer: behind one address there may be a whole site."""

GATHERED_BYTES = 16 * 1024
"""A JSON body up to this size is received before its request takes a thread."""

BUSY_RETRY_S = 5.0
"""When a refused upload comes back: a request takes 5 to 10 s, so some thread is free by then."""
DEVICE_RETRY_S = 1.0

_LIGHT_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})

T = TypeVar("T")


def is_gathered(head: RequestHead) -> bool:
    """Whether the request's body is received before the request takes a thread."""
    return (
        head.method == b"POST"
        and not head.is_put
        and 0 < head.length <= GATHERED_BYTES
        and not head.is_chunked
        and _is_json(head.headers.get(b"Content-Type", b"").decode("latin-1"))
    )


def is_control(head: RequestHead) -> bool:
    """Whether the request is short but may wait for the disk."""
    if head.length or head.is_chunked:
        return is_gathered(head)
    return head.method not in _LIGHT_METHODS or head.plain_path.endswith("/blocks")


def is_light(head: RequestHead) -> bool:
    """Whether the request neither brings a body nor may wait for the disk."""
    return not head.length and not head.is_chunked and not is_control(head)


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
        self._lock = threading.Lock()

    @property
    def uploads(self) -> int:
        return self._uploads

    def admit(self, device: str | None, *, is_upload: bool) -> Admitted:
        """Count a request in; `Admitted.leave` counts it out.

        Raises:
            Refused: too many run already.
        """
        with self._lock:
            most = self.max_requests_per_device
            if device is not None and most is not None and self._devices[device] >= most:
                detail = f"{most} requests of this device run already, as many as are taken"
                raise Refused("too-many-requests", detail, retry_after_s=DEVICE_RETRY_S)
            if is_upload and self._uploads >= self._max_uploads:
                detail = f"{self._max_uploads} uploads run already, as many as the server takes"
                raise Refused("server-busy", detail, retry_after_s=BUSY_RETRY_S)
            self._uploads += is_upload
            if device is not None:
                self._devices[device] += 1
        return Admitted(self, device, is_upload)

    def _leave(self, device: str | None, is_upload: bool) -> None:
        with self._lock:
            self._uploads -= is_upload
            if device is not None:
                self._devices[device] -= 1
                if not self._devices[device]:
                    del self._devices[device]


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


class Turns(Generic[T]):
    """Who may go on, first come, first served; whoever may not waits here without a thread.

    *most* at once for each name; those of different names do not wait for each other.
    """

    def __init__(self, most: int, go_on: Callable[[T], None]) -> None:
        self._most = most
        self._go_on = go_on
        self._taken: Counter[str] = Counter()
        self._waiting: dict[str, deque[T]] = {}
        self._lock = threading.Lock()

    def take(self, name: str = "") -> bool:
        """Begin a turn at once, if one is free; false otherwise."""
        with self._lock:
            is_free = self._taken[name] < self._most
            self._taken[name] += is_free
            return is_free

    def ask(self, one: T, name: str = "") -> None:
        """Let *one* go on, now or once somebody of that name ends a turn."""
        with self._lock:
            if self._taken[name] >= self._most:
                self._waiting.setdefault(name, deque()).append(one)
                return
            self._taken[name] += 1
        self._go_on(one)

    def end(self, name: str = "") -> None:
        """End a turn: the next one of that name goes on."""
        with self._lock:
            waiting = self._waiting.get(name)
            if not waiting:
                self._taken[name] -= 1
                if not self._taken[name]:
                    del self._taken[name]
                return
            following = waiting.popleft()
            if not waiting:
                del self._waiting[name]
        self._go_on(following)

    def dismiss(self) -> list[T]:
        """Return all who wait, and forget them."""
        with self._lock:
            rest = [one for waiting in self._waiting.values() for one in waiting]
            self._waiting.clear()
        return rest
