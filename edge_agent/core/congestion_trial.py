"""Which congestion control moves more over a link, by what each moved there.

BBR fills a link that loses packets, and loses to cubic on some whose rate jumps (docs/performance.md).
Nobody can tell beforehand which of them a link is, so both are tried on what is sent anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Control = Literal["bbr", "cubic"]

TURNS: Final[tuple[Control, ...]] = ("bbr", "cubic", "cubic", "bbr")
"""A link that becomes better or worse all the while favours neither of them in this order."""


@dataclass(frozen=True, slots=True)
class TrialPolicy:
    """How long is measured, and what is enough.

    Raises:
        ValueError: no time to measure in.
    """

    settle_s: float = 5.0
    """Of each turn that is not counted: what is on its way still belongs to the turn before."""
    turn_s: float = 15.0
    """Of each turn that is: some hundred round trips, and several of a radio link's good and bad spells."""
    gain: float = 1.1
    """So much more must cubic move. Two turns of one and the same control differ by up to that."""

    def __post_init__(self) -> None:
        if self.settle_s < 0 or self.turn_s <= 0:
            msg = f"not a policy for a trial: {self}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a trial has shown, in bytes/s."""

    bbr: float
    cubic: float
    chosen: Control


class CongestionTrial:
    """Call `look` while all connections are busy, and `pause` when they are not any more."""

    def __init__(self, policy: TrialPolicy | None = None) -> None:
        self._policy = policy or TrialPolicy()
        self._turn = 0
        self._begun_s: float | None = None
        self._counted_from: tuple[float, int] | None = None
        self._moved: dict[Control, list[float]] = {"bbr": [], "cubic": []}

    @property
    def control(self) -> Control:
        """What connections are to use now."""
        return TURNS[self._turn]

    def pause(self) -> None:
        """There was a gap, which says nothing about the link: the turn is taken again."""
        self._begun_s = self._counted_from = None

    def look(self, now_s: float, acked_bytes: int) -> Measured | None:
        """Take in how many bytes were acknowledged ever; return what all turns have shown, once they have."""
        if self._begun_s is None:
            self._begun_s = now_s
        if self._counted_from is None:
            if now_s - self._begun_s >= self._policy.settle_s:
                self._counted_from = (now_s, acked_bytes)
            return None
        since_s, before = self._counted_from
        if now_s - since_s < self._policy.turn_s:
            return None
        self._moved[self.control].append((acked_bytes - before) / (now_s - since_s))
        self.pause()
        if self._turn + 1 < len(TURNS):
            self._turn += 1
            return None
        bbr, cubic = (sum(rates) / len(rates) for rates in self._moved.values())
        is_cubic = cubic > 0 and cubic >= self._policy.gain * bbr
        return Measured(bbr, cubic, "cubic" if is_cubic else "bbr")
