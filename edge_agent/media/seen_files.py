"""Hashes of the files about which nothing is to be done, in eight bytes each.

As a set of Python numbers 100 000 of them take 8 MiB, and twice that while a scan makes the next one.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left
from itertools import compress, groupby

_RUN = 4096


class SeenFiles:
    """A set of 64-bit numbers, and which of them the running scan has seen. For one thread."""

    def __init__(self) -> None:
        self._sorted = array("q")
        self._added = array("q")
        """Since the scan began, in any order, some of them perhaps known before."""
        self._runs: list[array[int]] = []
        """What was added earlier, sorted."""
        self._is_seen = bytearray()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._added) + sum(map(len, self._runs))

    def begin(self) -> None:
        """Begin a scan: nothing was seen yet."""
        self._end_run()
        if self._runs:
            # One by one: as a list, so many Python numbers would take more than all the rest.
            everything = heapq.merge(self._sorted, *self._runs)
            self._sorted = array("q", (key for key, _ in groupby(everything)))
            self._runs.clear()
        self._is_seen = bytearray(len(self._sorted))

    def see(self, key: int) -> bool:
        """Return whether *key* was known when the scan began, and note that it is still there."""
        at = bisect_left(self._sorted, key)
        if at == len(self._sorted) or self._sorted[at] != key:
            return False
        self._is_seen[at] = 1
        return True

    def add(self, key: int) -> None:
        """Know *key* from now on; at any time."""
        self._added.append(key)
        if len(self._added) >= _RUN:
            self._end_run()

    def _end_run(self) -> None:
        if self._added:
            self._runs.append(array("q", sorted(self._added)))
            self._added = array("q")

    def end(self) -> bool:
        """Forget what the scan has not seen; return whether that was anything."""
        if self._is_seen.count(1) == len(self._sorted):
            return False
        self._sorted = array("q", compress(self._sorted, self._is_seen))
        self._is_seen = bytearray(b"\1") * len(self._sorted)
        return True

    def clear(self) -> None:
        self._sorted, self._added, self._is_seen = array("q"), array("q"), bytearray()
        self._runs.clear()
