"""What the reports see of the server: the seam between what is told, and HTTP that carries it.

Nothing here knows HTTP; whoever implements it is given by the composition root.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

MAX_REPORT_BYTES: Final = 64 * 1024
"""Of one report: the server takes no longer one."""


@dataclass(frozen=True, slots=True)
class ReportAnswer:
    """What the server says to a report."""

    now: datetime
    """By its own clock."""
    commands: tuple[bytes, ...] = ()
    """Each as it is to be decided on."""
    desired: bytes | None = None
    """A document of wanted settings."""
    want: frozenset[str] = frozenset()
    """Which parts the next report is to have, although they have not changed."""
    through: int | None = None
    """Number of the last event that it has; None: it says nothing of events."""
    holds: tuple[str, int] | None = None
    """Epoch and change up to which it knows what the device holds; None: it says nothing of that."""
    is_contested: bool = False
    """Another agent reports as this device."""
    run: str | None = None
    """Of the server's program, another one after each start; None: an older server, which does not say."""


class ReportServer(Protocol):
    """Takes reports, one at a time."""

    @property
    def used_bytes(self) -> int:
        """All that the reports have cost so far, both ways, with headers and TLS."""

    def report(self, document: bytes) -> ReportAnswer | None:
        """Tell *document*; None: an older server, which takes no reports.

        Raises:
            ReportRefusedError: what it says, or a part of that, is not taken.
            TransportError: it is not known whether it was taken; told again it does no harm.
        """

    def holds(self, packed: bytes) -> tuple[str, int] | None:
        """Tell *packed*, JSON as gzip, of what the device holds; return epoch and change that are known there then.

        None: this server does not want to know.

        Raises:
            ReportRefusedError: it refuses the run, and would refuse the same again.
            TransportError: as `report`.
        """

    def rest(self) -> None:
        """Let the connection go: the next report is far."""

    def abort(self) -> None:
        """From any thread: break off what runs, and take no more."""

    def close(self) -> None:
        """Let everything go; nothing is called afterwards."""
