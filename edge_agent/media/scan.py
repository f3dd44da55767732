"""Looking through the watched folder: which files in it could be recordings.

Never follows a symbolic link, so nothing outside the folder is ever found, nor waited for: what a link
leads to is told by its text. Holds one folder open, and
its entries, at a time, however many files there are; no longer than the walk lasts.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from edge_agent.core.left_out import WANTED, Cause, LeftOut, Tally, cause_of
from edge_agent.core.printable import printable
from edge_agent.core.recording import Identity
from edge_agent.media import beneath
from edge_agent.media.folder import NameRules
from edge_agent.media.identity import identity_of
from edge_agent.media.removal import PREFIX

_ALL_READ = 0o444
_LINKS_FOLLOWED = 1000
"""In one walk, to see whether there is what they lead to; each costs as much as some files."""
SYSTEM_FOLDERS = frozenset({b"lost+found", b"System Volume Information", b"$RECYCLE.BIN"})


class Scan:
    """One walk through a folder; iterate once, then read what it noticed."""

    def __init__(
        self,
        root: bytes,
        rules: NameRules,
        *,
        recursive: bool,
        configured: bytes | None = None,
        watch: str = "",
    ) -> None:
        self._root = root
        self._above = f"{watch}/" if watch else ""
        """The folder's name, before places in it that a person is told of."""
        self._tops = tuple(one.rstrip(b"/") for one in (root, configured) if one is not None)
        """What the folder is called: the real path, and the one that a recorder may know."""
        self._rules = rules
        self._recursive = recursive
        self.folders: set[int] = set()
        """Inodes of the folders that were read."""
        self.aside: list[bytes] = []
        """Paths of recordings under the hidden names that they have until they are unlinked."""
        self.is_whole = True
        """Whether all of it could be looked at."""
        self._left_out = Tally()
        self._links = 0

    def __iter__(self) -> Iterator[tuple[bytes, Identity]]:
        """Yield path and identity of each regular file that the rules take."""
        waiting = [self._root]
        while waiting:
            folder = waiting.pop()
            try:
                yield from self._files(folder, waiting)
            except OSError as error:
                if error.errno not in beneath.ABSENT or folder == self._root:
                    self._miss(folder, error)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What is not sent of what was found, and why."""
        return self._left_out.result()

    def _miss(self, path: bytes, error: OSError) -> None:
        self.is_whole = False
        why = os.strerror(error.errno) if error.errno else str(error)
        self._left_out.add(cause_of(error.errno), f"{self._place(path)}: {why}")

    def _leave(self, cause: Cause, path: bytes) -> None:
        self._left_out.add(cause, self._place(path))

    def _place(self, path: bytes) -> str:
        return self._above + printable(path[len(self._root.rstrip(b"/")) + 1 :] or path)

    def _files(self, folder: bytes, waiting: list[bytes]) -> Iterator[tuple[bytes, Identity]]:
        above = folder.rstrip(b"/") + b"/"
        with beneath.folder(folder) as fd, os.scandir(fd) as entries:
            self.folders.add(os.fstat(fd).st_ino)
            for entry in entries:
                path = above + os.fsencode(entry.name)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        self._enter(path, waiting)
                    elif entry.is_file(follow_symlinks=False):
                        found = self._file(path, entry, fd)
                        if found is not None:
                            yield path, found
                    elif not entry.is_symlink():
                        self._leave(Cause.SPECIAL, path)
                    elif cause := self._left_by_its_name(path):
                        self._leave(cause, path)
                    elif self._leads_out(path, os.fsencode(os.readlink(entry.name, dir_fd=fd))):
                        self._leave(Cause.LINK, path)
                except OSError as error:
                    if error.errno not in beneath.ABSENT:  # else: gone between the two calls
                        self._miss(path, error)

    def _enter(self, path: bytes, waiting: list[bytes]) -> None:
        name = os.path.basename(path)
        if name.startswith(b"."):
            self._leave(Cause.HIDDEN, path)
        elif not self._recursive:
            self._leave(Cause.NOT_RECURSIVE, path)
        elif name not in SYSTEM_FOLDERS:
            waiting.append(path)

    def _file(self, path: bytes, entry: os.DirEntry[str], folder: int) -> Identity | None:
        """Return what the regular file *entry* of *folder* is, if the rules take it."""
        name = os.path.basename(path)
        if name.startswith(PREFIX):
            self.aside.append(path)
            return None
        cause = self._rules.why_not(name)
        if cause is not None:
            self._leave(cause, path)
            return None
        found = entry.stat(follow_symlinks=False)
        if not _is_readable(found, name, folder):
            # Watched all the same: its rights may be mended before it is finished.
            self._leave(Cause.PERMISSION, path)
        return identity_of(found)

    def _left_by_its_name(self, link: bytes) -> Cause | None:
        """Return why *link* would not be sent if it were a file: a lock or a marker may be one."""
        cause = self._rules.why_not(os.path.basename(link))
        return cause if cause in WANTED else None

    def _leads_out(self, link: bytes, target: bytes) -> bool:
        """Return whether *link* leads to what is not found without it, as far as its text says.

        Looked at is only what lies below: a server that is dead would be waited for without end. What
        is a link itself, or lies behind one, is judged with that one.
        """
        self._links += 1
        if self._links > _LINKS_FOLLOWED:
            return True
        end = os.path.normpath(os.path.join(os.path.dirname(link), target))
        for top in self._tops:
            if end == top:
                return False
            if end.startswith(top + b"/"):
                below = end[len(top) + 1 :]
                if any(part.startswith(b".") for part in below.split(b"/")):
                    return True
                return not _is_there(self._tops[0] + b"/" + below)
        return True


def _is_there(path: bytes) -> bool:
    """Return whether *path* names something, or leads over a link."""
    try:
        beneath.status(path)
    except OSError as error:
        return error.errno == errno.ELOOP
    return True


def _is_readable(found: os.stat_result, name: bytes, folder: int) -> bool:
    """Return whether this user may read that file; the kernel is asked only where its mode leaves doubt."""
    if found.st_mode & _ALL_READ == _ALL_READ:
        return True
    if os.access(name, os.R_OK, dir_fd=folder, effective_ids=True, follow_symlinks=False):
        return True
    try:
        # Without `faccessat2` (Linux 5.8) the C library guesses from the mode, and knows no capability.
        os.close(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder))
    except OSError as error:
        return cause_of(error.errno) is not Cause.PERMISSION
    return True


def is_gone(path: bytes, device: int) -> bool:
    """Return whether the file that was at *path* on file system *device* is really no more.

    False while its file system is not there (a card that was pulled, a share not mounted): an empty
    mount point says nothing about what is on the card. Any doubt is False.
    """
    return number_at(path, device) is None


def number_at(path: bytes, device: int) -> int | None:
    """Return the number of the inode that *path* leads to; None: it `is_gone`; 0: nobody can say."""
    try:
        return beneath.status(path).st_ino
    except OSError as error:
        if error.errno not in beneath.ABSENT:
            return 0
    folder = os.path.dirname(path)
    while folder not in (b"", b"/"):
        try:
            found = beneath.status(folder)
        except OSError as error:
            if error.errno not in beneath.ABSENT:
                return 0
        else:
            if not stat.S_ISLNK(found.st_mode):
                return None if found.st_dev == device else 0
        folder = os.path.dirname(folder)
    return 0
