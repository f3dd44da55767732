"""Looking through the watched folder: which files in it could be recordings.

Never follows a symbolic link, so nothing outside the folder is ever found. Holds one folder open, and
its entries, at a time, however many files there are; no longer than the walk lasts.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from edge_agent.core.printable import printable
from edge_agent.core.recording import Identity
from edge_agent.media import beneath
from edge_agent.media.folder import NameRules
from edge_agent.media.identity import identity_of
from edge_agent.media.removal import PREFIX

_SYSTEM_FOLDERS = frozenset({b"lost+found", b"System Volume Information", b"$RECYCLE.BIN"})


class Scan:
    """One walk through a folder; iterate once, then read what it noticed."""

    def __init__(self, root: bytes, rules: NameRules, *, recursive: bool) -> None:
        self._root = root
        self._rules = rules
        self._recursive = recursive
        self.folders: set[int] = set()
        """Inodes of the folders that were read."""
        self.aside: list[bytes] = []
        """Paths of recordings under the hidden names that they have until they are unlinked."""
        self.unreadable: list[str] = []
        """Folders that could not be read, with the reason, printable."""

    def __iter__(self) -> Iterator[tuple[bytes, Identity]]:
        """Yield path and identity of each regular file that the rules take."""
        waiting = [self._root]
        while waiting:
            folder = waiting.pop()
            try:
                yield from self._files(folder, waiting)
            except OSError as error:
                if error.errno not in beneath.ABSENT or folder == self._root:
                    self.unreadable.append(f"{printable(folder)}: {error.strerror}")

    def _files(self, folder: bytes, waiting: list[bytes]) -> Iterator[tuple[bytes, Identity]]:
        above = folder.rstrip(b"/") + b"/"
        with beneath.folder(folder) as fd, os.scandir(fd) as entries:
            self.folders.add(os.fstat(fd).st_ino)
            for entry in entries:
                name = os.fsencode(entry.name)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if self._recursive and _is_plain_folder(name):
                            waiting.append(above + name)
                    elif entry.is_file(follow_symlinks=False):
                        if self._rules.take(name):
                            yield above + name, identity_of(entry.stat(follow_symlinks=False))
                        elif name.startswith(PREFIX):
                            self.aside.append(above + name)
                except OSError as error:
                    if error.errno not in beneath.ABSENT:  # else: gone between the two calls
                        self.unreadable.append(f"{printable(above + name)}: {error.strerror}")


def _is_plain_folder(name: bytes) -> bool:
    return not name.startswith(b".") and name not in _SYSTEM_FOLDERS


def is_gone(path: bytes, device: int) -> bool:
    """Return whether the file that was at *path* on file system *device* is really no more.

    False while its file system is not there (a card that was pulled, a share not mounted): an empty
    mount point says nothing about what is on the card. Any doubt is False.
    """
    try:
        beneath.status(path)
    except OSError as error:
        if error.errno not in beneath.ABSENT:
            return False
    else:
        return False
    folder = os.path.dirname(path)
    while folder not in (b"", b"/"):
        try:
            found = beneath.status(folder)
        except OSError as error:
            if error.errno not in beneath.ABSENT:
                return False
        else:
            if not stat.S_ISLNK(found.st_mode):
                return found.st_dev == device
        folder = os.path.dirname(folder)
    return False
