"""The headers of the containers that cameras write: MP4 and MOV, Matroska and WebM, AVI."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from edge_agent.media.facts import Facts, Parser, ReadWindow, Unreadable

_1904 = datetime(1904, 1, 1, tzinfo=UTC)
_2001 = datetime(2001, 1, 1, tzinfo=UTC)
_HOLDERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"udta", b"mvex"})
_DEEPEST = 8


def _boxes(window: ReadWindow, at: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box, where its content begins and where it ends, by what it says itself."""
    while at + 8 <= stop:
        size, kind = struct.unpack(">I4s", window.at(at, 8))
        start = at + 8
        if size == 1:
            (size,) = struct.unpack(">Q", window.at(start, 8))
            start += 8
        elif size == 0:
            size = stop - at
        if at + size < start:
            raise Unreadable
        yield kind, start, at + size
        at += size


def mp4(window: ReadWindow, facts: Facts) -> None:
    """Read MP4 and MOV. Whole is what has an index, and whose last box is whole."""
    facts.is_unfinalised = True
    has_index = False
    end = 0
    for kind, start, end in _boxes(window, 0, window.length):
        if kind == b"moov" and end <= window.length and not has_index:
            has_index = True
            _in_moov(window, facts, start, end, 0)
    facts.is_unfinalised = not has_index or end != window.length


def _in_moov(window: ReadWindow, facts: Facts, at: int, stop: int, depth: int) -> None:
    for kind, start, end in _boxes(window, at, stop):
        if end > stop:
            return
        if kind in _HOLDERS and depth < _DEEPEST:
            _in_moov(window, facts, start, end, depth + 1)
        elif kind == b"mvhd":
            _movie_header(window, facts, start)
        elif kind == b"tkhd":
            width, height = struct.unpack(">II", window.at(end - 8, 8))
            facts.width, facts.height = facts.width or width >> 16, facts.height or height >> 16
        elif kind == b"stsd" and end - start >= 16:
            facts.add_codec(window.at(start + 12, 4).decode("latin-1").strip())
        elif kind == b"\xa9xyz" and 4 < end - start < 100:
            facts.place(window.at(start + 4, end - start - 4).decode("latin-1"))
        elif kind == b"loci" and 6 < end - start < 300:
            _place(window.at(start + 6, end - start - 6), facts)


def _place(content: bytes, facts: Facts) -> None:
    """Take the place of 3GPP's box: a name, a role, and three numbers of 16.16 bits."""
    _, _, rest = content.partition(b"\0")
    if len(rest) >= 9:
        longitude, latitude = (one / 65536 for one in struct.unpack(">ii", rest[1:9]))
        facts.place(f"{latitude:+08.4f}{longitude:+09.4f}")


def _movie_header(window: ReadWindow, facts: Facts, start: int) -> None:
    is_long = window.at(start, 1) == b"\1"
    form, size = (">QQIQ", 28) if is_long else (">IIII", 16)
    created, _, scale, duration = struct.unpack(form, window.at(start + 4, size))
    facts.capture(_1904, created)
    if scale and duration not in {0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF}:
        facts.last(duration / scale)


_SEGMENT, _CLUSTER, _INFO, _TRACKS = 0x18538067, 0x1F43B675, 0x1549A966, 0x1654AE6B
_TRACK, _VIDEO, _VOID = 0xAE, 0xE0, 0xEC
_SCALE, _DURATION, _DATE, _CODEC, _WIDTH, _HEIGHT = 0x2AD7B1, 0x4489, 0x4461, 0x86, 0xB0, 0xBA
_NESTS = frozenset({_INFO, _TRACKS, _TRACK, _VIDEO})
_LEAVES = frozenset({_SCALE, _DURATION, _DATE, _CODEC, _WIDTH, _HEIGHT})
_LONGEST_LEAF = 64


def matroska(window: ReadWindow, facts: Facts) -> None:
    """Read Matroska and WebM. A stream has no length from its beginning; a file gets it at its close.

    Raises:
        Unreadable: there is no more to be had of it.
    """
    _, at, end = _element(window, 0)
    kind, start, end = _element(window, at if end is None else end)
    if kind != _SEGMENT:
        raise Unreadable
    segment = _Segment(window, facts)
    segment.read(start, end or window.length, 0)
    found = segment.found
    scale = int.from_bytes(found.get(_SCALE, b"\x0f\x42\x40"))
    facts.last(_number(found.get(_DURATION, b"")) * scale / 1e9)
    if _DATE in found:
        facts.capture(_2001, int.from_bytes(found[_DATE], signed=True) / 1e9)
    facts.width, facts.height = (int.from_bytes(found.get(one, b"")) for one in (_WIDTH, _HEIGHT))
    is_left_open = segment.has_room and _DURATION not in found
    facts.is_unfinalised = is_left_open if end is None else end > window.length


@dataclass
class _Segment:
    """What is in front of the first cluster."""

    window: ReadWindow
    facts: Facts
    found: dict[int, bytes] = field(default_factory=dict)
    has_room: bool = False
    """Whether there is room for a duration, which a recorder writes at the close."""

    def read(self, at: int, stop: int, depth: int) -> None:
        while at < min(stop, self.window.length):
            kind, start, end = _element(self.window, at)
            if kind == _CLUSTER or end is None:
                return
            if kind in _NESTS and depth < _DEEPEST:
                self.read(start, end, depth + 1)
            elif kind in _LEAVES and end - start <= _LONGEST_LEAF:
                self._take(kind, self.window.at(start, end - start))
            elif kind == _VOID and depth == 1:
                self.has_room = True
            at = end

    def _take(self, kind: int, content: bytes) -> None:
        self.found.setdefault(kind, content)
        if kind == _CODEC:
            self.facts.add_codec(content.decode("latin-1"))


def _element(window: ReadWindow, at: int) -> tuple[int, int, int | None]:
    """Return what an element is, where its content begins and ends; None: nobody knows yet."""
    kind, at = _varied(window, at, 4, keeps_mark=True)
    size, start = _varied(window, at, 8)
    is_unknown = size == (1 << 7 * (start - at)) - 1
    return kind, start, None if is_unknown else start + size


def _varied(window: ReadWindow, at: int, most: int, *, keeps_mark: bool = False) -> tuple[int, int]:
    first = window.at(at, 1)[0]
    length = 9 - first.bit_length()
    if length > most:
        raise Unreadable
    number = int.from_bytes(window.at(at, length))
    return (number if keeps_mark else number & ((1 << 7 * length) - 1)), at + length


def _number(raw: bytes) -> float:
    form = {4: ">f", 8: ">d"}.get(len(raw))
    return 0.0 if form is None else float(struct.unpack(form, raw)[0])


def avi(window: ReadWindow, facts: Facts) -> None:
    """Read AVI. Its recorder writes the count of frames at the close.

    Raises:
        Unreadable: there is no more to be had of it.
    """
    size, form = struct.unpack("<I4s", window.at(4, 8))
    if form != b"AVI " or window.at(24, 4) != b"avih":
        raise Unreadable
    frame_us, frames = struct.unpack("<I12xI", window.at(32, 20))
    facts.width, facts.height = struct.unpack("<II", window.at(64, 8))
    facts.add_codec(window.at(112, 4).decode("latin-1"))
    facts.last(frame_us * frames / 1e6)
    facts.is_unfinalised = not frames or size + 8 > window.length


PARSERS: Mapping[bytes, tuple[int, Parser]] = MappingProxyType(
    {
        **dict.fromkeys((b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"), (4, mp4)),
        b"\x1a\x45\xdf\xa3": (0, matroska),
        b"RIFF": (0, avi),
    }
)
