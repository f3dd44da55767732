"""A hold: while a robot is armed, drives or is busy nothing is sent; pure.

Two ways to say it: a file that is there, and the command `edge-agent hold`. Either may be left behind by a
program that crashed, or before a reboot. It holds all the same, for nobody else can say whether the robot is
armed, and people are told since when and by whom.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

_PID = re.compile(rb"\s*(?:pid[\s=:]*)?([1-9][0-9]{0,8})\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Maker:
    """Who made a hold, as far as that is known."""

    pid: int | None = None
    is_running: bool | None = None
    """Whether the process *pid* is there."""
    is_before_boot: bool = False
    """Whether it was made before the device last started."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One that holds."""

    what: str
    """What it is, as a sentence names it: the file, or the command."""
    ends: str
    """What ends it: words after "until"."""
    since: datetime | None
    """Local time; None: no clock could say."""
    maker: Maker = Maker()
    reason: str = ""

    @property
    def detail(self) -> str:
        """Why nothing is sent, since when and until when."""
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.what} holds everything{why}{self._since}, until {self.ends}"

    @property
    def stale(self) -> str | None:
        """Why it may have been left behind, in a sentence; None: nothing says so."""
        if self.maker.is_running is False:
            why = f"no process {self.maker.pid}, which made it, is there"
        elif self.maker.is_before_boot:
            why = "it is dated before this device last started"
        else:
            return None
        return f"{self.what} may have been left behind: {why}. It holds{self._since}, until {self.ends}"

    @property
    def _since(self) -> str:
        return "" if self.since is None else f" since {self.since:%Y-%m-%d %H:%M}"


def pid_in(content: bytes) -> int | None:
    """Return the process that a hold file names, as lock files do: its first line; None: none."""
    first = content.split(b"\n", 1)[0]
    found = _PID.fullmatch(first)
    return int(found[1]) if found else None
