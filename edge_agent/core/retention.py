"""Which verified recordings may leave the device."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


class RetentionVerdict(StrEnum):
    KEEP_FOR_EVER = "keep for ever"
    """The configuration never deletes; nothing more will happen to it."""
    KEEP_FOR_NOW = "keep for now"
    """There is room; asked again when there is less."""
    DELETE = "delete"


def verdict(
    *,
    deletes: bool,
    is_ours: bool,
    keep_free: int,
    free: int | None,
    keep_s: float = 0.0,
    age_s: float = 0.0,
) -> RetentionVerdict:
    """Decide on one verified recording; the caller asks about the oldest first.

    It goes by whichever of its age and the room comes first; without either of the two, at once.

    Args:
        deletes: the configuration lets verified recordings go.
        is_ours: found by watching. A file that a person sent by command is never deleted.
        keep_free: bytes that should be free; 0: no matter.
        free: bytes free where the recording lies; None when that cannot be told.
        keep_s: how long a recording should stay, if there is room; 0: no matter.
        age_s: how long ago it was found.
    """
    if not deletes or not is_ours:
        return RetentionVerdict.KEEP_FOR_EVER
    if keep_free == 0 and keep_s == 0:
        return RetentionVerdict.DELETE
    is_old = 0 < keep_s <= age_s
    is_needed = free is not None and free < keep_free
    return RetentionVerdict.DELETE if is_old or is_needed else RetentionVerdict.KEEP_FOR_NOW


RECEIPT_TRUSTED_S = 24 * 3600.0
"""Of the agent's running time: a receipt older than that is asked for again before a recording goes."""


class ReceiptStanding(Enum):
    """What the server says of a receipt that it gave."""

    HOLDS = auto()
    VOID = auto()
    """What it was for is not there any more, or is not what it was."""
    UNKNOWN = auto()
    """It could not be asked, or has to look itself."""


@dataclass(frozen=True, slots=True)
class ReceiptAnswer:
    standing: ReceiptStanding
    detail: str = ""
    """Why, for a person."""


ASIDE_S = 1.0
"""Between moving a recording aside and unlinking it: a program that has looked its name up and not
opened it yet takes microseconds for the rest, milliseconds on a busy virtual machine."""

QUIETER = 10
LEAST_QUIET_S = 600.0


def quiet_s(fallback_settle_s: float) -> float:
    """Return how long a recording must be quiet to be deleted where nobody can say who writes.

    Much longer than to be sent: what is sent too early is sent again, what is deleted too early is
    lost. A recorder that waits for motion is silent for minutes.
    """
    return max(LEAST_QUIET_S, QUIETER * fallback_settle_s)


LOW_FREE = 0.05
"""Share of a disk below which it counts as low: a camera of today fills that in minutes."""

_HYSTERESIS = 0.1
"""The warning goes only when this much more is free, so that it does not flap at the border."""


def is_low(*, free: int, total: int, keep_free: int, was_low: bool) -> bool:
    """Return whether the media disk is low: below *keep_free*, or below 5 % if that is not set."""
    border = keep_free if keep_free > 0 else int(total * LOW_FREE)
    if was_low:
        return free < border * (1 + _HYSTERESIS)
    return free < border
