"""Whether the card that the watched folder lies on is there.

An empty mount point looks like an empty card. So where the folder was seen on a file system of its own,
that place is remembered, and where /etc/fstab names such a place it is asked for: when nothing is
mounted there the card is absent, whatever the folder holds.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from edge_agent.base.helper import only_helps
from edge_agent.media import answers
from edge_agent.media.mounts import fstab_points, mount_point_of, mount_points, read_mountinfo
from edge_agent.store.notes import Notes

_NOTE = "card"
_FSTAB = Path("/etc/fstab")


class Card:
    """For one thread.

    Args:
        notes: where the place is remembered; None: it is not.
        watch: the folder's name.
    """

    def __init__(
        self, notes: Notes | None, folder: Path, *, watch: str = "", fstab: Path = _FSTAB
    ) -> None:
        self._notes = notes
        self._note = f"{_NOTE}.{watch}" if watch else _NOTE
        self._folder = folder
        self._fstab = fstab
        self._known: str | None = None
        self._was_seen = False
        """Whether it was mounted since this program runs."""
        self._is_read = False

    def absent(self, *, holds_files: bool) -> str | None:
        """Return where the card should be and is not, as text; None: it is there, or there is none.

        Args:
            holds_files: recordings are in the folder as it is now. After a start that means that the
                owner records there for good; while the program runs, that the recorder did not notice.
        """
        try:
            mountinfo = read_mountinfo()
        except OSError:
            return None  # no /proc: nothing can be told
        folder, mounted = self._real(), mount_points(mountinfo)
        point, known = mount_point_of(folder, mountinfo), self._remembered()
        if known is not None and os.fsencode(known) not in mounted:
            if self._was_seen or not holds_files:
                return known
            self._remember(None)
        if point:
            self._was_seen = True
            if known is None or os.fsencode(known) != point:
                self._remember(os.fsdecode(point))
        with suppress(OSError):
            for wanted in fstab_points(self._fstab.read_bytes()):
                if wanted not in mounted and _is_at_or_above(wanted, folder):
                    return os.fsdecode(wanted)
        return None

    def _real(self) -> Path:
        with suppress(OSError, RuntimeError):
            return answers.touch_configured(os.fsencode(self._folder), self._folder.resolve)
        return self._folder

    def _remembered(self) -> str | None:
        if not self._is_read and self._notes is not None:
            self._is_read = True
            with only_helps("card", instead="only /etc/fstab says where it belongs"):
                # It may have been watched without a name until now.
                note = self._notes.get(self._note) or self._notes.get(_NOTE) or {}
                self._known = note.get("point") if note.get("folder") == str(self._folder) else None
        return self._known

    def _remember(self, point: str | None) -> None:
        note = None if point is None else {"folder": str(self._folder), "point": point}
        self._known = point
        if self._notes is None:
            return
        with only_helps("card", instead="where it belongs is not known after a restart"):
            self._notes.put(self._note, note)


def _is_at_or_above(point: bytes, folder: Path) -> bool:
    path = os.fsencode(folder)
    return path == point or path.startswith(point + b"/")
