"""What a device holds, as it told it: part of every store of the fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MOST_HELD = 100_000
"""Recordings of one device that are known here."""
MOST_HELD_IN_ALL = 5_000_000
"""Of all devices: about 1 GB."""


@dataclass(frozen=True, slots=True)
class Held:
    """One recording on a device."""

    file_id: str
    name: str
    folder: str
    length: int
    mtime_s: int
    """Seconds of the epoch, by the device's clock."""
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class HoldsStanding:
    """How far the list of one device has come."""

    epoch: str = ""
    """Of the device's count of changes: another one begins anew."""
    through: int = 0
    """The last change that is in the list."""
    count: int = 0
    is_full: bool = False
    """There were more than are kept."""


class HoldsStore(Protocol):
    def holds_standing(self, device: str) -> HoldsStanding: ...

    def take_holds(
        self,
        device: str,
        *,
        epoch: str,
        through: int,
        begins_anew: bool,
        held: Sequence[Held],
        gone: Sequence[str],
        over: HoldsStanding | None = None,
    ) -> HoldsStanding:
        """Apply one run of changes; return how far the list is then.

        Args:
            begins_anew: what was known before is dropped.
            over: how far the list was when this run was found to go on from it; nothing is applied where
                that is not so any more. None: as it is.
        """
        ...

    def holds(
        self,
        device: str,
        *,
        like: str = "",
        since_s: int | None = None,
        until_s: int | None = None,
        after: tuple[int, str] | None = None,
        limit: int = 100,
    ) -> list[Held]:
        """Return a page of what a device holds, newest first.

        Args:
            like: letters that are somewhere in the name or folder, small or large.
            after: time and id of the last one of the page before.
        """
        ...
