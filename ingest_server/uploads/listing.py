"""Uploads as a list, a page at a time: what an answer holds is bounded in bytes, not in number alone.

An upload is told in a few hundred bytes, or in forty thousand where it is in a thousand pieces; how
long it is, is known of each once it is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from ingest_server.uploads.records import Records
from ingest_server.uploads.status import Statuses
from upload_protocol.messages import UploadStatus

PAGE_BYTES = 64 * 1024
"""Of JSON in one page: a hundred uploads and more as they mostly are, and a few milliseconds of work."""


class Listing:
    """Tells uploads as their clients see them; nothing is begun for any."""

    def __init__(self, records: Records, statuses: Statuses) -> None:
        self._records = records
        self._statuses = statuses

    def page(
        self, device: str | None, *, state: str | None, after: str | None, limit: int
    ) -> tuple[list[UploadStatus], str | None]:
        """Return uploads in the order of their ids, and where to ask on (None at the end).

        At most *limit*, and no more than fit into `PAGE_BYTES`, but for one that does not by itself.
        """
        found = self._records.each(device, state, after)
        return page_of((self._statuses.of(record) for record in found), limit)


def page_of(uploads: Iterable[UploadStatus], limit: int) -> tuple[list[UploadStatus], str | None]:
    """Return what of *uploads* makes one page, and the id to ask on from; None where that is all.

    No more is taken from *uploads* than the page needs, and one beyond.
    """
    found: list[UploadStatus] = []
    size = 0
    for one in uploads:
        size += len(json.dumps(one.to_json()))
        if found and (len(found) == limit or size > PAGE_BYTES):
            return found, found[-1].id
        found.append(one)
    return found, None
