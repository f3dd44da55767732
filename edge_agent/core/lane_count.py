"""How many connections pay.

Under loss one connection fills only a part of a link, because its window is halved for each loss; on
a clean link a second one wins nothing. Nobody tells which link this is, but the round trip does: while
it takes no longer than the shortest one, nothing waits in front of the link and there is room; once it
takes longer, the link is full and more lanes can only add to the queue. Where the kernel does not tell,
it is tried: up quickly, since few files last long, and down with patience.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.core.plan import FAR_S


@dataclass(frozen=True, slots=True)
class LanePolicy:
    """When lanes are added and removed.

    Raises:
        ValueError: no lane at all, or no time to measure in.
    """

    most: int = 8
    """Measured with bare sockets under loss: 1, 2, 4, 8 fill .40, .56, .82, .92 of the link."""
    least: int = 1
    """Below this no lane is taken away, once there were more."""
    ramp: int = 8
    """So many are begun without measuring, while there is room and a round trip takes `ramp_rtt_s`."""
    ramp_rtt_s: float = 0.02
    """Over a shorter one a connection finds its rate at once, and losses cost it little."""
    far_s: float = FAR_S
    """Over so long round trips all of them begin at once: each needs seconds to find its rate."""
    most_far: int = 8
    """At most so many there."""
    ramp_s: float = 0.3
    """Between two steps of that."""
    grow_s: float = 1.0
    """What one number of lanes moves is measured over this long before more are added."""
    grow_rtts: float = 5.0
    """And over so many round trips before it is said that more do not pay: a new connection begins
    with ten packets, and needs as long until it moves what it can."""
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
    remember_s: float = 120.0
    """A link that lost packets while it had room is taken for one that loses so long: more lanes do no
    harm there while it is slow, and are missed when it is fast again."""
    queue_s: float = 0.04
    """A round trip so much longer than the shortest, and `queue_share` of that, tells of a queue: more
    than the jitter of a radio link, less than the buffer in front of one."""
    queue_share: float = 0.25
    plenty: float = 50e6
    """So many bytes a second are what a device can read and hash, and a link that moves them is not what
    holds it back: further lanes would only have the file read a second time, since bytes are hashed in
    order."""
    lossy: float = 0.002
    """Bytes that went twice, of all: from there on it is losses that hold a link with room back."""

    def __post_init__(self) -> None:
        if self.most < 1 or self.grow_s <= 0 or self.shrink_s <= 0:
            msg = f"not a policy for lanes: {self}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of all lanes together at one moment."""

    acked_bytes: int
    """Ever; what was only handed to the system where no more is known."""
    resent_bytes: int = 0
    """Ever, by the kernel."""
    rtt_s: float | None = None
    """Now, of the connections that wait for acknowledgements; None: none does, or not known."""
    shortest_rtt_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """What so many lanes did over a while."""

    rate: float
    resent: float
    """Share of what went out."""
    is_full: bool | None
    """None: not known."""
    settling_s: float
    """How long a new connection needs until it says anything about lanes."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """Another number of lanes than before, until it has been measured."""

    before: int
    rate: float
    """What `before` lanes moved."""
    since_s: float


class LaneCount:
    """Decides from what all lanes together move.

    While there is room, ``count`` doubles: at once if losses are what leaves it, else as long as
    ``rate(2n) >= gain * rate(n)``. Now and then it is halved for a while, and stays so if the link
    remains full, or moves as much.
    """

    def __init__(self, policy: LanePolicy) -> None:
        self.policy = policy
        self.count = 1
        self._is_ramping = True
        self._trial: _Trial | None = None
        self._since: tuple[float, Sample] | None = None
        self._delays: list[float] = []
        self._shortest_s = 0.0
        self._regrow_s = policy.regrow_s
        self._review_s = policy.review_s
        self._grow_at_s = 0.0
        self._refused_rate = float("inf")
        """What was moved when growing did not pay last."""
        self._review_at_s: float | None = None
        self._lossy_until_s = 0.0

    def pause(self) -> None:
        """Nothing is being sent: what was measured so far says nothing about lanes."""
        self._since = None

    def judge(
        self, now_s: float, sample: Sample, *, can_use_more: bool, has_stragglers: bool = False
    ) -> int:
        """Return how many lanes there should be.

        Args:
            can_use_more: all lanes have work, there is more, and no rate limit holds them back.
            has_stragglers: lanes beyond the count still end their last request.
        """
        self.count = min(self.count, self._most)
        if self._since is None:
            self._begin(now_s, sample)
            return self.count
        self._note(sample)
        took_s = now_s - self._since[0]
        if took_s < self._period_s():
            return self.count
        before = self._since[1]
        acked = sample.acked_bytes - before.acked_bytes
        resent = sample.resent_bytes - before.resent_bytes
        look = _Look(
            acked / took_s,
            max(0, resent) / max(1, acked + resent),
            self._is_full(),
            max(self.policy.grow_s, self.policy.grow_rtts * self._shortest_s),
        )
        self._begin(now_s, sample)
        if acked > 0:  # else the link is away, and that is not the lanes' doing
            self._decide(now_s, look, can_use_more=can_use_more, has_stragglers=has_stragglers)
        return self.count

    def _begin(self, now_s: float, sample: Sample) -> None:
        self._since = (now_s, sample)
        self._delays.clear()

    def _note(self, sample: Sample) -> None:
        if sample.shortest_rtt_s is not None:
            self._shortest_s = sample.shortest_rtt_s
            if sample.rtt_s is not None:
                self._delays.append(sample.rtt_s - sample.shortest_rtt_s)

    def _period_s(self) -> float:
        if self._trial is not None and self._trial.before > self.count:
            return self.policy.shrink_s
        is_long = self._shortest_s >= self.policy.ramp_rtt_s
        return self.policy.ramp_s if self._is_ramping and is_long else self.policy.grow_s

    def _is_full(self) -> bool | None:
        if not self._delays:
            return None
        lately = self._delays[len(self._delays) // 2 :]  # a queue that fades is none
        policy = self.policy
        return sum(lately) / len(lately) > policy.queue_s + policy.queue_share * self._shortest_s

    @property
    def _is_far(self) -> bool:
        return self._shortest_s >= self.policy.far_s

    @property
    def _most(self) -> int:
        return min(self.policy.most, self.policy.most_far) if self._is_far else self.policy.most

    def _decide(
        self, now_s: float, look: _Look, *, can_use_more: bool, has_stragglers: bool
    ) -> None:
        trial = self._trial
        if look.is_full is False and look.resent >= self.policy.lossy:
            self._lossy_until_s = now_s + self.policy.remember_s
        if trial is not None and trial.before > self.count:
            self._end_shrinking(now_s, look, trial, has_stragglers=has_stragglers)
        elif look.is_full:
            self._is_ramping = False
            self._trial = None
            self._review(now_s, look)
        elif self._may_ramp():
            if can_use_more:
                self._ramp_up(now_s, look)
        elif trial is not None and not self._pays(now_s, look, trial.rate):
            if now_s - trial.since_s >= look.settling_s:
                self._refuse(now_s, look, trial)
        elif can_use_more and self.count < self._most and self._may_grow(now_s, look):
            self._grow(now_s, look)
        else:
            self._trial = None
            self._review(now_s, look)

    def _has_room(self, now_s: float, look: _Look) -> bool:
        """Return whether losses leave a part of the link unused, of which more lanes get more."""
        return look.is_full is False and now_s < self._lossy_until_s

    def _pays(self, now_s: float, look: _Look, before: float) -> bool:
        return look.rate >= before * self.policy.gain or self._has_room(now_s, look)

    def _may_ramp(self) -> bool:
        policy = self.policy
        self._is_ramping = self._is_ramping and self.count < min(policy.ramp, self._most)
        return self._is_ramping and self._shortest_s >= policy.ramp_rtt_s

    def _may_grow(self, now_s: float, look: _Look) -> bool:
        if self._has_room(now_s, look):
            return True
        is_another_link = look.rate > self.policy.other * self._refused_rate
        return look.rate < self.policy.plenty and (now_s >= self._grow_at_s or is_another_link)

    def _ramp_up(self, now_s: float, look: _Look) -> None:
        most = self.policy.ramp if self._is_far else min(2 * self.count, self.policy.ramp)
        self._grow(now_s, look, most=most)

    def _grow(self, now_s: float, look: _Look, *, most: int | None = None) -> None:
        self._trial = _Trial(self.count, look.rate, now_s)
        self.count = min(self._most, 2 * self.count if most is None else most)
        self._review_at_s = None

    def _refuse(self, now_s: float, look: _Look, trial: _Trial) -> None:
        self._trial = None
        self.count = trial.before
        self._refused_rate = max(look.rate, trial.rate)
        self._grow_at_s = now_s + self._regrow_s
        self._regrow_s = min(self.policy.longest_s, 2 * self._regrow_s)

    def _review(self, now_s: float, look: _Look) -> None:
        if self.count <= self.policy.least or now_s < self._lossy_until_s:
            self._review_at_s = None
            return
        if self._review_at_s is None:
            self._review_at_s = now_s + self._review_s
        if now_s >= self._review_at_s:
            self._trial = _Trial(self.count, look.rate, now_s)
            self.count = max(self.policy.least, self.count // 2)

    def _end_shrinking(
        self, now_s: float, look: _Look, trial: _Trial, *, has_stragglers: bool
    ) -> None:
        has_room = self._has_room(now_s, look)
        if has_stragglers and not has_room:
            return  # nothing has been taken away yet
        self._trial = None
        if look.is_full or (not has_room and look.rate >= trial.rate * self.policy.loss):
            self._grow_at_s = now_s + self._regrow_s
            self._review_at_s = now_s  # perhaps half of that is enough, too
        else:
            self.count = trial.before
            self._review_s = min(self.policy.longest_s, 2 * self._review_s)
            self._review_at_s = now_s + self._review_s
