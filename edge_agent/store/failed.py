"""The event that tells of a recording which is kept for a person."""

from __future__ import annotations

from edge_agent.core.recording import FailureCode, Recording
from edge_agent.store.outbox import NewEvent


def file_failed(
    recording: Recording, code: FailureCode, detail: str, *, is_permanent: bool
) -> NewEvent:
    """Return what is told of *recording*.

    Args:
        recording: the one that has failed.
        code: why.
        detail: the same as a sentence.
        is_permanent: whether the same file would be refused again.
    """
    told = {
        "file_id": recording.id,
        "name": recording.name,
        "code": code.value,
        "detail": detail,
        "permanent": is_permanent,
    }
    return NewEvent("file.failed", told, subject=recording.id)
