"""Is a recording finished?

Finished is what was quiet for the settle time *and* has nobody who writes to it. Only time that passed
while we watched counts, by the monotonic clock: a modification time may lie in 1970 or in the future
(a camera without a clock), so it is compared and never subtracted.

Where the kernel cannot say who writes, quiet time alone must do, so it is longer: recorders buffer
256 KiB (33 s at 64 kbit/s) or flush every 30 s. So it is for an empty file, which some recorders
make minutes before the first frame. What was seen to grow after a pause, it or others of its series, must
be quiet for several such pauses, and for some minutes at most: a device is switched off after its flight.

Where the recorder itself says so there is no quiet time: it announces a file, renames it into place, or
makes a marker beside it. A writer that the kernel shows is believed even then. And where it says "not
yet" by a marker, that holds for a long quiet time, not for ever: a recorder may have died.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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


class Marker(Enum):
    """What the marker files beside a recording say of it."""

    NONE = "none"
    """Nothing: none are in use, or none says "not yet"."""
    DONE = "done"
    AWAITED = "awaited"
    """It is not finished: the one that ends it is missing, or one that holds it is there."""


@dataclass(frozen=True, slots=True)
class SettlePolicy:
    settle_s: float
    fallback_settle_s: float
    """Used where the writer is unknown, and for empty files."""
    marker_wait_s: float = 3600.0
    """Used while a marker says "not yet"."""


@dataclass(frozen=True, slots=True)
class Content:
    """What tells that bytes changed: compared for equality, nothing else.

    Not the number of the inode: of a file that nobody has open FAT invents another whenever memory is
    short, and it would never be quiet.
    """

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
    is_announced: bool = False
    """Whether its recorder has said that this very content is all of it."""


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


def announced(watched: Watched) -> Watched:
    """Return what is known once the recorder has said that it is finished, as it is now.

    It holds for that content: what is written later makes it void.
    """
    return replace(watched, is_announced=True)


def needs_probe(
    watched: Watched, now_s: float, policy: SettlePolicy, marker: Marker = Marker.NONE
) -> bool:
    """Return whether the kernel is to be asked who writes."""
    return _is_told(watched, marker) or now_s - watched.quiet_since_s >= policy.settle_s


def _is_told(watched: Watched, marker: Marker) -> bool:
    """Return whether the recorder has said that it is finished."""
    return marker is Marker.DONE or (watched.is_announced and marker is Marker.NONE)


def judge(
    watched: Watched,
    writer: Writer | None,
    now_s: float,
    policy: SettlePolicy,
    *,
    is_named: bool = False,
    pause_s: float = 0.0,
    marker: Marker = Marker.NONE,
) -> Finding:
    """Return whether the recording is finished, and when to look again.

    Args:
        watched: as last seen, at *now_s*.
        writer: the kernel's answer, None if it was not asked (see `needs_probe`).
        now_s: monotonic.
        policy: how long quiet is.
        is_named: a person has named it, so no first frame is to come if it is empty.
        pause_s: after which its like was seen to grow on; 0: that was never seen.
        marker: what is said of it beside it.
    """
    quiet_s = now_s - watched.quiet_since_s
    is_told = _is_told(watched, marker)
    if quiet_s < policy.settle_s and not is_told:
        return Finding(is_finished=False, look_again_s=policy.settle_s - quiet_s)
    if writer is None or writer is Writer.SOMEBODY:
        return Finding(is_finished=False, look_again_s=policy.settle_s)
    if is_told:
        return Finding(is_finished=True, look_again_s=0.0)
    needed_s = max(policy.settle_s, min(_PAUSES * pause_s, _LONGEST_QUIET_S))
    if writer is Writer.UNKNOWN or (watched.content.length == 0 and not is_named):
        needed_s = max(needed_s, policy.fallback_settle_s)
    if marker is Marker.AWAITED:
        needed_s = max(needed_s, policy.marker_wait_s)
    if quiet_s < needed_s:
        # In steps: a file that grows meanwhile is noticed, not only at the end of a long wait.
        look_again_s = min(needed_s - quiet_s, policy.settle_s)
        return Finding(is_finished=False, look_again_s=look_again_s, needed_s=needed_s)
    return Finding(is_finished=True, look_again_s=0.0)
