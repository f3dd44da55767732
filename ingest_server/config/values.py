"""What the sections' values are made of: sizes, times, names of devices."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, ByteSize, Field

from edge_host.settings import nearest, suggestion

GIB = 2**30
LONGEST_URL = 2000

_ONE_PATTERN = re.compile(r"(?:[a-z0-9_*?-]|\[!?[a-z0-9_-]+\])+")


def _of_devices(patterns: str) -> str:
    if patterns != patterns.lower():
        raise ValueError("names of devices are in lower case, so that it would fit none")
    for one in patterns.split("|"):
        if _ONE_PATTERN.fullmatch(one) is None:
            raise ValueError(
                f"{one[:40]!r} would fit no device: names have a to z, 0 to 9, - and _; write patterns as in "
                '"cam-*|drone-7", without spaces'
            )
    return patterns


def url_parts(url: str) -> SplitResult:
    """Return the parts of a URL that somebody is to be called by.

    Raises:
        ValueError: nobody could ever be called by it.
    """
    if len(url) > LONGEST_URL:
        raise ValueError(f"has {len(url)} characters, more than {LONGEST_URL}")
    if not url.isprintable() or " " in url:
        raise ValueError("has a space in it, or a character that cannot be printed")
    try:
        split = urlsplit(url)
    except ValueError:
        raise ValueError("has an address in brackets that is none") from None
    try:
        is_port = split.port != 0
    except ValueError:
        is_port = False
    if not is_port:
        raise ValueError("has a port that is none: ports are 1 to 65535")
    return split


Seconds = Annotated[float, Field(gt=0)]
Count = int
Size = ByteSize
Hours = Annotated[float, Field(ge=0, le=10_000)]
DevicePatterns = Annotated[str, AfterValidator(_of_devices)]
"""Names of devices: "cam-*|drone-7" (`core.patterns`)."""


def nearest_words(name: str, known: Iterable[str]) -> str:
    """Return what to add to a sentence about a name that is not known; empty: none is near."""
    return suggestion(nearest(name, known))
