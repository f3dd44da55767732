"""Recordings whose name is another file's by now: moved on, as a ring of names is, or no more.

A file may be moved in the midst of a look, behind it, or to another folder: it is sought in whole looks at
all folders before anything is made of it. Not for ever, for the file that has its name waits meanwhile. What
the kernel tells of a name spares the look that would miss it, and no more: it may come late, and tells
nothing of what becomes of the file that had the name.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.base.activity import Activity
from edge_agent.media.folder import Folder

_SOUGHT_IN = 4
"""Looks after which it is sought no more: a part of a folder that cannot be read may be so for good."""
_MOST = 10_000
"""Of which it is known at a time that others were renamed over them."""


@dataclass(frozen=True, slots=True)
class _Missed:
    look: int
    """The look at its folder in which it was missed first, or the last one that had begun then."""
    begun: dict[Folder, int]
    """Each other folder that was there -> its last look that had begun then."""


class LostNames:
    """For the thread of one folder's watcher."""

    def __init__(self, folder: Folder, activity: Activity) -> None:
        self._folder = folder
        self._activity = activity
        self._look = 0
        self._sought: dict[int, _Missed] = {}
        """By the number of a recording, as all here."""
        self._replaced: dict[int, _Missed] = {}

    def replaced(self, number: int) -> None:
        """Take in that another file was renamed to the name of that recording's: over it, or it had left before."""
        if number not in self._replaced:
            self._replaced[number] = _Missed(self._folder.looks.begun, self._begun_elsewhere())

    def is_replaced(self, number: int) -> bool:
        """Return whether the kernel has told so, and no look that has begun since has found it elsewhere."""
        told = self._replaced.get(number)
        return told is not None and self._was_sought_everywhere(told)

    def may_be_replaced(self, number: int) -> bool:
        """Return whether the kernel has told so, though it may yet be found."""
        return number in self._replaced

    def found(self, number: int) -> None:
        """Take in which file is that recording's, and that it has its name."""
        self._sought.pop(number, None)
        self._replaced.pop(number, None)

    def is_still_sought(self, number: int, look: int) -> bool:
        """Return whether its file may yet be found under another name.

        Args:
            number: of the recording whose name leads to another file.
            look: number of the look that has found that; 0: it was found by itself.
        """
        if self.is_replaced(number):
            return False
        if not look:
            return True
        if look != self._look:
            self._look = look
            self._forget_old(look)
        missed = self._sought.get(number)
        if missed is None:
            self._sought[number] = _Missed(look, self._begun_elsewhere())
            return True
        return look - missed.look < _SOUGHT_IN and not self._was_sought_everywhere(missed)

    def is_gone(self, number: int) -> bool:
        """Return whether its file is nowhere, as far as can be known; False: some place could not be looked at."""
        missed = self._sought.get(number)
        is_nowhere = missed is None or self._was_sought_everywhere(missed)
        return is_nowhere or self.is_replaced(number)

    def _was_sought_everywhere(self, missed: _Missed) -> bool:
        # The look in which it was missed had read a part of its folder before, and perhaps before it was moved.
        is_here = self._folder.looks.whole > missed.look
        return is_here and all(one.looks.whole > begun for one, begun in missed.begun.items())

    def _begun_elsewhere(self) -> dict[Folder, int]:
        view = self._activity.view()
        there = (one for one in self._folder.others if view.away(one.name) is None)
        return {one: one.looks.begun for one in there}

    def _forget_old(self, look: int) -> None:
        """Have what was found out, and has not come about, sought anew."""
        self._sought = {
            key: one for key, one in self._sought.items() if one.look + _SOUGHT_IN >= look
        }
        if len(self._replaced) > _MOST:
            self._replaced.clear()  # they are sought then
