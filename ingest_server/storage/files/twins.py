"""Names that differ only in case, or in how an accent is written: one name to Windows, macOS and Samba.

Of two such files in one folder, those who look at it from there reach one and never the other. So the
second gets another name, and a folder is used as it is spelled already.

What is in a folder is listed once, and from then on known by what this process adds: a name of thousands is
looked up at the price of one. Only where a twin is likely the folder is listed again, and once found it
is looked at by its name.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict

from ingest_server.core.names import folded

MOST_NAMES = 200_000
"""Names that are remembered, of the folders last published into: some 20 MB."""
MOST_FOUND = 1000
"""Twins whose spelling is remembered: the last ones found."""


class Twins:
    """The names in folders, as those see them who are blind to case."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, int], set[int]] = OrderedDict()
        """By device and inode of the folder: hashes of the folded names, which may be gone since."""
        self._found: OrderedDict[tuple[int, int, str], str] = OrderedDict()
        """By folder and folded name: how it was spelled when it was looked for last."""

    def of(self, folder: int, name: str) -> str | None:
        """Return the name in an open folder that is *name* but for its case; None: there is none.

        Nor is one in a folder that cannot be listed: to publish matters more.
        """
        key, wanted = _key(folder), folded(name)
        with self._lock:
            known = self._known.get(key)
            if known is not None and hash(wanted) not in known:
                return None
            found = self._found.get((*key, wanted), name)
        if found != name and _is_there(found, folder):
            return found
        names = self._list(folder)
        twin = next((one for one in names if one != name and folded(one) == wanted), None)
        if twin is not None:
            with self._lock:
                self._found[*key, wanted] = twin
                self._found.move_to_end((*key, wanted))
                while len(self._found) > MOST_FOUND:
                    self._found.popitem(last=False)
        return twin

    def is_likely(self, folder: int, name: str) -> bool:
        """Whether an open folder has *name*, in whatever case, or had it when it was last listed."""
        for _ in range(2):
            with self._lock:
                known = self._known.get(_key(folder))
            if known is not None:
                return hash(folded(name)) in known
            self._list(folder)
        return False

    def added(self, folder: int, name: str) -> None:
        """Note that an open folder has one more name."""
        with self._lock:
            known = self._known.get(_key(folder))
            if known is not None:
                known.add(hash(folded(name)))

    def _list(self, folder: int) -> list[str]:
        try:
            names = os.listdir(folder)
        except OSError:
            return []
        self._remember(_key(folder), {hash(folded(one)) for one in names})
        return names

    def _remember(self, key: tuple[int, int], found: set[int]) -> None:
        with self._lock:
            self._known[key] = found
            self._known.move_to_end(key)
            while len(self._known) > 1 and sum(map(len, self._known.values())) > MOST_NAMES:
                self._known.popitem(last=False)


def _is_there(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def _key(folder: int) -> tuple[int, int]:
    found = os.fstat(folder)
    return found.st_dev, found.st_ino
