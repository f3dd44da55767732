"""Whether the owner lets the device send on the power that it has; pure.

What supplies say is often odd: several batteries, a cable that is too weak, a gauge that reports nothing or
255 %. What cannot be told holds nothing up, and what was held goes on only once things were better for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

BETTER_FOR_S = 30.0
"""So long power must suffice before sending goes on: a loose plug, a gauge that starts anew."""
_MARGIN_PERCENT = 5
"""A battery must have so much more than the limit to go on: sending itself makes its voltage fall."""


@dataclass(frozen=True, slots=True)
class Supply:
    """One of the kernel's power supplies; None: it does not say, or nonsense."""

    is_battery: bool
    is_online: bool | None = None
    status: str | None = None
    """``Charging``, ``Discharging``, ``Full``, ``Not charging``."""
    percent: int | None = None
    full: int | None = None
    """What it holds when it is full, in whatever unit."""


@dataclass(frozen=True, slots=True)
class PowerRule:
    """Nothing is sent on battery, or not below a charge; what is false or 0 holds nothing."""

    mains_only: bool = False
    min_percent: int = 0

    def __bool__(self) -> bool:
        return self.mains_only or self.min_percent > 0


@dataclass(frozen=True, slots=True)
class PowerState:
    """What followed from the last look."""

    detail: str | None = None
    """Why nothing is sent; None: it may be."""
    better_since_s: float | None = None
    unknown: tuple[str, ...] = ()
    """What the rule asks and nobody can say: sentences for a person."""

    @property
    def is_held(self) -> bool:
        return self.detail is not None


def on_mains(supplies: Sequence[Supply]) -> bool | None:
    """Return whether the device is fed from outside; None: no supply can say.

    A battery that charges is fed, whatever a cable says of itself.
    """
    cables = [one.is_online for one in supplies if not one.is_battery]
    statuses = {one.status for one in supplies if one.is_battery}
    if True in cables or "Charging" in statuses:
        return True
    if False in cables or "Discharging" in statuses:
        return False
    return True if statuses & {"Full", "Not charging"} else None


def charge(supplies: Sequence[Supply]) -> int | None:
    """Return the percent that all batteries together have; None: none can say."""
    known = [one for one in supplies if one.is_battery and one.percent is not None]
    if not known:
        return None
    is_weighed = all(one.full for one in known)
    weights = [one.full or 1 if is_weighed else 1 for one in known]
    total = sum(weight * (one.percent or 0) for weight, one in zip(weights, known, strict=True))
    return total // sum(weights)


def held_until(rule: PowerRule, supplies: Sequence[Supply]) -> str | None:
    """Return what would keep a device held that is held already, in words; None: nothing would."""
    return _lacking(rule, on_mains(supplies), charge(supplies), is_held=True)


def judge(
    rule: PowerRule,
    supplies: Sequence[Supply] | None,
    before: PowerState,
    *,
    now_s: float,
    why_unknown: str,
) -> PowerState:
    """Return whether *rule* lets the device send.

    Args:
        supplies: all there are; None: they cannot be looked at.
        before: what followed from the last look.
        why_unknown: why supplies cannot be looked at.
    """
    if not rule:
        return PowerState()
    is_fed = None if supplies is None else on_mains(supplies)
    percent = None if supplies is None else charge(supplies)
    unknown = _unknown(rule, is_fed, percent, why_unknown if supplies is None else _NOBODY)
    detail = _lacking(rule, is_fed, percent, is_held=before.is_held)
    if detail is not None:
        return PowerState(detail, None, unknown)
    if not before.is_held:
        return PowerState(unknown=unknown)
    since_s = now_s if before.better_since_s is None else before.better_since_s
    if now_s - since_s >= BETTER_FOR_S:
        return PowerState(unknown=unknown)
    waits = f"power was lacking a moment ago: sending goes on when it has not been for {BETTER_FOR_S:.0f} s"
    return PowerState(waits, since_s, unknown)


_NOBODY = "no supply in /sys/class/power_supply says it"


def _lacking(
    rule: PowerRule, is_fed: bool | None, percent: int | None, *, is_held: bool
) -> str | None:
    """Return what is not as *rule* wants it, in words; None: nothing."""
    if is_fed:
        return None
    if rule.mains_only and is_fed is False:
        has = "" if percent is None else f", which has {percent} %"
        return f"the device runs on its battery{has}; it sends on mains only ([power] mains_only)"
    enough = min(100, rule.min_percent + (_MARGIN_PERCENT if is_held else 0))
    if percent is None or percent >= enough or not rule.min_percent:
        return None
    again = min(100, rule.min_percent + _MARGIN_PERCENT)
    return (
        f"the battery has {percent} %, and [power] min_percent is {rule.min_percent}: sending goes on at"
        f" {again} %, or on mains"
    )


def _unknown(
    rule: PowerRule, is_fed: bool | None, percent: int | None, why: str
) -> tuple[str, ...]:
    found = []
    if rule.mains_only and is_fed is None:
        found.append(
            f"[power] mains_only: whether the device is on mains is not known ({why}); until it is, it"
            " counts as being on mains"
        )
    if rule.min_percent and not is_fed and percent is None:
        found.append(
            f"[power] min_percent: what its battery has is not known ({why}); until it is, it counts as"
            " full"
        )
    return tuple(found)
