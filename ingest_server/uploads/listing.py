"""Uploads as a list, a page at a time: what an answer holds is bounded in bytes, not in number alone.

An upload is told in a few hundred bytes, or in forty thousand where it is in a thousand pieces; how
long it is, is known of each once it is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from upload_protocol.messages import UploadStatus

PAGE_BYTES = 64 * 1024
"""Of JSON in one page: a hundred uploads and more as they mostly are, and a few milliseconds of work."""


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
