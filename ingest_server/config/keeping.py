"""How much is taken of whom, and how long it is kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import ByteSize, Field, field_validator, model_validator

from edge_host.settings import Table
from ingest_server.config.values import GIB, Count, Seconds, Size

_ENDPOINT = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+(/[A-Za-z0-9./_-]*)?\Z", re.ASCII)


class LimitsSection(Table):
    max_length: Annotated[Size, Field(gt=0)] = ByteSize(1024 * GIB)
    """Largest file: a day of 4K video is about 1 TiB."""

    min_free: Annotated[Size, Field(ge=0)] = ByteSize(GIB)
    """Space that stays free on the disk: the database must always be able to write."""

    max_open_uploads_per_device: Annotated[Count, Field(ge=1)] = 256
    """Unfinished uploads of one device: bounds what a runaway client can leave behind."""

    quota: Annotated[Size, Field(gt=0)] | None = None
    """Bytes that unfinished uploads of one device may hold, reserved when one is created."""

    max_requests_per_device: Annotated[Count, Field(ge=1)] | None = None
    """Requests of one device that run or wait, of each kind; one more is told to come back (429).
    Unset: any number waits."""

    require_digest: bool = False
    """Refuse to publish a file whose client gave no SHA-256."""

    read_timeout_s: Seconds = 30.0
    """Without a single byte of a body: longer than a handover between mobile networks."""

    min_rate: Annotated[Size, Field(ge=0)] = ByteSize(1000)
    """Bytes per second below which a sender is cut: it would hold a thread for days."""

    min_rate_window_s: Seconds = 60.0
    """Over how long that rate is averaged: a pause in a tunnel is no reason."""


class ExpirySection(Table):
    idle_days: Seconds = 14.0
    """Days without a byte until an unfinished upload is dropped; only while the server runs."""


class RetentionSection(Table):
    published_days: Annotated[float, Field(ge=0, le=36_500)] = 0.0
    """Days after its verification that a published file is removed; 0: never."""
    scrub_days: Annotated[float, Field(ge=0, le=36_500)] = 30.0
    """Days that a published file counts as intact after it was last read whole; 0: until the server
    is started again."""


class StorageSection(Table):
    state: str | None = None
    """URL of the PostgreSQL database that has the facts; None: a file in the data folder."""

    blobs: str | None = None
    """Where the bytes are, ``s3://BUCKET/PREFIX``; None: in the data folder."""

    before: Path | None = None
    """The folder in which files were before, while they are copied to *blobs*."""

    endpoint: str | None = None
    """Of the S3 store, where it is not AWS."""

    region: str | None = None
    """Of the bucket; None: as the environment says."""

    credentials_file: Path | None = None
    """With the S3 store's key, as the AWS command line keeps it; None: as the environment says."""

    presigned_s: Annotated[Seconds, Field(ge=1, le=3600)] | None = None
    """Whoever may read a recording is sent to the store by a link that is good for so long; None: the server
    gives the bytes itself."""

    presigned_endpoint: str | None = None
    """Of the S3 store, as whoever reads, and devices that send to it, reach it; None: `endpoint`."""

    @field_validator("state")
    @classmethod
    def _is_postgres(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("postgresql://", "postgres://")):
            raise ValueError(
                "must be postgresql://[USER@]HOST[:PORT]/DATABASE; unset, the facts are in state.db in "
                "data_dir"
            )
        return value

    @field_validator("blobs")
    @classmethod
    def _is_s3(cls, value: str | None) -> str | None:
        parts = [] if value is None else value.removeprefix("s3://").rstrip("/").split("/")
        if value is not None and (not value.startswith("s3://") or {"", ".", ".."} & set(parts)):
            raise ValueError(
                "must be s3://BUCKET or s3://BUCKET/PREFIX; unset, files are in data_dir"
            )
        return value

    @field_validator("endpoint", "presigned_endpoint")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not _ENDPOINT.match(value):
            raise ValueError("must be https://HOST[:PORT]; unset, the store is AWS")
        return value

    @model_validator(mode="after")
    def _names_a_store(self) -> Self:
        if self.blobs is None and self.before is not None:
            raise ValueError(
                "before is where files were until they came to a store: set blobs as well"
            )
        of_store = ("endpoint", "region", "credentials_file", "presigned_s", "presigned_endpoint")
        said = [key for key in of_store if getattr(self, key) is not None]
        if self.blobs is None and said:
            raise ValueError(f"{', '.join(said)}: of an S3 store, so set blobs as well")
        return self
