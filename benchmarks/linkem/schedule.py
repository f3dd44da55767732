"""What a link does over time: its varying rate, its losses, its outages. All drawn from the seed."""

import math
import random
from pathlib import Path

from benchmarks.linkem.profiles import Link, both

OPPORTUNITY_BYTES = 1500
"""What one line of a delivery trace can carry."""

_SYNTHETIC_S = 600  # length of a generated rate before it repeats
_OUTAGE_HORIZON_S = 3600


def rate_walk(lo_mbit: float, hi_mbit: float, rng: random.Random) -> list[int]:
    """Return delivery times (ms) of a rate that wanders between two bounds.

    The logarithm of the rate is a mean-reverting random walk (correlation time 8 s, a step each
    200 ms): the slow fades and sudden recoveries of a radio that moves.
    """
    step_ms, keep = 200, math.exp(-0.2 / 8)
    x, credit = 0.55, 0.0
    times: list[int] = []
    for start in range(0, _SYNTHETIC_S * 1000, step_ms):
        x = 0.55 + keep * (x - 0.55) + math.sqrt(1 - keep * keep) * rng.gauss(0, 0.3)
        rate = lo_mbit * (hi_mbit / lo_mbit) ** min(1.0, max(0.0, x))
        per_ms = rate * 1e3 / 8 / OPPORTUNITY_BYTES
        for ms in range(start + 1, start + step_ms + 1):
            credit += per_ms
            count = int(credit)
            credit -= count
            times += [ms] * count
    return times


def read_trace(path: Path) -> list[int]:
    """Return the delivery times of a trace: one opportunity a line, in ms, not decreasing.

    Raises:
        ValueError: it is no such file.
    """
    times = [int(line) for line in path.read_text().split()]
    if not times or times[-1] <= 0 or times != sorted(times):
        raise ValueError(f"{path}: not a delivery trace (times in ms, ascending, the last above 0)")
    return times


def gilbert(loss: float, burst: float) -> str:
    """Return "p:r:bad:good" of the two-state model: the chances per packet, the loss in each state.

    Raises:
        ValueError: no such loss is possible in bursts of that length.
    """
    if burst <= 1 or loss in {0.0, 1.0}:
        return f"0:1:0:{loss}"
    leave = 1 / burst
    enter = loss * leave / (1 - loss)
    if enter > 1:
        raise ValueError(f"a loss of {loss} is not reachable in bursts of {burst} packets")
    return f"{enter}:{leave}:1:0"


def outages(spec: str, rng: random.Random) -> tuple[list[tuple[float, float]], float]:
    """Return the intervals (s) without link, and the period (s) in which they repeat (0: never).

    Raises:
        ValueError: they overlap, or one is empty.
    """
    if not spec:
        return [], 0
    if spec.startswith("~"):
        mean_up, _, span = spec[1:].partition(":")
        lo, _, hi = span.partition("-")
        plan, now_s = [], 0.0
        while now_s < _OUTAGE_HORIZON_S:
            now_s += rng.expovariate(1 / float(mean_up))
            length_s = rng.uniform(float(lo), float(hi or lo))
            plan.append((now_s, now_s + length_s))
            now_s += length_s
        return plan, 0
    if ":" in spec:
        up_s, down_s = (float(part) for part in spec.split(":"))
        return [(up_s, up_s + down_s)], up_s + down_s
    pairs = (part.partition("-") for part in spec.split(","))
    plan = sorted((float(start), float(stop)) for start, _, stop in pairs)
    ends = [0.0, *(stop for _, stop in plan)]
    if any(a >= b or a < end for end, (a, b) in zip(ends, plan, strict=False)):
        raise ValueError(f"outages overlap or are empty: {spec}")
    return plan, 0


def forwarding_settings(link: Link, seed: int, folder: Path) -> list[str]:
    """Return the arguments of the forwarding process; what is long goes to files in *folder*."""
    plan, period_s = outages(link.outages, random.Random(f"{seed}/outages"))
    listed = folder / "outages"
    listed.write_text("".join(f"{a * 1e3:.3f} {b * 1e3:.3f}\n" for a, b in plan))
    settings = [f"outages={listed}", f"period={period_s * 1e3}"]
    settings.append(f"ifdown={int(link.outage_mode == 'down')}")
    for side, name in enumerate(("up", "down")):
        rate = both(link.rate_mbit)[side]
        trace = both(link.trace, "|")[side]
        times: list[int] = []
        if trace:
            times = read_trace(Path(trace))
        elif "-" in rate:
            lo, hi = (float(part) for part in rate.split("-"))
            times = rate_walk(lo, hi, random.Random(f"{seed}/{name}"))
        if times:
            trace, rate = str(folder / f"{name}.trace"), "0"
            Path(trace).write_text("\n".join(map(str, times)))
        draws = random.Random(f"{seed}/{name}/packets").getrandbits(63)
        loss = gilbert(float(both(link.loss)[side]), float(both(link.burst)[side]))
        settings += [
            f"{name}.seed={draws}",
            f"{name}.rate={float(rate) * 1e6}",
            f"{name}.trace={trace}",
            f"{name}.delay={both(link.delay_ms)[side]}",
            f"{name}.jitter={both(link.jitter_ms)[side]}",
            f"{name}.ge={loss}",
            f"{name}.queue={float(both(link.queue_kb)[side]) * 1e3}",
        ]
    return settings


def describe_trace(path: Path) -> dict[str, float]:
    """Return length, mean rate, extremes of a second and the longest silence of a trace."""
    times = read_trace(path)
    per_s = [0] * (times[-1] // 1000 + 1)
    for ms in times:
        per_s[min(ms // 1000, len(per_s) - 1)] += 1
    mbit = [count * OPPORTUNITY_BYTES * 8 / 1e6 for count in (per_s[:-1] or per_s)]
    gaps = (after - before for before, after in zip([0, *times], times, strict=False))
    return {
        "length_s": times[-1] / 1000,
        "mean_mbit": round(len(times) * OPPORTUNITY_BYTES * 8 / times[-1] / 1e3, 3),
        "least_mbit": round(min(mbit), 3),
        "most_mbit": round(max(mbit), 3),
        "longest_silence_s": max(gaps) / 1000,
    }
