"""Names that differ only in case, or in how an accent is written: one name to Windows, macOS and Samba.

Of two such files in one folder, those who look at it from there reach one and never the other. So the
second gets another name, and a folder is used as it is spelled already.

What is in a folder is listed once, and from then on known by what this process adds: a name of thousands is
looked up at the price of one. Only where a twin is likely the folder is listed again.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict

from ingest_server.core.names import folded

MOST_NAMES = 200_000
"""Names that are remembered, of the folders last published into: some 20 MB."""


class Twins:
    """The names in folders, as those see them who are blind to case."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, int], set[int]] = OrderedDict()
        """By device and inode of the folder: hashes of the folded names, which may be gone since."""

    def of(self, folder: int, name: str) -> str | None:
        """Return the name in an open folder that is *name* but for its case; None: there is none.

        Nor is one in a folder that cannot be listed: to publish matters more.
        """
        wanted = folded(name)
        with self._lock:
            known = self._known.get(_key(folder))
            if known is not None and hash(wanted) not in known:
                return None
        try:
            names = os.listdir(folder)
        except OSError:
            return None
        self._remember(_key(folder), {hash(folded(one)) for one in names})
        return next((one for one in names if one != name and folded(one) == wanted), None)

    def added(self, folder: int, name: str) -> None:
        """Note that an open folder has one more name."""
        with self._lock:
            known = self._known.get(_key(folder))
            if known is not None:
                known.add(hash(folded(name)))

    def _remember(self, key: tuple[int, int], found: set[int]) -> None:
        with self._lock:
            self._known[key] = found
            self._known.move_to_end(key)
            while len(self._known) > 1 and sum(map(len, self._known.values())) > MOST_NAMES:
                self._known.popitem(last=False)


def _key(folder: int) -> tuple[int, int]:
    found = os.fstat(folder)
    return found.st_dev, found.st_ino
