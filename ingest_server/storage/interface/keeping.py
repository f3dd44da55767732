"""How much of what a device has made every store remembers."""

from __future__ import annotations

from ingest_server.core.record import UploadRecord

STEP = 500
"""Rows that one transaction lets go of: some ms, in which nobody else writes."""
KEPT_ENDED = 256
"""Uploads of one device that left no file (failed, expired, aborted) and are remembered: the newest."""
KEPT_REPEATS = 16
"""Uploads that were given the receipt of one and the same earlier file, and are remembered."""
MOST_ALIKE = 16
"""Uploads of the same bytes that are looked at: fewer than there may be."""
KEPT_EVENTS = 1000
"""Events of one device that are kept whether somebody waits for them or not: the newest."""
WAITING_EVENTS = 10_000
"""Events of one device that are kept as long as somebody waits for them, or may say `replay`."""
LOOKED_AT = 10_000
"""Recordings that a name is looked for in at once: some ms. Whoever asks on gets the rest."""


def nearest(found: list[UploadRecord], record: UploadRecord) -> list[UploadRecord]:
    """Return those of *found* that are looked at for *record*; see `Queries.published`."""

    def order(one: UploadRecord) -> tuple[bool, bool, str, str]:
        return one.name != record.name, one.folder != record.folder, one.created_at, one.id

    own = sum((one.name, one.folder) == (record.name, record.folder) for one in found)
    return sorted(found, key=order)[max(0, own - MOST_ALIKE) :][:MOST_ALIKE]
