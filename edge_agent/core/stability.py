"""Is a recording finished?

Finished is what was quiet for the settle time *and* has nobody who writes to it. Only time that passed
while we watched counts, by the monotonic clock: a modification time may lie in 1970 or in the future
(a camera without a clock), so it is compared and never subtracted.

Where the kernel cannot say who writes, quiet time alone must do, so it is longer: recorders buffer
256 KiB (33 s at 64 kbit/s) or flush every 30 s. So it is for an empty file, which some recorders
make minutes before the first frame. What was seen to grow after a pause, it or others of its series, must
be quiet for several such pauses, and for some minutes at most: a device is switched off after its flight.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

_PAUSES = 5
"""How many of its longest pauses a file must be quiet: appended to every 9 s, it is finished after 45."""
_LONGEST_QUIET_S = 180.0
"""No pause, however long, makes it more."""


class Writer(Enum):
    """Who has the file open for writing."""

    NOBODY = "nobody"
    SOMEBODY = "somebody"
    UNKNOWN = "unknown"
    """The kernel does not say, or not the whole of it: another user's file, or a file system that is
    written from elsewhere, too."""


@dataclass(frozen=True, slots=True)
class SettlePolicy:
    settle_s: float
    fallback_settle_s: float
    """Used where the writer is unknown, and for empty files."""


@dataclass(frozen=True, slots=True)
class Content:
    """What tells that bytes changed: compared for equality, nothing else."""

    inode: int
    length: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Watched:
    """A file that is not known to be finished, as last seen."""

    content: Content
    quiet_since_s: float
    """Monotonic time of the look that found this content first."""
    has_grown: bool = False
    """Whether it was ever seen to change: then it is being recorded, not merely found."""


@dataclass(frozen=True, slots=True)
class Finding:
    is_finished: bool
    look_again_s: float
    """Seconds until another look can say more; 0 when finished."""
    needed_s: float = 0.0
    """How long it must be quiet, where it has been for the settle time and that is not enough."""


def observe(before: Watched | None, content: Content, now_s: float) -> Watched:
    """Return what is known of a file after one more look at it."""
    if before is None:
        return Watched(content, now_s)
    if before.content == content:
        return before
    return Watched(content, now_s, has_grown=True)


def needs_probe(watched: Watched, now_s: float, policy: SettlePolicy) -> bool:
    """Return whether it has been quiet long enough to ask the kernel who writes."""
    return now_s - watched.quiet_since_s >= policy.settle_s


def judge(
    watched: Watched,
    writer: Writer | None,
    now_s: float,
    policy: SettlePolicy,
    *,
    is_named: bool = False,
    pause_s: float = 0.0,
) -> Finding:
    """Return whether the recording is finished, and when to look again.

    Args:
        watched: as last seen, at *now_s*.
        writer: the kernel's answer, None if it was not asked (see `needs_probe`).
        now_s: monotonic.
        policy: how long quiet is.
        is_named: a person has named it, so no first frame is to come if it is empty.
        pause_s: after which its like was seen to grow on; 0: that was never seen.
    """
    quiet_s = now_s - watched.quiet_since_s
    if quiet_s < policy.settle_s:
        return Finding(is_finished=False, look_again_s=policy.settle_s - quiet_s)
    if writer is None or writer is Writer.SOMEBODY:
        return Finding(is_finished=False, look_again_s=policy.settle_s)
    needed_s = max(policy.settle_s, min(_PAUSES * pause_s, _LONGEST_QUIET_S))
    if writer is Writer.UNKNOWN or (watched.content.length == 0 and not is_named):
        needed_s = max(needed_s, policy.fallback_settle_s)
    if quiet_s < needed_s:
        # In steps: a file that grows meanwhile is noticed, not only at the end of a long wait.
        look_again_s = min(needed_s - quiet_s, policy.settle_s)
        return Finding(is_finished=False, look_again_s=look_again_s, needed_s=needed_s)
    return Finding(is_finished=True, look_again_s=0.0)
