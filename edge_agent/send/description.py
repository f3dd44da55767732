"""What a server is told of a recording before its bytes."""

from __future__ import annotations

import mimetypes
from datetime import UTC, datetime

from edge_agent.core.recording import Recording
from edge_host.clock import rfc3339
from upload_protocol.messages import CreateRequest


def description(recording: Recording, device_id: str) -> CreateRequest:
    """Return what creates *recording*'s upload."""
    return CreateRequest(
        name=recording.name,
        folder=recording.folder,
        length=recording.identity.length,
        modified_at=_modified_at(recording.identity.mtime_ns),
        media_type=mimetypes.guess_type(recording.name)[0],
        device=device_id,
    )


def _modified_at(mtime_ns: int) -> str | None:
    try:
        return rfc3339(datetime.fromtimestamp(mtime_ns / 1e9, UTC))
    except (ValueError, OverflowError, OSError):
        return None  # a card's clock can say anything
