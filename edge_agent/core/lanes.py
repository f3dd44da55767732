"""How many connections pay.

Under loss one connection fills only a part of a link, because its window is halved for each loss; on
a clean link a second one wins nothing. Nobody tells which link this is, so it is tried: up quickly,
since few files last long, and down with patience.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """When lanes are added and removed.

    Raises:
        ValueError: no lane at all, or no time to measure in.
    """

    most: int = 8
    """Measured with bare sockets under loss: 1, 2, 4, 8 fill .40, .56, .82, .92 of the link."""
    grow_s: float = 1.0
    """What one number of lanes moves is measured over this long before more are added."""
    shrink_s: float = 4.0
    """The same before fewer are kept: a link that fades must not look like lanes that do not pay."""
    gain: float = 1.05
    """So much more must twice the lanes move; the last doubling of the figures above gives 1.12."""
    loss: float = 0.97
    """So much of the flow must half the lanes keep."""
    regrow_s: float = 8.0
    """Before growing is tried again after it did not pay; doubles each time, up to `longest_s`."""
    other: float = 1.3
    """A link that moves so much more than when growing did not pay is another: it is tried at once.
    A fading link makes lanes look useless, and they are missed when it is back."""
    review_s: float = 20.0
    """Before half the lanes are tried; doubles each time they moved less, up to `longest_s`."""
    longest_s: float = 300.0

    def __post_init__(self) -> None:
        if self.most < 1 or self.grow_s <= 0 or self.shrink_s <= 0:
            msg = f"not a policy for lanes: {self}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class _Trial:
    """Another number of lanes than before, until it has been measured."""

    before: int
    rate: float
    """What `before` lanes moved."""


class LaneCount:
    """Decides from the bytes that went out in all lanes together.

    ``count`` doubles while ``rate(2n) >= gain * rate(n)``, and is halved for a while now and then: it
    stays there if ``rate(n/2) >= loss * rate(n)``.
    """

    def __init__(self, policy: LanePolicy) -> None:
        self.policy = policy
        self.count = 1
        self._trial: _Trial | None = None
        self._since: tuple[float, int] | None = None
        self._regrow_s = policy.regrow_s
        self._review_s = policy.review_s
        self._grow_at_s = 0.0
        self._refused_rate = float("inf")
        """What was moved when growing did not pay last."""
        self._review_at_s: float | None = None

    def pause(self) -> None:
        """Nothing is being sent: what was measured so far says nothing about lanes."""
        self._since = None

    def judge(self, now_s: float, sent_bytes: int, *, can_use_more: bool) -> int:
        """Return how many lanes there should be.

        Args:
            sent_bytes: in all lanes together, ever.
            can_use_more: all lanes have work, there is more, and no rate limit holds them back.
        """
        self.count = min(self.count, self.policy.most)
        if self._since is None:
            self._since = (now_s, sent_bytes)
            return self.count
        took_s = now_s - self._since[0]
        is_shrinking = self._trial is not None and self._trial.before > self.count
        if took_s < (self.policy.shrink_s if is_shrinking else self.policy.grow_s):
            return self.count
        rate = (sent_bytes - self._since[1]) / took_s
        self._since = (now_s, sent_bytes)
        if rate > 0:  # else the link is away, and that is not the lanes' doing
            self._decide(now_s, rate, can_use_more=can_use_more)
        return self.count

    def _decide(self, now_s: float, rate: float, *, can_use_more: bool) -> None:
        trial, self._trial = self._trial, None
        if trial is not None and trial.before > self.count:
            self._end_shrinking(now_s, rate, trial)
        elif trial is not None and rate < trial.rate * self.policy.gain:
            self.count = trial.before
            self._refused_rate = max(rate, trial.rate)
            self._grow_at_s = now_s + self._regrow_s
            self._regrow_s = min(self.policy.longest_s, 2 * self._regrow_s)
        elif (
            can_use_more
            and self.count < self.policy.most
            and (now_s >= self._grow_at_s or rate > self.policy.other * self._refused_rate)
        ):
            self._trial = _Trial(self.count, rate)
            self.count = min(self.policy.most, 2 * self.count)
            self._review_at_s = None
        elif self.count > 1:
            self._review(now_s, rate)

    def _review(self, now_s: float, rate: float) -> None:
        if self._review_at_s is None:
            self._review_at_s = now_s + self._review_s
        elif now_s >= self._review_at_s:
            self._trial = _Trial(self.count, rate)
            self.count //= 2

    def _end_shrinking(self, now_s: float, rate: float, trial: _Trial) -> None:
        if rate < trial.rate * self.policy.loss:
            self.count = trial.before
            self._review_s = min(self.policy.longest_s, 2 * self._review_s)
            self._review_at_s = now_s + self._review_s
        else:
            self._grow_at_s = now_s + self._regrow_s
            self._review_at_s = now_s  # perhaps half of that is enough, too
