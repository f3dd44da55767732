"""How often something has failed, kept with the recording, and how long to wait before the next try."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.core.backoff import BackoffPolicy
from edge_agent.core.recording import Recording
from edge_agent.store.recordings import Store


class Retries:
    """Counts failures and draws waits; called with the lanes' lock held.

    Args:
        jitter: draws from ``[0, 1)``.
    """

    def __init__(self, store: Store, *, jitter: Callable[[], float]) -> None:
        self._store = store
        self._jitter = jitter
        self.backoff = BackoffPolicy()

    def delay_s(self, failures: int) -> float:
        """Return the seconds to wait after *failures* consecutive failures."""
        return self.backoff.delay_s(failures, jitter=self._jitter())

    def count(self, recording: Recording) -> int:
        """Count a failure, durably until the wait is at its cap: then the card has enough writes.

        Returns:
            The failures so far.
        """
        failures = recording.failures + 1
        if self.backoff.ceiling_s(recording.failures) < self.backoff.cap_s or failures == 1:
            self._store.update(recording, failures=failures)
        return failures
