"""What a device did, minute by minute, in runs of fixed size; pure.

A run is an hour of minutes or a day of quarters of an hour, 9 bytes for each sample: the rate, what
waited, and how much of the time the device was online. So much is written and no more, whatever a device
says: see `MOST_BYTES`. The runs of minutes are kept for a day and a bit, those of quarters for a month; what
is dropped is what is older by the order of its runs. Runs that are later than now count by themselves: a clock
that was ahead takes the place of nothing, one that is behind drops nothing.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field

from ingest_server.storage.interface import Samples

MINUTE_S, QUARTER_S, HOUR_S, DAY_S = 60, 900, 3600, 86400
RUN_S = {MINUTE_S: HOUR_S, QUARTER_S: DAY_S}
"""How much time one run covers, by the time between its samples."""
KEPT_RUNS = {MINUTE_S: 26, QUARTER_S: 32}
"""A day and what of it has begun; a month."""

_SAMPLE = struct.Struct("<IIB")
_UNKNOWN = 255
_MOST = 2**32 - 1
_EMPTY = _SAMPLE.pack(0, 0, _UNKNOWN)
KIB = 1024

ROW_BYTES = 24
"""What SQLite adds to a run: its key, lengths, and its share of a page's head."""
MOST_BYTES = sum(
    KEPT_RUNS[step_s] * (RUN_S[step_s] // step_s * _SAMPLE.size + ROW_BYTES) for step_s in RUN_S
)
"""Of one device; twice that where the clock was set."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was so for one step."""

    rate_bytes_per_s: int
    pending_bytes: int
    online: float | None
    """The share of the time; None: the server did not run, or the device was not known."""


def pack(sample: Sample) -> bytes:
    online = _UNKNOWN if sample.online is None else round(100 * sample.online)
    return _SAMPLE.pack(
        min(sample.rate_bytes_per_s, _MOST),
        min(-(-sample.pending_bytes // KIB), _MOST),
        online,
    )


def unpack(run: bytes) -> list[Sample]:
    """Return the samples of a run; nothing of one that is cut off."""
    return [
        Sample(rate, KIB * pending, None if online == _UNKNOWN else online / 100)
        for rate, pending, online in _SAMPLE.iter_unpack(
            run[: len(run) // _SAMPLE.size * _SAMPLE.size]
        )
    ]


class Run:
    """A run that is being written."""

    def __init__(self, step_s: int, at_s: int, packed: bytes | None = None) -> None:
        """Begin the run that *at_s* falls into, or go on with *packed*."""
        self.step_s = step_s
        self.start_s = at_s - at_s % RUN_S[step_s]
        whole = _EMPTY * (RUN_S[step_s] // step_s)
        is_fit = packed is not None and len(packed) == len(whole)
        self.packed = bytearray(packed if is_fit and packed is not None else whole)

    def covers(self, at_s: int) -> bool:
        return self.start_s <= at_s < self.start_s + RUN_S[self.step_s]

    def put(self, at_s: int, sample: Sample) -> None:
        place = (at_s - self.start_s) // self.step_s * _SAMPLE.size
        self.packed[place : place + _SAMPLE.size] = pack(sample)


@dataclass(slots=True)
class History:
    """What one device did lately, and what of it is to be written."""

    device: str
    hour: Run
    day: Run
    quarter: list[Sample] = field(default_factory=list)
    quarter_s: int = 0
    days: deque[tuple[int, float, int]] = field(default_factory=lambda: deque(maxlen=6))
    """Of the last days that are over, six and today are a week: the day, its share online summed, its samples."""

    @classmethod
    def begun(cls, device: str, at_s: int) -> History:
        return cls(device, Run(MINUTE_S, at_s), Run(QUARTER_S, at_s), quarter_s=_quarter(at_s))

    def resume(self, samples: Samples) -> None:
        """Go on with what was written before."""
        if samples.step_s == MINUTE_S and samples.start_s == self.hour.start_s:
            self.hour = Run(MINUTE_S, samples.start_s, samples.packed)
        elif samples.step_s == QUARTER_S and samples.start_s == self.day.start_s:
            self.day = Run(QUARTER_S, samples.start_s, samples.packed)
        elif samples.step_s == QUARTER_S and samples.start_s < self.day.start_s:
            self.days.append((samples.start_s, *_online(samples.packed)))

    def note(self, at_s: int, sample: Sample) -> list[Samples]:
        """Take the sample of a minute; return the runs that are to be written now."""
        written = []
        if not self.hour.covers(at_s):
            self.hour = Run(MINUTE_S, at_s)
        self.hour.put(at_s, sample)
        written.append(self._samples(self.hour))
        if _quarter(at_s) != self.quarter_s:
            self.quarter.clear()
            self.quarter_s = _quarter(at_s)
        self.quarter.append(sample)
        if not self.day.covers(at_s):
            self.days.append((self.day.start_s, *_online(bytes(self.day.packed))))
            self.day = Run(QUARTER_S, at_s)
        self.day.put(at_s, _mean(self.quarter))
        if at_s % QUARTER_S >= QUARTER_S - MINUTE_S:
            written.append(self._samples(self.day))
        return written

    def availability(self) -> float | None:
        """Return the share of the last seven days that the device was online; None: too little known."""
        parts = [
            *((total, count) for _, total, count in self.days),
            _online(bytes(self.day.packed)),
        ]
        count = sum(one for _, one in parts)
        return round(sum(total for total, _ in parts) / count, 3) if count else None

    def _samples(self, run: Run) -> Samples:
        return Samples(self.device, run.step_s, run.start_s, bytes(run.packed))


def _quarter(at_s: int) -> int:
    return at_s - at_s % QUARTER_S


def _mean(samples: list[Sample]) -> Sample:
    known = [one.online for one in samples if one.online is not None]
    return Sample(
        sum(one.rate_bytes_per_s for one in samples) // len(samples),
        samples[-1].pending_bytes,
        sum(known) / len(known) if known else None,
    )


def _online(packed: bytes) -> tuple[float, int]:
    known = [one.online for one in unpack(packed) if one.online is not None]
    return sum(known), len(known)
