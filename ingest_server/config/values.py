"""What the sections are made of: frozen, no key that is not known, numbers that are numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, Field

from edge_host.settings import nearest, suggestion

GIB = 2**30


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")  # noqa: TRY004 # pydantic's protocol
    return value


def _of_devices(patterns: str) -> str:
    if patterns != patterns.lower():
        raise ValueError("names of devices are in lower case, so that it would fit none")
    return patterns


Number = BeforeValidator(_no_bool)
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False), Number]
Count = Annotated[int, Number]
Size = Annotated[ByteSize, Number]
Hours = Annotated[float, Field(ge=0, le=10_000), Number]
DevicePatterns = Annotated[str, AfterValidator(_of_devices)]
"""Names of devices: "cam-*|drone-7" (`core.patterns`)."""


class Section(BaseModel, frozen=True, extra="forbid", hide_input_in_errors=True):
    pass


def nearest_words(name: str, known: Iterable[str]) -> str:
    """Return what to add to a sentence about a name that is not known; empty: none is near."""
    return suggestion(nearest(name, known))
