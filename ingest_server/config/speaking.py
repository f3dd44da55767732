"""Which protocols are spoken beside the native one."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

from pydantic import ByteSize, Field, field_validator

from edge_host.settings import Table
from ingest_server.config.values import Count, Size
from ingest_server.front.interim import Interim

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+\Z", re.IGNORECASE)
Dialect = Literal["frago", "drf", "django", "django-init", "turbo"]


class ProtocolsSection(Table):
    tus: bool = True
    """tus 1.0 at /files/: what most upload clients speak."""

    ietf: bool = True
    """The IETF's resumable uploads (a draft still) at /files/."""

    ietf_104: Interim = Interim.DIRECT
    """Whether its interim answer with the upload's URL is sent: nginx takes that for the final one."""

    cors_origins: tuple[str, ...] = ()
    """Web pages that may upload from a browser; none, since any page could try."""

    compat: tuple[Dialect, ...] = ()
    """Protocols of other upload servers to speak as well, each below /compat/."""

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if origin != "*" and not _ORIGIN.match(origin):
                msg = f'{origin!r} is not an origin such as "https://app.example" or "*"'
                raise ValueError(msg)
        return value


class CompatSection(Table):
    checksum: str = "md5"
    """What a client's whole-file checksum is where its protocol does not say: any of hashlib's."""

    require_checksum: bool = True
    """Refuse to finish an upload without a checksum, as those servers do by default."""

    chunk_size: Annotated[Size, Field(gt=0)] = ByteSize(64 * 10**6)
    """What "django-init" tells its clients to send at once; its own default."""

    retries: Annotated[Count, Field(ge=0)] = 2
    """How often a "django-init" client may send a bad chunk again before the upload has failed."""

    keep_failed: bool = False
    """Keep the bytes of such a failed upload until it expires, instead of dropping them."""

    @field_validator("checksum")
    @classmethod
    def _is_algorithm(cls, value: str) -> str:
        if value not in hashlib.algorithms_available:
            raise ValueError(f"hashlib has no {value!r}; md5 and sha256 are usual")
        return value
