"""Which changes of the configuration take effect at once, and which need a restart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edge_agent.base.settings import AgentSettings, WatchSettings

_LIVE = frozenset(
    {
        "upload.max_rate",
        "upload.timetable",
        "upload.order",
        "upload.hold_file",
        "power.mains_only",
        "power.min_percent",
        "upload.min_request",
        "upload.max_request",
        "upload.request_seconds",
        "upload.max_lanes",
        "upload.backoff_base_seconds",
        "upload.backoff_cap_seconds",
        "commands.allowed",
        "commands.settings",
        "retention.delete",
        "retention.keep_free",
        "groups.original",
        "groups.quiet_seconds",
        "retention.keep_days",
        "log.level",
    }
)


_LIVE_LISTS = frozenset({"deadline", "link", "plan", "priority"})
"""Lists of tables, which change as a whole."""


@dataclass(frozen=True, slots=True)
class Change:
    settings: AgentSettings
    """What is in force now: the old ones, with what could be changed."""
    applied: tuple[str, ...]
    needs_restart: tuple[str, ...]


def compare(now: AgentSettings, wanted: AgentSettings) -> Change:
    """Return what of *wanted* can take effect in a running agent."""
    applied: list[str] = []
    needs_restart: list[str] = []
    tables: dict[str, object] = {}
    for name in AgentSettings.model_fields:
        old, new = getattr(now, name), getattr(wanted, name)
        if old == new:
            continue
        if name == "watch":
            applied.extend(_of_folders(now.watch, wanted.watch))
            tables[name] = new
            continue
        if name in _LIVE_LISTS:
            applied.append(name)
            tables[name] = new
            continue
        fields = getattr(type(old), "model_fields", None)
        if fields is None:
            needs_restart.append(name)
            continue
        changed = [key for key in fields if getattr(old, key) != getattr(new, key)]
        live = {key: getattr(new, key) for key in changed if f"{name}.{key}" in _LIVE}
        applied.extend(f"{name}.{key}" for key in changed if key in live)
        needs_restart.extend(f"{name}.{key}" for key in changed if key not in live)
        tables[name] = old.model_copy(update=live)
    return Change(now.model_copy(update=tables), tuple(applied), tuple(needs_restart))


def _of_folders(now: Sequence[WatchSettings], wanted: Sequence[WatchSettings]) -> Iterator[str]:
    """Yield what is another: a key of a folder, or a folder that is new or is watched no more."""
    before, after = ({one.name: one for one in folders} for folders in (now, wanted))
    for name in dict.fromkeys((*before, *after)):
        place = f"watch.{name}" if name else "watch"
        if name not in before or name not in after:
            yield place
            continue
        for key in WatchSettings.model_fields:
            if getattr(before[name], key) != getattr(after[name], key):
                yield f"{place}.{key}"
