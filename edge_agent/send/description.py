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
from edge_agent.store.recordings import Store
from edge_host.clock import rfc3339
from upload_protocol.messages import CreateRequest, Extends

MetadataOf = Callable[[Recording], Mapping[str, str]]
"""Returns what a server is told of a recording beside what it is."""


Appends = Callable[[Recording], bool]
"""Returns whether a recording is written on after it was sent, as logs are."""


def no_metadata(_recording: Recording) -> Mapping[str, str]:
    return {}


def appends_nothing(_recording: Recording) -> bool:
    return False


class Descriptions:
    """What creates uploads.

    Args:
        device_id: named in each create, so that a token of another device is noticed, and in each receipt.
        metadata_of: what the server is told of a recording beside what it is.
        appends: which recordings are written on after they were sent.
    """

    def __init__(
        self,
        store: Store,
        device_id: str,
        metadata_of: MetadataOf = no_metadata,
        appends: Appends = appends_nothing,
    ) -> None:
        self._store = store
        self.device_id = device_id
        self._metadata_of = metadata_of
        self.appends = appends

    def of(self, recording: Recording) -> CreateRequest:
        """Return what creates *recording*'s upload.

        Of one that is written on, no length is told before its end, so that the upload outlives what
        is written meanwhile.

        Raises:
            StoreError: what it extends could not be read.
        """
        appends = self.appends(recording)
        return CreateRequest(
            name=recording.name,
            folder=recording.folder,
            length=None if appends else recording.identity.length,
            modified_at=modified_at(recording.identity),
            media_type=mimetypes.guess_type(recording.name)[0],
            metadata=self._metadata_of(recording),
            device=self.device_id,
            extends=self._extended(recording) if appends else None,
        )

    def _extended(self, recording: Recording) -> Extends | None:
        """Return the content of before, if the file may still begin with that."""
        receipt = self._store.superseded_by(recording)
        if receipt is None or not 0 < receipt.length <= recording.identity.length:
            return None
        return Extends(receipt.digest, receipt.length)


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
