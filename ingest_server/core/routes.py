"""Where an upload goes: the first rule that fits says so, once, when the upload is made.

What it says is what the published name begins with: folders, as in ``survey``, or a bucket of its own, as in
``s3://survey/raw``. It is kept with the upload, so that no later change of the rules moves one that has begun.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import permutations

from ingest_server.core.patterns import is_one_of
from ingest_server.core.record import UploadRecord

ELSEWHERE = "s3://"
"""What the name begins with of a file that is in another bucket. No template makes a name of that form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One rule: it fits where all fits that it names."""

    begins: str
    """What the names of its files begin with."""
    devices: str | None = None
    """Patterns, with ``|`` between them. So it is with *folders*, where ``*`` stands for ``/`` too."""
    folders: str | None = None
    group: str | None = None
    """Of the token by which the device came in."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Keys, and the very values that they must have."""

    def fits(self, upload: UploadRecord, groups: AbstractSet[str]) -> bool:
        """Whether an upload goes this way; *groups*: of the token of whoever makes it."""
        return (
            is_one_of(self.devices, upload.device)
            and is_one_of(self.folders, upload.folder)
            and (self.group is None or self.group in groups)
            and all(upload.metadata.get(key) == value for key, value in self.metadata.items())
        )


def route_of(routes: Sequence[Route], upload: UploadRecord, groups: AbstractSet[str]) -> str:
    """Return what the published name of a new upload begins with; empty: nothing."""
    return next((one.begins for one in routes if one.fits(upload, groups)), "")


def place_of(route: str) -> str:
    """Return the bucket and prefix that a route leads to; empty: it stays where the others are."""
    return route if route.startswith(ELSEWHERE) else ""


def within(place: str, target: str) -> str | None:
    """Return the name below *place* of a published file; None: it is not there."""
    if target == place:
        return ""
    path = target.removeprefix(f"{place}/")
    return None if path == target else path


def overlap(places: Sequence[str]) -> tuple[str, str] | None:
    """Return two places of which one lies in the other, the inner one first; None: there are none."""
    for inner, outer in permutations(places, 2):
        if f"{inner}/".startswith(f"{outer}/"):
            return inner, outer
    return None
