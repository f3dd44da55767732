"""Where uploads go: to folders or buckets of their own, by rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self

from pydantic import field_validator, model_validator

from edge_host.settings import Table
from ingest_server.config.values import DevicePatterns
from ingest_server.core.names import MAX_COMPONENT_BYTES, component
from ingest_server.core.routes import ELSEWHERE, Route

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]\Z", re.ASCII)
_SELECTS = ("match", "folder", "group", "metadata")


class RouteSection(Table):
    """One rule: all that it names of `match`, `folder`, `group` and `metadata` has to fit."""

    match: DevicePatterns | None = None
    """Names of devices: "cam-*|drone-7"."""

    folder: str | None = None
    """Folders on the device, likewise; "*" stands for "/" as well."""

    group: str | None = None
    """Of the device's token: `ingest-server token add --group`."""

    metadata: Mapping[str, str] = {}
    """Keys, and the very values that the device has to tell with the recording."""

    bucket: str | None = None
    """The bucket that the files are in, of the store that [storage] names; unset: where all others are."""

    direct: bool = False
    """Whether devices send the bytes to the store themselves, as far as they can; false: through the server."""

    prefix: str = ""
    """What the names of the files begin with, in that bucket or among all others."""

    @field_validator("bucket")
    @classmethod
    def _is_bucket(cls, value: str | None) -> str | None:
        if value is not None and not _BUCKET.match(value):
            raise ValueError(
                "must be a bucket's name: 3 to 63 letters, digits, dots and dashes; what follows it in "
                "the names of the files is the prefix"
            )
        return value

    @field_validator("prefix")
    @classmethod
    def _is_path(cls, value: str) -> str:
        parts = value.strip("/").split("/")
        if value.strip("/") and any(component(one) != one for one in parts):
            raise ValueError(
                'must be folders such as "survey" or "2026/survey", each a name that a file could have'
            )
        if len(value.encode()) > MAX_COMPONENT_BYTES:
            raise ValueError(
                f"must have at most {MAX_COMPONENT_BYTES} bytes: a key takes no more than 1024"
            )
        return "/".join(parts)

    @model_validator(mode="after")
    def _says_what_and_where(self) -> Self:
        if not any(getattr(self, key) for key in _SELECTS):
            raise ValueError(
                'says of nothing that it goes there: set match, folder, group or metadata (match = "*" is '
                "everything)"
            )
        if self.bucket is None and not self.prefix:
            raise ValueError("says of nothing where it goes: set bucket, prefix or both")
        return self

    @property
    def place(self) -> str | None:
        """The bucket and prefix of its own; None: none."""
        if self.bucket is None:
            return None
        return f"{ELSEWHERE}{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def rule(self) -> Route:
        return Route(
            begins=self.place or self.prefix,
            devices=self.match,
            folders=self.folder,
            group=self.group,
            metadata=dict(self.metadata),
        )
