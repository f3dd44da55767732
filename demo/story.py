"""What happened, in words: MQTT messages and log lines in, readable lines out. Touches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from demo.breaks import Break, GoneOn

_UNITS = ("B", "kB", "MB", "GB", "TB")

_PROBLEM_WORDS = {
    "clock_unsynced": "no time server has set this clock; uploads do not depend on it",
    "auth_failed": "the server does not accept this device's token",
    "disk_low": "the recordings' disk is nearly full",
    "source_missing": "the watched folder is not there, or may not be entered",
    "watch_limit": "no more folders can be watched (fs.inotify.max_user_watches); scans go on",
}
"""Problem code -> what it means; others are told by their code."""

_IGNORED_WORDS = {
    "patterns": "no pattern of [watch] patterns fits",
    "link": "a symbolic link, which is not followed",
    "permission": "it may not be read",
    "source_io": "the disk gives an error",
    "ignored": "[watch] ignore says so",
    "hidden": "its name begins with a dot",
    "special": "no regular file",
}
"""Why something in the folder is not sent; others are told by their code."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened."""

    verb: str
    text: str


def printable(value: object) -> str:
    """Return *value* as text that cannot move a terminal's cursor: a name is data."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(value))


def size(count: float) -> str:
    """Return a number of bytes for people, in powers of 1000: ``4.2 MB``."""
    for unit in _UNITS[:-1]:
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"


def duration(seconds: float) -> str:
    """Return seconds for people: ``0.4 s``, ``12 s``, ``3 min``."""
    if seconds < 0.05:
        return "under 0.1 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _left(seconds: float) -> str:
    # The agent tells whole seconds: 3 is not "3.0 s", and 0 is less than one, not nothing.
    if seconds < 1:
        return "under 1 s"
    return f"{seconds:.0f} s" if seconds < 10 else duration(seconds)


def _goes_on(one: GoneOn) -> Line:
    percent = 100 * one.held / one.length
    name = printable(one.name or "?")
    return Line("goes on", f"{name} at {percent:.0f} %: what the server holds is not sent again")


class Story:
    """Remembers as much as is needed to tell each thing once.

    Args:
        published: where the server publishes, as it should be shown in front of a published name.
    """

    def __init__(self, published: str) -> None:
        self._published = published
        self._problems: frozenset[str] = frozenset()
        self._blocked: tuple[str, str] | None = None
        self._is_online: bool | None = None
        self._ignored: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._break = Break()
        self._completed_id: object = None
        self.progress: str | None = None
        """The live line while a file is sent; None when nothing is."""
        self.percent: float | None = None

    def status(self, document: Mapping[str, Any]) -> Iterator[Line]:
        """Tell of a message on ``status``: the agent's presence at the broker."""
        is_online = document.get("status") == "online"
        if is_online != self._is_online:
            self._is_online = is_online
            yield Line("agent", "is online" if is_online else "is offline, says the broker")

    def event(self, document: Mapping[str, Any]) -> Iterator[Line]:
        """Tell of a message on ``event``."""
        kind = str(document.get("type", "")).removeprefix("edgeup.")
        data = document.get("data")
        if not isinstance(data, Mapping):
            return
        name = printable(data.get("name", "?"))
        length = data.get("length")
        how_long = f" ({size(length)})" if isinstance(length, int) else ""
        match kind:
            case "file.discovered":
                yield Line("finished", f"{name}{how_long}: nobody writes to it any more")
            case "file.started":
                self._break.has_begun(data.get("file_id"))
                yield Line("sending", f"{name}{how_long}")
            case "file.completed":
                self._completed_id = data.get("file_id")
                self.progress = self.percent = None
                went_on = self._break.whole(data.get("file_id"), data.get("name"), length)
                if went_on is not None:
                    yield _goes_on(went_on)
                yield from self._completed(name, data)
            case "file.failed":
                detail = printable(data.get("detail") or data.get("code") or "")
                yield Line("FAILED", f"{name}: {detail}")
            case "file.changed_during_upload":
                yield Line("changed", f"{name} changed while it was sent; sent anew")
            case "file.deleted_locally":
                yield Line("released", f"{name}: deleted here, the server holds it")
            case "checksum.failed":
                yield Line("repair", f"{name}: a digest differs, the difference is sent again")
            case "agent.started" | "agent.stopped" | "config.applied":
                pass  # the presence says it
            case _:
                yield Line(kind, printable(data.get("detail", "")))

    def _completed(self, name: str, data: Mapping[str, Any]) -> Iterator[Line]:
        facts = []
        taken_over = self._break.taken_over  # of that one the agent knows its own part alone
        is_timed = taken_over is None or taken_over != data.get("file_id")
        if is_timed and isinstance(data.get("duration_s"), int | float):
            facts.append(f"in {duration(data['duration_s'])}")
        if data.get("bytes_resent"):
            facts.append(f"{size(data['bytes_resent'])} sent twice")
        facts.append("SHA-256 verified by the server")
        yield Line("verified", f"{name} {', '.join(facts)}")
        where = data.get("published_as")
        if where:
            yield Line("published", f"{self._published}/{printable(where)}")

    def state(self, document: Mapping[str, Any]) -> Iterator[Line]:
        """Tell what a message on ``state`` changed; sets `progress`."""
        current = document.get("current")
        if isinstance(current, Mapping) and current.get("file_id", "") == self._completed_id:
            document = {**document, "current": None}  # older than the event, and overtaken by it
        yield from self._tell_problems(document)
        yield from self._tell_ignored(document)
        yield from self._tell_wait(document)
        if (went_on := self._break.gone_on(document)) is not None:
            yield _goes_on(went_on)
        self._tell_progress(document)

    def interrupted(self) -> None:
        """Say that something was broken on purpose or by accident: what was sent stands still."""
        self._break.begin()
        self.progress = self.percent = None

    def mended(self) -> None:
        """Say that nothing is broken any more; may be said again and again."""
        self._break.mend()

    def _tell_problems(self, document: Mapping[str, Any]) -> Iterator[Line]:
        problems = frozenset(map(str, document.get("problems") or ()))
        for code in sorted(problems - self._problems - {"left_out"}):
            text = printable(document.get("blocked_detail") or "")
            if code == "server_unreachable":
                why = f" ({text})" if text else ""
                yield Line("link lost", f"the server does not answer{why}; the agent tries again")
            else:
                meaning = _PROBLEM_WORDS.get(code, "") or text
                yield Line("problem", f"{printable(code)}: {meaning}".removesuffix(": "))
        for code in sorted(self._problems - problems - {"left_out"}):
            if code == "server_unreachable":
                yield Line("link back", "the server answers again")
            else:
                yield Line("solved", printable(code))
        self._problems = problems

    def _tell_ignored(self, document: Mapping[str, Any]) -> Iterator[Line]:
        found = document.get("left_out")
        if not isinstance(found, Mapping):
            return
        before, self._ignored = self._ignored, {}
        for cause, one in found.items():
            examples = tuple(map(str, one["examples"]))
            count, told = before.get(cause, (0, ()))
            self._ignored[cause] = (one["count"], examples)
            why = _IGNORED_WORDS.get(cause, printable(cause))
            for name in examples:
                if name not in told:
                    yield Line("ignored", f"{printable(name)}: {why}")
            if one["count"] > max(count, len(examples)):
                yield Line("ignored", f"{one['count']} files in all: {why}")

    def _tell_wait(self, document: Mapping[str, Any]) -> Iterator[Line]:
        reason = document.get("blocked_by")
        detail = printable(document.get("blocked_detail") or "")
        before, self._blocked = self._blocked, (str(reason), detail) if reason else None
        if self._blocked is None or (before and before[0] == self._blocked[0]):
            return
        if reason == "still_recording":
            yield Line("recording", detail)
        elif reason in {"link", "backoff"} and "server_unreachable" in self._problems:
            pass  # told as a lost link
        elif reason != "verifying":  # which passes by itself within a moment
            yield Line("waiting", f"{printable(reason)}: {detail}" if detail else printable(reason))

    def _tell_progress(self, document: Mapping[str, Any]) -> None:
        current = document.get("current")
        if not isinstance(current, Mapping) or document.get("blocked_by"):
            self.progress = self.percent = None
            return
        length = int(current.get("length") or 0)
        # What is on its way counts here: over a slow link a request takes seconds to be answered.
        sent = int(current.get("acknowledged") or 0) + int(current.get("in_flight") or 0)
        done = min(sent, length)
        self.percent = 100 * done / length if length else 100.0
        parts = [
            f"{printable(current.get('name', '?'))} {self.percent:.0f} %",
            f"{size(done)} of {size(length)}",
        ]
        rate, left_s = document.get("rate_bytes_per_s"), document.get("eta_s")
        if isinstance(rate, int | float):
            parts.append(f"{size(rate)}/s")
        if isinstance(left_s, int | float):
            parts.append(f"{_left(left_s)} left")
        self.progress = ", ".join(parts)

    def log(self, program: str, record: Mapping[str, Any]) -> Iterator[Line]:
        """Tell of a program's log line: what MQTT has no word for, and what needs a person."""
        event, level = str(record.get("event", "")), record.get("level")
        if level in {"error", "critical"}:
            keys = ("detail", "error", "problem", "exception")
            told = next((record[key] for key in keys if record.get(key)), "")
            last = str(told).strip().rpartition("\n")[2]
            yield Line(f"{program}!", printable(f"{event} {last}".rstrip()))
