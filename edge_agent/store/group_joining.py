"""Which recordings are one group: decided when a recording is remembered, in the same transaction."""

from __future__ import annotations

import json
import secrets

from edge_agent.core.groups import Place
from edge_agent.core.recording import Recording
from edge_agent.store.database_file import Connection

_AGAIN_S = 86_400
"""Of running time: what comes so long after a group was complete has its name, and is another recording's."""


def join(
    run: Connection, recording: Recording, place: Place, *, now_s: int, quiet_s: float
) -> None:
    """Have a new recording join those that it belongs to; the first of a group is by itself.

    Args:
        run: the caller's transaction.
        recording: as it was remembered there.
        place: what its name says of it.
        now_s: the device's running time.
        quiet_s: after so long without another file the group is looked at.
    """
    group_seq = _group_for(run, recording, place, now_s, quiet_s)
    series, serial = place.series, place.serial
    identity = recording.identity
    run.execute(
        "INSERT INTO group_member VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            recording.seq,
            place.whole_key,
            group_seq,
            recording.name,
            recording.folder,
            place.role,
            place.part,
            place.pattern,
            series,
            serial,
            identity.length,
            identity.mtime_ns,
            None if recording.receipt is None else json.dumps(recording.receipt.to_json()),
        ),
    )
    if series is not None:  # nothing more comes to those before it
        run.execute(
            "UPDATE file_group SET look_s = 0"
            " WHERE series = ? AND serial < ? AND look_s IS NOT NULL",
            (series, serial),
        )


def _group_for(
    run: Connection, recording: Recording, place: Place, now_s: int, quiet_s: float
) -> int | None:
    """Return the group of those that *recording* belongs to, begun now if need be; None: there are none."""
    newest = run.execute(
        "SELECT recording, group_seq FROM group_member WHERE key = ?"
        " ORDER BY recording DESC LIMIT 1",
        (place.whole_key,),
    ).fetchone()
    if newest is None:
        return None
    other, group_seq = newest
    if _is_over(run, recording, other, group_seq, now_s):
        return None
    look_s = now_s + round(quiet_s)
    if group_seq is not None:
        run.execute(
            "UPDATE file_group SET found_s = ?, look_s = ?, changes = changes + 1 WHERE seq = ?",
            (now_s, look_s, group_seq),
        )
        return int(group_seq)
    if not run.execute("SELECT 1 FROM group_member WHERE recording = ?", (other,)).fetchone():
        return None  # it was by itself, and the newcomer is what it is now
    (begun,) = run.execute(
        "INSERT INTO file_group (id, family, title, series, serial, found_s, look_s)"
        " VALUES (?,?,?,?,?,?,?) RETURNING seq",
        (
            secrets.token_hex(16),
            place.family,
            place.title,
            place.series,
            place.serial,
            now_s,
            look_s,
        ),
    ).fetchone()
    run.execute("UPDATE group_member SET group_seq = ? WHERE recording = ?", (begun, other))
    return int(begun)


def _is_over(
    run: Connection, recording: Recording, other: int, group_seq: int | None, now_s: int
) -> bool:
    """Return whether *recording* only has the name of those: nothing more comes to them.

    A file that was changed takes the place of what it was. One that only has its name is a new one: the
    card was formatted, or the counter of the camera began anew.
    """
    of_group = "recording = ?" if group_seq is None else "group_seq = ?"
    same = run.execute(
        f"SELECT recording FROM group_member WHERE {of_group} AND name = ? AND folder = ?",
        (other if group_seq is None else group_seq, recording.name, recording.folder),
    ).fetchone()
    if same is not None:
        if recording.supersedes is None:
            return True
        run.execute("DELETE FROM group_member WHERE recording = ?", same)
        return False
    if group_seq is None:
        return False
    old = "SELECT 1 FROM file_group WHERE seq = ? AND is_complete AND found_s < ?"
    return run.execute(old, (group_seq, now_s - _AGAIN_S)).fetchone() is not None
