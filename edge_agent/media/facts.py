"""What a recording says of itself: how long it is, its codecs, when and where it was made, whether it is whole.

Read from the container's headers, at most `_MOST_BYTES` in `_MOST_READS` pieces of it, whatever they say: a
hostile file costs a moment, and gives no facts or wrong ones. Facts only help: people find a recording by
them, and nothing is decided by them here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_MOST_BYTES = 1 << 20
_MOST_READS = 20_000
"""A fragmented recording has two boxes each second: that is nearly three hours of it."""
_LONGEST_S = 366 * 86_400.0
_MOST_CODECS = 8
_LOCATION = re.compile(
    r"([+-]\d{1,2}(?:\.\d{1,9})?)([+-]\d{1,3}(?:\.\d{1,9})?)(?:[+-]\d{1,6}(?:\.\d{1,4})?)?/?"
)
_CODECS = {
    "avc1": "h264",
    "avc3": "h264",
    "hvc1": "h265",
    "hev1": "h265",
    "av01": "av1",
    "vp09": "vp9",
    "mp4a": "aac",
    "jpeg": "mjpeg",
    "h264": "h264",
    "v_mpeg4/iso/avc": "h264",
    "v_mpegh/iso/hevc": "h265",
    "v_av1": "av1",
    "v_vp9": "vp9",
    "a_aac": "aac",
    "a_opus": "opus",
}


class Unreadable(Exception):  # noqa: N818 - it ends a search, and is no fault
    """The file ends before that, or enough of it was read."""


@dataclass
class Facts:
    """What was found; what nobody said is None."""

    duration_s: float | None = None
    codecs: list[str] = field(default_factory=list)
    width: int = 0
    height: int = 0
    captured_at: datetime | None = None
    location: str | None = None
    """ISO 6709: ``+48.1374+011.5755``."""
    is_unfinalised: bool = False
    """Whether the recorder has not come to close it: most players show nothing, or not the end."""

    def add_codec(self, name: str) -> None:
        plain = re.sub(r"[^a-z0-9_/.-]", "", name.lower())[:32]
        known = _CODECS.get(plain, plain)
        if known and known not in self.codecs and len(self.codecs) < _MOST_CODECS:
            self.codecs.append(known)

    def place(self, text: str) -> None:
        """Take a place in the form of ISO 6709; one without a fix (0, 0) is none."""
        found = _LOCATION.fullmatch(text.strip("\0 "))
        if found is None:
            return
        latitude, longitude = float(found[1]), float(found[2])
        if abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude or longitude):
            self.location = found[1] + found[2]

    def capture(self, epoch: datetime, seconds: float) -> None:
        """Take the time *seconds* after *epoch*; 0 is what cameras without a clock write."""
        if seconds:
            try:
                self.captured_at = epoch + timedelta(seconds=seconds)
            except OverflowError:
                return

    def last(self, seconds: float) -> None:
        """Take a duration; 0, and what no recording can have, is none."""
        if 0 < seconds < _LONGEST_S:
            self.duration_s = seconds

    def to_metadata(self) -> dict[str, str]:
        """Return it as the strings that a server is told."""
        found: dict[str, str] = {}
        if self.duration_s is not None:
            found["duration_s"] = f"{self.duration_s:.3f}"
        if self.codecs:
            found["codecs"] = ",".join(self.codecs)
        if 0 < self.width < 1 << 16 and 0 < self.height < 1 << 16:
            found["dimensions"] = f"{self.width}x{self.height}"
        if self.captured_at is not None:
            found["captured_at"] = self.captured_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if self.location is not None:
            found["location"] = self.location
        if self.is_unfinalised:
            found["unfinalised"] = "true"
        return found


class ReadWindow:
    """The bytes of a file, of which so many may be read and no more."""

    def __init__(self, read: Callable[[int, int], bytes], length: int) -> None:
        self.length = length
        self._read = read
        self._bytes, self._reads = _MOST_BYTES, _MOST_READS

    def at(self, offset: int, size: int) -> bytes:
        """Return *size* bytes from *offset*.

        Raises:
            Unreadable: there are fewer, or too much was read already.
        """
        self._bytes -= size
        self._reads -= 1
        if self._bytes < 0 or self._reads < 0 or not 0 <= offset <= self.length - size:
            raise Unreadable
        return self._read(offset, size)


Parser = Callable[[ReadWindow, Facts], None]


def facts_of(
    read: Callable[[int, int], bytes], length: int, parsers: Mapping[bytes, tuple[int, Parser]]
) -> Facts:
    """Return what the file says of itself, as far as it is understood.

    Args:
        read: returns bytes from an offset.
        length: of the file.
        parsers: by the bytes that a container has, and where.
    """
    window, facts = ReadWindow(read, length), Facts()
    try:
        head = window.at(0, 12)
    except Unreadable:
        return facts
    for mark, (offset, parse) in parsers.items():
        if head[offset : offset + len(mark)] == mark:
            try:
                parse(window, facts)
            except Unreadable:
                break
    return facts
