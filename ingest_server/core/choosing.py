"""Which devices something is about, as an operator says it: one rule for all that chooses some."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ingest_server.core.patterns import is_one_of

Groups = Mapping[str, AbstractSet[str]]
"""Of the tokens, by device."""

NONE: AbstractSet[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """Some devices; what is about no device is chosen by nobody who chooses."""

    devices: str | None = None
    """Patterns of names (`ingest_server.core.patterns`)."""
    group: str | None = None
    """Of a token of the device."""

    @property
    def is_all(self) -> bool:
        """Whether it says nothing: then it fits what is about no device, too."""
        return self.devices is None and self.group is None

    def fits(self, device: str, groups: AbstractSet[str]) -> bool:
        """Whether all fits that it names.

        Args:
            device: empty: the server itself.
        """
        if self.is_all:
            return True
        is_named = bool(device) and is_one_of(self.devices, device)
        return is_named and (self.group is None or self.group in groups)


ALL = DeviceChoice()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Events of these types, about these devices."""

    types: AbstractSet[str]
    chosen: DeviceChoice = ALL

    def fits(self, kind: str, device: str, groups: Groups) -> bool:
        """Whether an event of this type, about this device, is one."""
        return kind in self.types and self.chosen.fits(device, groups.get(device, NONE))
