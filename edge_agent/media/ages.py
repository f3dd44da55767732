"""How old recordings are, also those that no clock has dated: who was found before another is no younger."""

from __future__ import annotations

from edge_agent.base.clock import Clock
from edge_agent.core.recording import Recording, Share, age_s
from edge_agent.core.upload import State
from edge_agent.store.recordings import Store

_PAGE = 100


class Ages:
    """For the janitor's thread."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._undated: dict[Share, int] = {}
        """Number of the last of those at the front that no clock has dated: none of them is read twice."""

    def of(self, recording: Recording, share: Share) -> int:
        """Return how many seconds ago *recording*, of *share*, was found: at least so many.

        Raises:
            StoreError: it cannot be told.
        """
        now = self._clock.now_utc() if self._clock.is_synchronised() else None
        running_s = self._store.running.now_s()
        own_s = age_s(recording, running_s=running_s, now=now)
        if now is None or recording.is_seen_at_true:
            return own_s
        younger = self._dated_after(recording, share)
        return (
            own_s if younger is None else max(own_s, age_s(younger, running_s=running_s, now=now))
        )

    def _dated_after(self, recording: Recording, share: Share) -> Recording | None:
        """Return the next verified recording of *share* that a clock has dated; None: there is none."""
        after = max(recording.seq, self._undated.get(share, 0))
        while page := self._store.in_states(
            State.VERIFIED, after_seq=after, limit=_PAGE, share=share
        ):
            found = next((one for one in page if one.is_seen_at_true), None)
            if found is not None:
                return found
            after = self._undated[share] = page[-1].seq
        return None
