"""Which deadline counts for which recording, by itself or with its group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from edge_agent.core.deadline import Deadline
from edge_agent.core.recording import Brief, Recording, place_below
from edge_agent.core.schedule import Ranked
from edge_agent.store.group_places import GroupPlaces
from upload_protocol.groups import MAX_MEMBERS

One = TypeVar("One", Recording, Brief)


class WantedBy:
    """Made for one look: later a group has more files."""

    def __init__(self, rules: Sequence[Deadline], places: GroupPlaces) -> None:
        self._rules = rules
        self._places = places
        self._asks_groups = any(rule.is_of_groups for rule in rules)
        self._brought: dict[tuple[int, int], bool] = {}
        """Number of a rule and of a group -> whether a file of the group fits."""

    def of(self, page: Sequence[One]) -> Iterator[tuple[One, Deadline, int]]:
        """Yield each of *page* that has a deadline, with the first that counts, and its group.

        The group is 0 where the deadline is not one of whole groups, or the recording has none.

        Raises:
            StoreError: the database cannot be read.
        """
        seqs = [one.seq for one in page]
        groups = self._places.groups_of(seqs) if self._asks_groups else {}
        for one in page:
            group = groups.get(one.seq, 0)
            rule = self._first(one, group)
            if rule is not None:
                yield one, rule, group if rule.is_of_groups else 0

    def _first(self, one: Recording | Brief, group: int) -> Deadline | None:
        what = Ranked(one.place, one.watch, one.length)
        for number, rule in enumerate(self._rules):
            if rule.fits(what) or (
                rule.is_of_groups and group and self._brings(number, group, one)
            ):
                return rule
        return None

    def _brings(self, number: int, group: int, one: Recording | Brief) -> bool:
        """Return whether a file of the group fits, be it sent and gone; all are in one watched folder."""
        if (number, group) not in self._brought:
            rule = self._rules[number]
            self._brought[number, group] = any(
                rule.fits(Ranked(place_below(one.watch, folder, name), one.watch))
                for folder, name in self._places.places(group, MAX_MEMBERS)
            )
        return self._brought[number, group]
