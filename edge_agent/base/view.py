"""What the agent is doing at one instant, as values that never change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.core.left_out import WANTED, Cause, LeftOut, merged

_LEFT_OUT: Mapping[Cause, ProblemCode] = MappingProxyType(
    {
        Cause.PATTERNS: ProblemCode.LEFT_OUT,
        Cause.LINK: ProblemCode.LEFT_OUT,
        Cause.ERROR: ProblemCode.LEFT_OUT,
        Cause.PERMISSION: ProblemCode.PERMISSION,
        Cause.SOURCE_IO: ProblemCode.SOURCE_IO,
    }
)


@dataclass(frozen=True, slots=True)
class Current:
    """The recording that is being sent."""

    recording_id: str
    name: str
    length: int
    acknowledged: int
    """Bytes that the server has said are durable."""
    in_flight: int
    """Bytes handed to the system and not yet acknowledged."""
    attempt: int
    """1 for the first; rises with each failure since the last acknowledged byte."""
    started_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Why something does not move, in words for a machine and for a person."""

    reason: Reason
    detail: str
    until_s: float | None = None
    """Monotonic; None: no known end."""
    holds_all: bool = False
    """Nothing at all is sent before it ends, whatever else a recording waits for."""


@dataclass(frozen=True, slots=True)
class Travel:
    """How far a recording is that is sent while it is written to."""

    length: int
    """Of the file, as it was last seen."""
    acknowledged: int
    lag_s: float
    """How long ago the file had as many bytes as the server has now."""


@dataclass(frozen=True, slots=True)
class FolderView:
    """How one watched folder is."""

    away: Wait | None = None
    """Why nothing can be found in it; None: it is there."""
    left_out: tuple[LeftOut, ...] | None = None
    """What the last look at it found and does not send; None before the first."""
    standing: frozenset[Cause] = frozenset()
    """Causes of it that the look before found as well: what is renamed a moment later is no trouble."""
    limits: tuple[str, ...] = ()
    """What cannot be found out there, what that means and what to do: sentences for a person."""
    has_undeleted: bool = False
    """Whether something that is verified should go from there, and cannot be deleted."""

    @property
    def problems(self) -> frozenset[ProblemCode]:
        found = {_LEFT_OUT[cause] for cause in self.standing - WANTED}
        if self.away is not None:  # says all: whatever failed there is not to be mended before
            found.add(ProblemCode(self.away.reason.value))
        elif self.has_undeleted:
            found.add(ProblemCode.DELETE_FAILED)
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class View:
    """All of it at one instant."""

    current: Current | None
    rate_bytes_per_s: float | None
    eta_s: float | None
    """Seconds until the current recording is sent, at the measured rate."""
    blocked_by: Wait | None
    """Why the lane sends nothing; None while it sends or has nothing to send."""
    waits: Mapping[str, Wait]
    """Recording id -> why it waits; a pending recording that is not in it is queued."""
    raised: frozenset[ProblemCode]
    held: Mapping[str, bool]
    """Recordings whose file a lane has open -> whether it is known to be deleted."""
    beats: Mapping[str, float]
    """Worker -> monotonic seconds of its last progress or named wait."""
    folders: Mapping[str, FolderView] = field(default_factory=dict)
    """How each watched folder is, by its name; one that was not looked at yet is not there."""
    travels: Mapping[str, Travel] = field(default_factory=lambda: MappingProxyType({}))
    """Recordings that are sent while they are written to -> how far they are."""
    originals: Wait | None = None
    """Why originals are not sent; None: they are."""
    rule_notes: tuple[tuple[ProblemCode, str], ...] = ()
    """What people should know of the owner's rules: a problem, and a sentence."""

    direct: str | None = None
    """Why bytes go through the server though its store would take them; None: they do not, or so it is set."""

    @property
    def limits(self) -> tuple[str, ...]:
        """What cannot be found out in some folder: sentences for a person."""
        return tuple(sorted({one for folder in self.folders.values() for one in folder.limits}))

    @property
    def left_out(self) -> tuple[LeftOut, ...] | None:
        """What lies in the folders and is not sent; None before the first look at one."""
        told = [one.left_out for one in self.folders.values() if one.left_out is not None]
        return merged(told) if told else None

    @property
    def any_away(self) -> Wait | None:
        """Why nothing can be found in one of the watched folders; None: all are there."""
        return next((one.away for one in self.folders.values() if one.away is not None), None)

    @property
    def folder(self) -> Wait | None:
        """Why nothing can be found in any watched folder; None: one of them is there."""
        all_away = all(one.away is not None for one in self.folders.values())
        return self.any_away if all_away else None

    def away(self, watch: str) -> Wait | None:
        """Return why nothing can be found in the folder named *watch*; None: it is there."""
        found = self.folders.get(watch)
        return None if found is None else found.away

    @property
    def silent(self) -> frozenset[str]:
        """Names of the watched folders that do not answer: of what lies there nothing is asked."""
        away = ((name, one.away) for name, one in self.folders.items())
        return frozenset(
            name for name, why in away if why is not None and why.reason is Reason.SOURCE_SILENT
        )

    @property
    def problems(self) -> frozenset[ProblemCode]:
        """Those that were raised, and what follows from the folders and from what is left out."""
        noted = {code for code, _ in self.rule_notes}
        if self.direct is not None:
            noted.add(ProblemCode.DIRECT_UNREACHABLE)
        return self.raised.union(noted, *(one.problems for one in self.folders.values()))
