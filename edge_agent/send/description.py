"""What a server is told of a recording before its bytes."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from edge_agent.base.errors import SourceError
from edge_agent.base.helper import only_helps
from edge_agent.core.recording import Identity, Recording
from edge_agent.media.containers import PARSERS
from edge_agent.media.facts import facts_of
from edge_agent.media.source import Source
from edge_host.clock import rfc3339
from upload_protocol.messages import CreateRequest

MetadataOf = Callable[[Recording], Mapping[str, str]]
"""Returns what a server is told of a recording beside what it is."""


def no_metadata(_recording: Recording) -> Mapping[str, str]:
    return {}


def description(
    recording: Recording, device_id: str, metadata_of: MetadataOf = no_metadata
) -> CreateRequest:
    """Return what creates *recording*'s upload."""
    return CreateRequest(
        name=recording.name,
        folder=recording.folder,
        length=recording.identity.length,
        modified_at=modified_at(recording.identity),
        media_type=mimetypes.guess_type(recording.name)[0],
        metadata=metadata_of(recording),
        device=device_id,
    )


def modified_at(identity: Identity) -> str | None:
    """Return when the file was written last, as the server is told; None: no time that there is."""
    try:
        return rfc3339(datetime.fromtimestamp(identity.mtime_ns / 1e9, UTC))
    except (ValueError, OverflowError, OSError):
        return None  # a card's clock can say anything


def facts(recording: Recording) -> dict[str, str]:
    """Return what the finished file says of itself; nothing where it cannot be read or understood.

    It is read here, a little of it.
    """
    with only_helps("media facts", instead="the recording is sent without them"):
        try:
            with Source.open(recording.path) as source:
                source.check(recording.identity)
                return facts_of(source.read, recording.identity.length, PARSERS).to_metadata()
        except SourceError:
            return {}  # deleted by now, or changed: then it is not completed so
    return {}
