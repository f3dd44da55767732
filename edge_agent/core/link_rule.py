"""Which rule of the owner's holds on a link: by its interface, its SSID and whether it roams; pure.

Interfaces are known by themselves. The rest is what NetworkManager and ModemManager say, which may not run,
hang or talk nonsense. What nobody says holds nothing up: a rule that asks for it does not fit, and a link
whose rule has ``metered = "auto"`` is not metered. People are told that it is so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from edge_agent.core.packets import CongestionControl
from edge_agent.core.window import Window


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """What is known of a link beside its name; None: nobody says."""

    ssid: str | None = None
    """Of the wireless network; empty: it is in none."""
    is_metered: bool | None = None
    is_roaming: bool | None = None
    why_unknown: str = "nobody was asked yet"
    """Why something of it is not known, if it is not; for people."""
    is_coming: bool = False
    """Whether somebody was asked this moment, and may answer the next."""


NOTHING_KNOWN = LinkFacts()


@dataclass(frozen=True, slots=True)
class LinkRule:
    """What holds while the way to the server leads over an interface named like *match*."""

    match: str
    """Shell patterns, ``wwan*|usb*``."""
    metered: bool = False
    max_rate: int | None = None
    windows: tuple[Window, ...] = ()
    """When it may be used; empty: always."""
    daily_bytes: int | None = None
    """What it may carry a day. None: a metered link nothing, another without end."""
    min_priority: int = 0
    """Recordings below it wait for another link."""
    while_recording: bool = False
    """Whether it carries, though it is metered, what is still written to."""
    ssid: str | None = None
    """Shell patterns for the wireless network that the interface is in; None: any, or none."""
    roaming: bool | None = None
    """Whether it fits only where the modem is in a foreign network, or only where it is not."""
    plan: str = ""
    """The name of the data plan that its bytes count on; empty: none."""
    congestion_control: CongestionControl | None = None
    """What new connections over it ask the kernel for; None: what all ask for."""
    metered_if_told: bool = False
    """Whether NetworkManager says if it is metered; `rule_for` returns it with `metered` set so."""

    @property
    def asks(self) -> bool:
        """Whether anything but the interface's name decides what holds."""
        return self.ssid is not None or self.roaming is not None or self.metered_if_told

    def fits(self, interface: str | None, facts: LinkFacts = NOTHING_KNOWN) -> bool:
        return (
            self.names(interface)
            and (self.ssid is None or _is_among(facts.ssid or None, self.ssid))
            and (self.roaming is None or facts.is_roaming is self.roaming)
        )

    def names(self, interface: str | None) -> bool:
        """Return whether it is about *interface*, on whatever else that depends."""
        return _is_among(interface, self.match)

    def lacks(self, facts: LinkFacts) -> tuple[str, ...]:
        """Return the keys that cannot be gone by, for *facts* do not say."""
        wanted = (
            ("ssid", self.ssid is not None and facts.ssid is None),
            ("roaming", self.roaming is not None and facts.is_roaming is None),
            ("metered", self.metered_if_told and facts.is_metered is None),
        )
        return tuple(key for key, is_lacking in wanted if is_lacking)

    def link_in_words(self, interface: str | None) -> str:
        """Return *interface* as the sentence of a wait names it, with what the rule asks of it."""
        said = f"the link {interface}"
        if self.ssid is not None:
            said += f" (SSID {self.ssid})"
        return said if self.roaming is None else f"{said}, {_ROAMS[self.roaming]},"


_ROAMS = {True: "which roams", False: "which does not roam"}


def rule_for(
    rules: Sequence[LinkRule], interface: str | None, facts: LinkFacts = NOTHING_KNOWN
) -> LinkRule | None:
    """Return the first of *rules* that fits, with what NetworkManager says put in; None: none does."""
    found = next((one for one in rules if one.fits(interface, facts)), None)
    if found is None or not found.metered_if_told:
        return found
    return replace(found, metered=facts.is_metered is True)


def unknown_on(
    rules: Sequence[LinkRule], interface: str | None, facts: LinkFacts
) -> tuple[str, ...]:
    """Return what of *rules* cannot be gone by on *interface*: sentences for a person."""
    said: list[str] = []
    for rule in rules:
        if not rule.names(interface):
            continue
        said += [_lacking(rule, key, interface, facts.why_unknown) for key in rule.lacks(facts)]
        if rule.fits(interface, facts):
            break  # what follows would not be asked
    return tuple(dict.fromkeys(said))


def _lacking(rule: LinkRule, key: str, interface: str | None, why: str) -> str:
    meanwhile = "it counts as not metered" if key == "metered" else "the rule does not count"
    what = {
        "ssid": f"which wireless network {interface} is in",
        "roaming": f"whether {interface} roams",
        "metered": f"whether {interface} is metered",
    }[key]
    return (
        f'[[link]] match = "{rule.match}": it is not known {what} ({why}); until it is, {meanwhile}'
    )


def _is_among(name: str | None, patterns: str) -> bool:
    return name is not None and any(fnmatchcase(name, one) for one in patterns.split("|"))
