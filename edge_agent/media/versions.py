"""What becomes of the content that a file had before it was written on."""

from __future__ import annotations

from edge_agent.core.recording import Recording
from edge_agent.core.upload import Event, State
from edge_agent.store.recordings import Store


def end_version(store: Store, before: Recording) -> str | None:
    """Let a verified content be over, for its file has another; return what the server calls it.

    A kept one, too: it is kept no more, and a log of ten thousand contents is one file on the card.

    Raises:
        StaleRecordingError: another worker moved it meanwhile.
    """
    if before.state is State.KEPT:
        before = store.advance(before, Event.KEEPING_NO_MORE)
    store.advance(before, Event.SOURCE_CHANGED)
    return before.published_as
