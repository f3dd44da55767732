"""Which recordings somebody far away wants: by a pattern of their names, and by when they were written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

_KEYS = frozenset({"name", "from", "to"})
_MOST_CHARACTERS = 255
_DATE = len("2026-11-29")


@dataclass(frozen=True, slots=True)
class FetchQuery:
    """Of recordings on this device.

    Raises:
        ValueError: from `parse`, what is given is none.
    """

    pattern: str | None = None
    """Shell patterns for the place below the watched folder, or for the name alone, joined by ``|``."""
    since: datetime | None = None
    until: datetime | None = None
    """Not of it any more."""

    @classmethod
    def parse(cls, given: object) -> FetchQuery:
        """Read ``{"name": "DJI_*.MP4", "from": "2026-11-29T10:00:00Z", "to": "2026-11-29"}``.

        A time without a zone is UTC; a date as the end is all of that day.
        """
        if not isinstance(given, Mapping) or not _KEYS.issuperset(given):
            raise ValueError
        said = {key: one for key, one in given.items() if one is not None}
        if not said or not all(_is_text(one) for one in said.values()):
            raise ValueError
        since, until = _moment(said.get("from")), _moment(said.get("to"), is_end=True)
        if since is not None and until is not None and since >= until:
            raise ValueError
        return cls(said.get("name"), since, until)

    def fits(self, folder: str, name: str) -> bool:
        """Return whether a place below the watched folder fits; upper and lower case are alike."""
        if self.pattern is None:
            return True
        place = (f"{folder}/{name}" if folder else name).casefold()
        return any(
            fnmatchcase(place, one) or fnmatchcase(name.casefold(), one)
            for one in self.pattern.casefold().split("|")
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MOST_CHARACTERS and value.isprintable()


def _moment(text: str | None, *, is_end: bool = False) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if not is_end or len(text) != _DATE:
        return moment
    if moment.date() == date.max:  # behind it there is no day
        return datetime.max.replace(tzinfo=UTC)
    return moment + timedelta(days=1)
