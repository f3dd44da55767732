"""What the owner's rules beside those for links make of this moment: a hold, the power, the deadlines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, timedelta

from edge_agent.base import power_supply
from edge_agent.base.clock import Clock
from edge_agent.base.local_zone import LOCAL
from edge_agent.base.settings import AgentSettings
from edge_agent.core.power import PowerState, Supply, charge, held_until, judge, on_mains
from edge_agent.core.printable import printable
from edge_agent.media import answers
from edge_agent.operate.checks.finding import Finding
from edge_agent.send.rules.surroundings import hold_of_file, look_at_hold_file


def check_rules(
    settings: AgentSettings,
    clock: Clock,
    *,
    supplies: Callable[[], Sequence[Supply]] = power_supply.look,
) -> Iterator[Finding]:
    """Say which of the rules that are set hold everything now, and what is due when."""
    if settings.upload.hold_file is not None:
        yield _hold(os.fsencode(settings.upload.hold_file), clock)
    if settings.power.rule():
        yield _power(settings, supplies)
    yield from _deadlines(settings, clock)


def _hold(path: bytes, clock: Clock) -> Finding:
    try:
        found = answers.touch_configured(path, lambda: look_at_hold_file(path, clock))
    except OSError as error:
        why = error.strerror or str(error)
        text = f"the hold file {printable(path)} cannot be looked at ({why}): it counts as not being there"
        return Finding("WARN", "hold", text)
    if found is None:
        return Finding("OK", "hold", f"there is no {printable(path)}: no hold file holds anything")
    hold = hold_of_file(path, found)
    return Finding("WARN", "hold", f"nothing is sent now: {hold.stale or hold.detail}")


def _power(settings: AgentSettings, look: Callable[[], Sequence[Supply]]) -> Finding:
    found: Sequence[Supply] | None = None
    why = ""
    try:
        found = look()
    except OSError as error:
        why = error.strerror or str(error)
    state = judge(settings.power.rule(), found, PowerState(), now_s=0.0, why_unknown=why)
    if state.detail is not None:
        return Finding("WARN", "power", f"nothing is sent now: {state.detail}")
    if state.unknown:
        return Finding("WARN", "power", "; ".join(state.unknown))
    text = _FED[on_mains(found or ())]
    percent = charge(found or ())
    if percent is not None:
        text = f"{text}; the battery has {percent} %"
    held = held_until(settings.power.rule(), found or ())
    if held is not None:
        text = f"{text}; an agent that had less of it before still sends nothing: {held}"
    return Finding("OK" if held is None else "WARN", "power", text)


_FED = {
    True: "the device is on mains",
    False: "the device runs on its battery",
    None: "no supply says whether the device is on mains",
}


def _deadlines(settings: AgentSettings, clock: Clock) -> Iterator[Finding]:
    if not settings.deadline:
        return
    if not clock.is_synchronised():
        text = "while the clock is not set nobody can say what would be missed; nothing goes for a deadline"
        yield Finding("WARN", "deadline", text)
        return
    now = clock.now_utc()
    for one in settings.deadline:
        due_in = timedelta(seconds=one.rule().due_in_s(now.astimezone(LOCAL), 0.0))
        due = (now.astimezone(UTC) + due_in).astimezone(LOCAL)
        where = f" in {one.folder}" if one.folder else ""
        with_it = ", with all files of its group," if one.groups else ""
        text = (
            f"{one.match}{where}: what is found now{with_it} is wanted by {due:%Y-%m-%d %H:%M %Z}"
        )
        yield Finding("OK", "deadline", text)
