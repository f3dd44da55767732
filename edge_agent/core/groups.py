"""What a file is to the others that it belongs together with, and where it stands among them.

A camera writes more than a video: a small copy of it, a picture, what the drone measured, and beyond 4 GB a
further file. Which of them are one group follows from their names (`families`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """What a file is to its group; the greater goes first, for it says most in the fewest bytes."""

    ORIGINAL = 0
    """What the recorder is for; and every file of which nothing else is known."""
    PROXY = 1
    """The same pictures, small."""
    SIDECAR = 2
    """What was measured or noted beside it."""
    THUMBNAIL = 3
    """One picture of it."""

    @property
    def word(self) -> str:
        """How it is called in messages and manifests."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file stands among others."""

    family: str
    folder: str
    """The folder that all of the group are in, or below."""
    key: str
    """What the names of the group have in common there, in lower case."""
    title: str
    """The group's name for people, as the recorder wrote it."""
    role: Role
    part: int | None = None
    """Which part of a recording that was cut into several, from 1."""
    serial: int | None = None
    """The recorder counts with it: a greater one in this folder was begun later."""
    pattern: str = ""
    """The name of a part, with ``{}`` for its number; empty: it follows from no number."""

    @property
    def series(self) -> str | None:
        """What all groups have in common that one recorder writes one after the other; None: unknown."""
        return None if self.serial is None else f"{self.family}\0{self.folder}"

    @property
    def whole_key(self) -> str:
        """What no other group of the device has."""
        return f"{self.family}\0{self.folder.casefold()}\0{self.key}"


_THUMBNAILS = frozenset({"thm"})
_PROXIES = frozenset({"lrv", "lrf", "glv", "lrvb"})
_BESIDE = """
    srt vtt ass sub json jsonl ndjson geojson xml xmp yaml yml csv tsv txt pts gpx kml kmz nmea nme gps 3gf
    gsensor imu mrk nav obs rtk rpos rtb rtl rts sig mxv aae bim cpi md5 sha256 log moi
"""
_SIDECARS = frozenset(_BESIDE.split())
_OVER = frozenset({"gz", "bz2", "xz", "zst", "zstd", "lz4"})
"""Packed: the ending before it says what it is."""
_RECORDED = """
    mp4 mov m4v mkv webm ts mts m2ts mpg mpeg avi flv wmv mxf mjpeg mjpg h264 h265 264 265 hevc avc insv insp 360
    jpg jpeg png dng arw cr2 cr3 nef raf orf rw2 heic tif tiff wav mcap bag db3 ulg bin
"""
_MEDIA = frozenset(_RECORDED.split())


def role_of_ending(name: str) -> Role:
    """Return what the ending of a name says by itself."""
    words = name.lower().split(".")
    ending = words[-2] if len(words) > 2 and words[-1] in _OVER else words[-1]
    if len(words) < 2 or not words[0]:
        return Role.ORIGINAL
    for role, endings in (
        (Role.THUMBNAIL, _THUMBNAILS),
        (Role.PROXY, _PROXIES),
        (Role.SIDECAR, _SIDECARS),
    ):
        if ending in endings:
            return role
    return Role.ORIGINAL


def stem_of(name: str) -> str:
    """Return *name* without its ending, and without that of the file that it is about."""
    stem, dot, ending = name.rpartition(".")
    if not dot or not stem:
        return name
    if ending.lower() in _OVER:
        return stem_of(stem)
    before, dot, inner = stem.rpartition(".")
    return before if dot and before and inner.lower() in _MEDIA else stem
