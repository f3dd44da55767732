"""Whether lanes work together on what is begun, or begin another recording beside it.

A link may go away at any moment, and for the day: a car parks for some minutes, a drone lands. What was
sent by then of recordings that are not whole is of no use until it is back. Each lane on a recording of
its own is the known way to end with nothing. So no more is begun than the link takes in about two seconds:
large recordings have all lanes, one after the other, and small ones go side by side, for each costs
round trips in which the link would idle.
"""

from __future__ import annotations

from edge_agent.core.plan import MIB

_AHEAD_S = 2.0
"""With one second, lanes waited for the create of the next recording: 7 % of `lte-bad-20`."""
_AHEAD_RTTS = 8.0
"""A recording costs some round trips beside its bytes: so much is begun over a long way."""
_AHEAD_BYTES = MIB
"""Before any rate is known."""


def ahead_bytes(rate_bytes_per_s: float | None, rtt_s: float) -> int:
    """Return how many bytes may be begun and not there yet while another recording is begun.

    Args:
        rate_bytes_per_s: of all lanes together; None: not known.
        rtt_s: a round trip; 0: not known.
    """
    if rate_bytes_per_s is None:
        return _AHEAD_BYTES
    return int(rate_bytes_per_s * max(_AHEAD_S, _AHEAD_RTTS * rtt_s))


def begins_another(begun: int, ahead: int) -> bool:
    """Return whether a lane that could help with what is begun begins another recording instead.

    Args:
        begun: bytes of recordings that lanes are at, and that are not at the server yet.
        ahead: what `ahead_bytes` says.
    """
    return begun < ahead
