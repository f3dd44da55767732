"""Where a store of objects is, and who asks it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def sibling(self, url: str) -> Place:
        """Return another place of the same store.

        Raises:
            ValueError: *url* names none.
        """
        return Place.of(
            url,
            endpoint=self.endpoint,
            region=self.region,
            credentials_file=self.credentials_file,
        )

    @classmethod
    def of(
        cls,
        url: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        credentials_file: Path | None = None,
    ) -> Place:
        """Return the place that *url*, ``s3://bucket[/prefix]``, names.

        Raises:
            ValueError: it names none.
        """
        scheme, _, rest = url.partition("://")
        bucket, _, prefix = rest.partition("/")
        parts = prefix.strip("/").split("/")
        if scheme != "s3" or not bucket or (prefix.strip("/") and {"", ".", ".."} & set(parts)):
            raise ValueError("must be s3://BUCKET or s3://BUCKET/PREFIX")
        begins = "/".join(parts)
        return cls(bucket, f"{begins}/" if begins else "", endpoint, region, credentials_file)
