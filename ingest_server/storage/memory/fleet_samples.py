"""What devices did, minute by minute, in memory."""

from __future__ import annotations

import threading

from ingest_server.storage.interface import Samples
from ingest_server.storage.interface.fleet import SampleStore


class MemorySamples(SampleStore):
    """Of `MemoryFleet`."""

    _lock: threading.RLock
    _samples: dict[tuple[int, int, str], bytes]

    def samples(self, device: str, step_s: int, since_s: int) -> list[Samples]:
        return [one for one in self.newest_samples(step_s, since_s) if one.device == device]

    def newest_samples(self, step_s: int, since_s: int) -> list[Samples]:
        with self._lock:
            return [
                Samples(device, step, start_s, packed)
                for (step, start_s, device), packed in sorted(self._samples.items())
                if step == step_s and start_s >= since_s
            ]

    def thin_out(self, step_s: int, runs: int, now_s: int) -> int:
        with self._lock:
            starts = sorted({start for step, start, _ in self._samples if step == step_s})
            past = [one for one in starts if one <= now_s]
            later = starts[len(past) :]
            old = {one for some in (past, later) for one in some[: max(0, len(some) - runs)]}
            going = [key for key in self._samples if key[0] == step_s and key[1] in old]
            for key in going:
                del self._samples[key]
            return len(going)
