"""What the sections' values are made of: sizes, times, names of devices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, ByteSize, Field

from edge_host.settings import nearest, suggestion

GIB = 2**30


def _of_devices(patterns: str) -> str:
    if patterns != patterns.lower():
        raise ValueError("names of devices are in lower case, so that it would fit none")
    return patterns


Seconds = Annotated[float, Field(gt=0)]
Count = int
Size = ByteSize
Hours = Annotated[float, Field(ge=0, le=10_000)]
DevicePatterns = Annotated[str, AfterValidator(_of_devices)]
"""Names of devices: "cam-*|drone-7" (`core.patterns`)."""


def nearest_words(name: str, known: Iterable[str]) -> str:
    """Return what to add to a sentence about a name that is not known; empty: none is near."""
    return suggestion(nearest(name, known))
