"""How long a target that was not told is left alone, and when it is given up."""

from __future__ import annotations

WAITS_S = (5.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0, 43200.0)
"""After the first try, the second, ...: a consumer may be down for a day before it is given up."""

TRIES_AWAY = 5
"""That count of who says when it is back: else it is looked each 2 h, and there is a day left for what is refused
later."""

JITTER = 0.2
"""Part of a wait by which it varies: many events of one outage do not come back as one burst."""

LONGEST_SILENCE_S = 60.0
"""Longest rest of a target that answers nothing. Short, since only one event may be what it does not answer."""

MAX_RETRY_AFTER_S = WAITS_S[-1]
"""Longest wait that a target can ask for."""


def waits_s(jitter: float) -> tuple[float, ...]:
    """Return the seconds to wait after the first failed try, the second, ...; then no more.

    Args:
        jitter: a draw from ``[0, 1)``.
    """
    return tuple(one * (1 + JITTER * (2 * jitter - 1)) for one in WAITS_S)


def rest_s(unanswered: int) -> float:
    """Return the seconds to leave a target alone that did not answer so many events in a row, each tried once.

    None after the first: that may be the fault of the event. Then 5 s, 10 s, ... up to `LONGEST_SILENCE_S`.
    """
    if unanswered < 2:
        return 0.0
    return min(LONGEST_SILENCE_S, WAITS_S[0] * 2.0 ** min(unanswered - 2, 8))


def wait_s(tries: int, *, jitter: float, retry_after_s: float | None = None) -> float | None:
    """Return the seconds to wait after *tries* failed tries; None: no more.

    Args:
        tries: at least 1.
        jitter: a draw from ``[0, 1)``.
        retry_after_s: what the target asked for. It can only make the wait longer: tries are
            counted, and a target that says "at once" each time would be given up within seconds.
    """
    if tries > len(WAITS_S):
        return None
    asked_s = min(retry_after_s or 0.0, MAX_RETRY_AFTER_S)
    return max(asked_s, waits_s(jitter)[tries - 1])
