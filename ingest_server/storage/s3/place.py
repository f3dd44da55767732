"""Where a store of objects is, and who asks it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket, what keys in it begin with, and how it is reached."""

    bucket: str
    prefix: str = ""
    """Empty, or ends with ``/``."""
    endpoint: str | None = None
    """None: AWS."""
    region: str | None = None
    credentials_file: Path | None = None
    """As the AWS command line has it; None: the environment, or the machine's role."""
    shown_endpoint: str | None = None
    """As whoever gets links reaches it; None: as the server does."""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def sibling(self, url: str) -> Place:
        """Return another place of the same store.

        Raises:
            ValueError: *url* names none.
        """
        bucket, prefix = _parsed(url)
        return replace(self, bucket=bucket, prefix=prefix)

    @classmethod
    def of(cls, url: str, **more: Any) -> Place:
        """Return the place that *url*, ``s3://bucket[/prefix]``, names.

        Args:
            url: where it is.
            more: how it is reached: the other fields.

        Raises:
            ValueError: it names none.
        """
        return cls(*_parsed(url), **more)


def _parsed(url: str) -> tuple[str, str]:
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    parts = prefix.strip("/").split("/")
    if scheme != "s3" or not bucket or (prefix.strip("/") and {"", ".", ".."} & set(parts)):
        raise ValueError("must be s3://BUCKET or s3://BUCKET/PREFIX")
    begins = "/".join(parts)
    return bucket, f"{begins}/" if begins else ""
