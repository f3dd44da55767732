"""The programs of the demo, kept running: one that ends by itself is started again, and that is told."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from demo.children import Child, stop_all
from demo.errors import DemoError
from demo.story import Line, printable

_TRIES = 5
"""Ends in a row, with never a ready moment between: then it is no accident."""
_AGAIN_S, _PATIENCE_S = 1.0, 120.0


class Member:
    """One program: how it is started, when it is ready, how long it may take to stop."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        is_ready: Callable[[], bool],
        stop_s: float,
        meanwhile: str = "",
    ) -> None:
        self.name = name
        self.stop_s = stop_s
        self.is_ready = False
        self._command = command
        self._log = log
        self._asks = is_ready
        self._meanwhile = meanwhile
        self._child: Child | None = None
        self._ends = 0
        self._due_s = 0.0
        self._ready_by_s = 0.0

    @property
    def child(self) -> Child | None:
        """The running one; None between an end and the next start."""
        return self._child

    def start(self, now_s: float) -> None:
        """Start it the first time."""
        self._child = Child(self.name, self._command, self._log)
        self._ready_by_s = now_s + _PATIENCE_S

    def look(self, now_s: float) -> Iterator[Line]:
        """Start it again if it has ended; tell that it is gone, and that it is back.

        Raises:
            DemoError: it does not come up, however often it is started.
        """
        if self._child is None:
            if now_s >= self._due_s:
                self._child = Child(self.name, self._command, self._log, is_first=False)
                self._ready_by_s = now_s + _PATIENCE_S
        elif (code := self._child.ended()) is not None:
            yield from self._ended(_how(code), now_s)
        elif not self.is_ready:
            if self._asks():
                self.is_ready, is_again, self._ends = True, self._ends > 0, 0
                if is_again:
                    yield Line("back", f"the {self.name} runs again")
            elif now_s > self._ready_by_s:
                msg = f"was not ready within {_PATIENCE_S:.0f} s"
                raise self._failure(msg)

    def _ended(self, how: str, now_s: float) -> Iterator[Line]:
        was_ready, self.is_ready = self.is_ready, False
        if not was_ready and (self._ends == 0 or self._ends >= _TRIES):
            raise self._failure(how)
        self._child = None
        self._due_s = now_s + _AGAIN_S
        self._ends += 1
        if was_ready:
            yield Line("gone", f"the {self.name} {how}; it is started again{self._meanwhile}")

    def _failure(self, how: str) -> DemoError:
        said = "\n".join(f"    {line}" for line in self._last_words())
        return DemoError(
            f"The {self.name} {how}. Its last words, of {self._log}:\n{said or '    (none)'}"
        )

    def _last_words(self) -> list[str]:
        return [] if self._child is None else list(map(_in_words, self._child.last_lines(5)))


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "a signal"
    return f"was ended by {name}"


def _in_words(line: str) -> str:
    """Return a log line without the form that is for programs."""
    try:
        record = json.loads(line)
    except ValueError:
        return printable(line)
    if not isinstance(record, dict):
        return printable(line)
    hidden = ("event", "level", "timestamp", "exception")
    facts = ", ".join(f"{key}: {value}" for key, value in record.items() if key not in hidden)
    trace = str(record.get("exception", "")).strip().rpartition("\n")[2]
    return printable(" ".join(filter(None, (str(record.get("event", "")), facts, trace))))


class Crew:
    """All of them, in the order in which they were started."""

    def __init__(self) -> None:
        self._members: list[Member] = []

    def add(self, member: Member, now_s: float) -> None:
        """Start *member*, and keep it running from now on."""
        member.start(now_s)
        self._members.append(member)

    @property
    def is_whole(self) -> bool:
        """Whether all of them are ready."""
        return all(one.is_ready for one in self._members)

    def look(self, now_s: float) -> Iterator[Line]:
        """Tell what became of them since the last look.

        Raises:
            DemoError: one of them does not come up any more.
        """
        for member in self._members:
            yield from member.look(now_s)

    def kill(self, name: str) -> bool:
        """End that one without a warning, as a power cut does; return whether it ran."""
        for member in self._members:
            if member.name == name and member.child is not None:
                member.child.kill()
                return True
        return False

    def stop(self) -> list[str]:
        """Stop all, the last one started first; return the names of those that had to be killed."""
        running = [
            (one.child, one.stop_s) for one in reversed(self._members) if one.child is not None
        ]
        return stop_all(running)
