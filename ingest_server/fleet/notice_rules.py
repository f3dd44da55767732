"""Which settings hold for a device: those of the first rule that fits it, and those of all for the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ingest_server.core.choosing import NONE, DeviceChoice, Groups
from ingest_server.fleet.settings import FleetSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRule:
    """What people are told of the devices that it fits; None: the same as of all others."""

    chosen: DeviceChoice
    silent_s: float | None = None
    pending_s: float | None = None
    tells_failed: bool | None = None

    def over(self, settings: FleetSettings) -> FleetSettings:
        """Return *settings* with what this rule says instead."""
        told = {
            name: value
            for name in ("silent_s", "pending_s", "tells_failed")
            if (value := getattr(self, name)) is not None
        }
        return replace(settings, **told)


class NoticeRules:
    """The rules of one server, in their order.

    Args:
        groups: reads the groups of all devices; asked only where a rule names one.
    """

    def __init__(
        self,
        settings: FleetSettings,
        rules: tuple[NoticeRule, ...] = (),
        groups: Callable[[], Groups] = dict,
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._read = groups
        self._groups: Groups = {}
        self._found: dict[str, FleetSettings] = {}
        self.are_known = all(one.chosen.group is None for one in rules)
        """False: until the groups were read nobody can say which rule fits."""

    def of(self, device: str) -> FleetSettings:
        """Return what holds for a device."""
        if not self._rules:
            return self._settings
        known = self._found  # first: what is found by groups of before is kept among that of before
        found = known.get(device)
        if found is None:
            groups = self._groups.get(device, NONE)
            rule = next((one for one in self._rules if one.chosen.fits(device, groups)), None)
            found = self._settings if rule is None else rule.over(self._settings)
            known[device] = found
        return found

    def forget(self, device: str) -> None:
        """Keep nothing of a device that is known no more."""
        self._found.pop(device, None)

    def refresh(self) -> None:
        """Read which device is in which group.

        Raises:
            Refused: the database failed; what was read before holds.
        """
        if all(one.chosen.group is None for one in self._rules):
            return
        groups = self._read()
        self.are_known = True
        if groups != self._groups:
            self._groups, self._found = groups, {}
