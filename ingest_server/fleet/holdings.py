"""What devices hold: the changes of each list, taken in order, as often as they come.

A device counts its changes. A run of them says from which on it goes; one that does not go on from what is
known here changes nothing, and the answer says how far the server is, so that the device begins there.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingest_server.core.errors import Refused
from ingest_server.fleet.report import KIB, parse_id
from ingest_server.fleet.service import FleetService
from ingest_server.fleet.values import MOST, text, whole
from ingest_server.storage.interface import Held, HoldsStanding
from upload_protocol.members import MessageError, object_of, optional, required

MOST_PACKED = 256 * KIB
MOST_UNPACKED = 4096 * KIB
MOST_ROWS = 20_000
"""In one run: 100,000 recordings come in five."""
MOST_VALUES = 20 * MOST_ROWS
"""A row has seven. Each begins with one of these three signs, or stands behind one; in a name they count, too."""


@dataclass(frozen=True, slots=True)
class Changes:
    """A run of changes of what one device holds."""

    device: str | None
    epoch: str
    since: int
    through: int
    is_whole: bool
    held: list[Held]
    gone: list[str]

    @classmethod
    def from_json(cls, source: object) -> Changes:
        """Read it.

        Raises:
            MessageError: it has not the form, or goes beyond a bound.
        """
        given = object_of(source)
        if required(given, "v", int) != 1:
            raise MessageError("'v' must be 1")
        rows = required(given, "rows", list)
        if len(rows) > MOST_ROWS:
            msg = f"'rows' has {len(rows)} entries, at most {MOST_ROWS} are taken at once"
            raise MessageError(msg)
        since, through = required(given, "from", int), required(given, "through", int)
        if not 0 <= since <= through <= MOST:
            raise MessageError("'from' and 'through' count changes: 0 <= from <= through")
        last: dict[str, Held | None] = {}
        for row in rows:
            file_id, found = _row(row)
            last[file_id] = found
        return cls(
            optional(given, "device", str),
            parse_id(given, "epoch"),
            since,
            through,
            optional(given, "is_whole", bool) or False,
            [one for one in last.values() if one is not None],
            [file_id for file_id, one in last.items() if one is None],
        )


def _row(row: object) -> tuple[str, Held | None]:
    if not isinstance(row, list) or len(row) not in {2, 7}:
        raise MessageError("a row is [file_id, name, folder, length, mtime_s, state, reason]")
    file_id = parse_id({"file_id": row[0]}, "file_id")
    if len(row) == 2:
        if row[1] is not None:
            raise MessageError("a row of what is gone is [file_id, null]")
        return file_id, None
    mtime = row[4] if isinstance(row[4], int) and not isinstance(row[4], bool) else 0
    return file_id, Held(
        file_id,
        text(row[1]) or "",
        text(row[2]) or "",
        whole(row[3]) or 0,
        max(-MOST, min(mtime, MOST)),
        text(row[5], 32) or "",
        text(row[6], 32) or "",
    )


def take(fleet: FleetService, device: str, changes: Changes) -> HoldsStanding:
    """Apply *changes* if they go on from what is known; return how far the list is now.

    Raises:
        Refused: there are as many devices as are kept, or the database failed; nothing is changed.
    """
    with fleet.alone(device):
        fleet.refresh(device)
        with fleet.lock:
            member = fleet.joined(device)
        known = fleet.holds_standing(member)
        begins_anew = changes.is_whole or changes.since == 0
        goes_on = changes.epoch == known.epoch and changes.since <= known.through < changes.through
        if not begins_anew and not goes_on:
            return known if changes.epoch == known.epoch else HoldsStanding(changes.epoch)
        with fleet.lock:
            facts, said_s = member.facts(fleet.store_clock.heard_s(member)), member.said_s
        fleet.store.save({device: facts}, {}, said_s={device: said_s})
        standing = fleet.store.take_holds(
            device,
            epoch=changes.epoch,
            through=changes.through,
            begins_anew=begins_anew,
            held=changes.held,
            gone=changes.gone,
            over=known,
        )
        with fleet.lock:
            member.holds, member.is_to_compare = standing, True
            fleet.unwritten.note(member, {})  # the others compare it, too
        return standing


def unpacked(packed: bytes) -> bytes:
    """Return what a gzip body has in it, never more than is taken.

    Raises:
        Refused: it is none, has something behind it, or more in it.
    """
    unpacker = zlib.decompressobj(wbits=31)
    try:
        found = unpacker.decompress(packed, MOST_UNPACKED)
    except zlib.error as error:
        raise Refused("malformed-request", "the body is not what gzip makes") from error
    if unpacker.unconsumed_tail:
        raise Refused("too-large", f"what is packed has at most {MOST_UNPACKED} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise Refused("malformed-request", "the body is not one whole gzip stream")
    return found


def refuse_many_values(content: bytes) -> None:
    """Refuse what would be a hundred times as large once it is read: a megabyte of ``{},{},``.

    Raises:
        Refused: it is that.
    """
    if sum(content.count(one) for one in (b",", b"[", b"{")) > MOST_VALUES:
        detail = f"a list of recordings has at most {MOST_ROWS} rows of 7 values"
        raise Refused("too-large", detail)


def standing_document(standing: HoldsStanding) -> Mapping[str, Any]:
    """Return what a device is told of how far its list is here."""
    return {"epoch": standing.epoch, "through": standing.through}
