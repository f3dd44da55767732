"""The bytes of a recording in a browser's hands.

What a device has sent is data: it may be a page or a picture with a program in it. It is never shown
as that: only sound, video and pictures of pixels are played, everything else is a file to be kept,
no browser guesses what it is, and what is opened all the same may do nothing.
"""

from __future__ import annotations

import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol
from urllib.parse import quote

from ingest_server.core.errors import Refused
from ingest_server.core.names import component

MOST_OPEN = 64
"""Downloads at once, those that wait for their readers among them; each has a descriptor. One reader has half."""
MOST_OPEN_ELSEWHERE = 8
"""On a container that is not ours each has a thread too, for as long as its reader takes."""
BUSY_RETRY_S = 5.0
MOST_READERS = 1024
"""Remembered; the least recent is forgotten first, and noted once more."""

PLAYED = {
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "ogv": "video/ogg",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
}
"""What a browser plays, by how a name ends. By that alone: a type that a device names is its own word."""

HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Accept-Ranges": "bytes",
    "Cache-Control": "private, no-cache",
}

_PLAIN = re.compile(r"[^A-Za-z0-9._ -]")


class DownloadPlaces:
    """How many downloads are open, and whose: one reader leaves half of the places to all others."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, who: str, most: int) -> Callable[[], None]:
        """Take a place; returns how it is given back, once, however often that is called.

        Raises:
            Refused: all are taken, or half of them by *who*.
        """
        with self._lock:
            if self._taken.total() >= most:
                detail = f"{most} recordings are read at this moment, as many as the server gives"
                raise Refused("server-busy", detail, retry_after_s=BUSY_RETRY_S)
            if self._taken[who] >= most // 2:
                detail = f"you read {most // 2} recordings at this moment, as many as one may"
                raise Refused("server-busy", detail, retry_after_s=BUSY_RETRY_S)
            self._taken[who] += 1
        is_taken = True

        def leave() -> None:
            nonlocal is_taken
            with self._lock:
                if is_taken:
                    self._taken.subtract([who])
                    self._taken += Counter()  # nobody is kept who reads nothing
                is_taken = False

        return leave


class Readers:
    """Who has begun to read what: a browser asks for many parts, and whoever reads may begin at any."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def is_new(self, who: str, upload_id: str) -> bool:
        """Return whether nobody of that name is remembered to read it; from here on somebody is."""
        with self._lock:
            is_new = (who, upload_id) not in self._seen
            self._seen[who, upload_id] = None
            self._seen.move_to_end((who, upload_id))
            while len(self._seen) > MOST_READERS:
                self._seen.popitem(last=False)
        return is_new


class Content(Protocol):
    """Bytes that are open to be read."""

    def pieces(self, start: int, stop: int, question: Callable[[], None]) -> Iterator[bytes]:
        """Yield the bytes ``[start, stop)``; *question* raises once no more may be given."""
        ...

    def close(self) -> None: ...


class DownloadBody:
    """The body of an answer; whatever serves it closes it."""

    def __init__(
        self, content: Content, pieces: Iterator[bytes], leave: Callable[[], None]
    ) -> None:
        self._content: Content | None = content
        self._pieces = pieces
        self._leave = leave

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._leave()
        content, self._content = self._content, None
        if content is not None:
            content.close()


def media_type_of(name: str) -> str | None:
    """Return as what a browser plays a file of that name; None: it does not."""
    return PLAYED.get(name.rpartition(".")[2].lower()) if "." in name else None


def disposition(name: str, *, is_played: bool) -> str:
    """Return what a browser is to do with a file, and how to call it (RFC 6266, RFC 8187).

    It is called as the server itself would call it: without what turns a name round or begins a line.
    """
    safe = component(name)
    plain = _PLAIN.sub("_", safe).strip(". ")[-100:] or "recording"
    encoded = quote(safe, safe="")
    kind = "inline" if is_played else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
