"""How recorders name their files: which belong together, by their names alone.

`FAMILIES` is the table of who names them how. What no family knows belongs together by its stem:
``flight.mp4``, ``flight.srt``, ``flight.mp4.json``.

Names are data. Every pattern reads a name once from left to right, and a name that fits none is a group
of one. Letters count alike in either case: FAT has kept no lower ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.core.groups import Place, Role, role_of_ending, stem_of

_Match = re.Match[str]

_SMALL_COPY = re.compile(r"(?P<stem>.+)[-_.](?:proxy|lowres|low|preview|sub)\Z", re.IGNORECASE)
_PICTURE = re.compile(r"(?P<stem>.+)[-_.](?:thumb|thumbnail|poster)\Z", re.IGNORECASE)


def place_of(folder: str, name: str) -> Place:
    """Return where the file *name* in *folder* stands; the folder has ``/`` between its parts."""
    for family in FAMILIES:
        found = family.pattern.fullmatch(name)
        if found is not None:
            place = family.place(folder, name, found)
            if place is not None:
                return place
    return _by_stem(folder, name)


def _by_stem(folder: str, name: str) -> Place:
    role = role_of_ending(name)
    stem = stem_of(name)
    for pattern, meant in ((_SMALL_COPY, Role.PROXY), (_PICTURE, Role.THUMBNAIL)):
        found = pattern.fullmatch(stem)
        if found is not None:
            stem, role = found["stem"], meant if role is Role.ORIGINAL else role
            break
    return Place("stem", folder, stem.casefold(), stem, role)


def _gopro(folder: str, name: str, found: _Match) -> Place:
    number, head = found["number"], found["head"].upper()
    role = role_of_ending(name)
    if role is Role.ORIGINAL and head == "GL":
        role = Role.PROXY
    if name.lower().endswith(".wav"):
        role = Role.SIDECAR
    part = int(found["chapter"])
    is_old = head == "GP"
    # The first chapter of older cameras is GOPR1234, the second GP011234.
    title = f"GOPR{number}" if is_old else f"{'GX' if head == 'GL' else head}01{number}"
    pattern = f"{head}{{:02d}}{number}.{name.rpartition('.')[2]}"
    known = "" if is_old or role is not Role.ORIGINAL else pattern
    return Place("gopro", folder, number, title, role, part + is_old, int(number), pattern=known)


def _gopro_first(folder: str, name: str, found: _Match) -> Place:
    number = found["number"]
    if name.lower().endswith((".jpg", ".gpr")):  # a photo counts with them, and is by itself
        return Place("stem", folder, stem_of(name).casefold(), stem_of(name), Role.ORIGINAL)
    role = role_of_ending(name)
    return Place("gopro", folder, number, f"GOPR{number}", role, 1, int(number))


def _gopro_loop(folder: str, name: str, found: _Match) -> Place:
    key = found["loop"]
    role = role_of_ending(name)
    if role is Role.ORIGINAL and found["head"].upper() == "GL":
        role = Role.PROXY
    return Place("gopro-loop", folder, key.casefold(), f"{key.upper()} loop", role)


def _insta360(folder: str, name: str, found: _Match) -> Place:
    is_small = found["kind"].upper() == "LRV"
    key = f"{found['moment']}_{found['number']}"
    role = Role.PROXY if is_small else role_of_ending(name)
    return Place("insta360", folder, key, f"VID_{key}", role)


def _dji_lenses(folder: str, name: str, found: _Match) -> Place:
    key = f"dji_{found['moment']}_{found['number']}"
    return Place("dji", folder, key, key.upper(), role_of_ending(name))


def _dji(folder: str, name: str, found: _Match) -> Place:
    stem = stem_of(name)
    number = int(found["number"])
    return Place("dji", folder, stem.casefold(), stem, role_of_ending(name), serial=number)


def _blackvue(folder: str, name: str, found: _Match) -> Place:
    key = f"{found['moment']}_{found['mode']}".upper()
    role = Role.PROXY if (found["sub"] or "").upper() == "S" else role_of_ending(name)
    return Place("blackvue", folder, key.casefold(), key, role)


_SONY_FOLDERS = frozenset({"clip", "sub", "thmbnl"})


def _sony(folder: str, name: str, found: _Match) -> Place | None:
    parent, _, last = folder.rpartition("/")
    kind = (found["kind"] or "").upper()
    if last.lower() not in _SONY_FOLDERS:
        if not kind.startswith("M"):
            return None
        parent = folder
    role = {"M": Role.SIDECAR, "S": Role.PROXY, "T": Role.THUMBNAIL}.get(
        kind[:1], role_of_ending(name)
    )
    if parent == folder:  # copied out of its folders: beside the clip by its stem
        return Place("stem", folder, found["clip"].casefold(), found["clip"], role)
    return Place("sony", parent, found["clip"].casefold(), found["clip"], role)


def _rosbag(folder: str, _name: str, found: _Match) -> Place | None:
    bag = folder.rpartition("/")[2]
    if not bag or found["bag"].casefold() != bag.casefold():
        return None
    return Place("rosbag2", folder, "", bag, Role.ORIGINAL, int(found["number"]) + 1)


def _rosbag_metadata(folder: str, _name: str, _found: _Match) -> Place | None:
    bag = folder.rpartition("/")[2]
    return Place("rosbag2", folder, "", bag, Role.SIDECAR) if bag else None


_SEGMENT = re.compile(
    r"(?:[0-9a-f]{16}[|_])?(?:\d{4}-\d\d-\d\d--\d\d-\d\d-\d\d|[0-9a-f]{8}--[0-9a-f]{10})--\d{1,5}\Z",
    re.IGNORECASE | re.ASCII,
)


def _openpilot(folder: str, _name: str, found: _Match) -> Place | None:
    segment = folder.rpartition("/")[2]
    if _SEGMENT.match(segment) is None:
        return None
    is_small = found["what"].lower() in {"qlog", "qcamera"}
    return Place("openpilot", folder, "", segment, Role.PROXY if is_small else Role.ORIGINAL)


_EVENT_FOLDER = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\Z", re.ASCII)


def _tesla(folder: str, name: str, _found: _Match) -> Place | None:
    event = folder.rpartition("/")[2]
    if _EVENT_FOLDER.match(event) is None:
        return None
    role = Role.THUMBNAIL if name.lower() == "thumb.png" else role_of_ending(name)
    return Place("tesla", folder, "", event, role)


@dataclass(frozen=True, slots=True)
class Family:
    """How one kind of recorder names its files."""

    name: str
    pattern: re.Pattern[str]
    place: Callable[[str, str, _Match], Place | None]
    """None: only the name looks like one of theirs."""
    source: str
    """Where that is written down."""


def _family(
    name: str, pattern: str, place: Callable[[str, str, _Match], Place | None], source: str
) -> Family:
    return Family(name, re.compile(pattern, re.IGNORECASE | re.ASCII), place, source)


_GOPRO = "GoPro, Camera File Naming Convention (HERO2 to HERO13, MAX, Fusion)"

FAMILIES = (
    _family(
        "gopro",
        r"(?P<head>G[HXLSPFB])(?P<chapter>\d\d)(?P<number>\d{4})\.(?:mp4|360|lrv|thm|wav)",
        _gopro,
        _GOPRO,
    ),
    _family("gopro", r"GOPR(?P<number>\d{4})\.(?:mp4|lrv|thm|wav|jpg|gpr)", _gopro_first, _GOPRO),
    _family(
        "gopro-loop",
        r"(?P<head>G[HXL])(?P<loop>[A-Z]{2})\d{4}\.(?:mp4|lrv|thm)",
        _gopro_loop,
        _GOPRO,
    ),
    _family(
        "insta360",
        r"(?P<kind>VID|LRV|PRO_VID|PRO_LRV)_(?P<moment>\d{8}_\d{6})_\d\d_(?P<number>\d{3,6})"
        r"\.(?:insv|mp4|lrv|insv\.gyro)",
        _insta360,
        "insta.pk360.de, Insta360 file types",
    ),
    _family(
        "dji",
        r"DJI_(?P<moment>\d{14})_(?P<number>\d{4})_[A-Z]{1,4}(?:_[\w-]{1,60})?\.\w{2,5}",
        _dji_lenses,
        "DJI Matrice 30, 300, 350, Mavic 3E: user manuals, file names by lens (W, Z, T, V, D, S)",
    ),
    _family(
        "dji",
        r"DJI_(?P<number>\d{4})\.\w{2,5}(?:\.json)?",
        _dji,
        "DJI Mavic, Mini, Air, Phantom: one number for a video, its SRT and its LRF",
    ),
    _family(
        "blackvue",
        r"(?P<moment>\d{8}_\d{6})_(?P<mode>[A-Z])(?:[FRIO](?P<sub>S)?)?\.(?:mp4|gps|3gf|thm|nmea)",
        _blackvue,
        "BlackVue DR750 to DR970 on their card (tfindlay-au/BlackvueDownloader)",
    ),
    _family(
        "sony",
        r"(?P<clip>[A-Z0-9_-]{1,40}?)(?P<kind>[MST]\d\d)?\.(?:mp4|mxf|xml|jpg|bim)",
        _sony,
        "Sony XAVC: M4ROOT/CLIP, SUB and THMBNL",
    ),
    _family(
        "rosbag2",
        r"(?P<bag>.{1,255})_(?P<number>\d{1,6})\.(?:mcap|db3)(?:\.zstd)?",
        _rosbag,
        "ros2/rosbag2: a folder of its name, splits counted from 0, metadata.yaml at the end",
    ),
    _family(
        "rosbag2", r"metadata\.yaml", _rosbag_metadata, "ros2/rosbag2: written when a bag is closed"
    ),
    _family(
        "openpilot",
        r"(?P<what>rlog|qlog|qcamera|fcamera|ecamera|dcamera)(?:\.(?:bz2|zst|ts|hevc|m4s))?",
        _openpilot,
        "commaai/openpilot, system/loggerd: a folder for each minute of a route",
    ),
    _family(
        "tesla",
        r"(?:event\.json|thumb\.png|\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-\w{1,24}\.mp4)",
        _tesla,
        "TeslaCam: SavedClips and SentryClips",
    ),
)
"""Who names files how; the first that knows a name places it."""
