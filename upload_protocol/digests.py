"""SHA-256 digests and their form in a header field (RFC 9530, Digest Fields)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

SHA_256 = "sha-256"
"""The one algorithm of the native protocol, by its name in the RFC 9530 registry."""

# One member of a structured-field dictionary (RFC 8941 3.2) whose value is a byte sequence.
_MEMBER = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):\s*\Z")


class DigestError(ValueError):
    """A digest field could not be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The SHA-256 of some bytes.

    Raises:
        ValueError: the value is not 32 bytes.
    """

    value: bytes

    def __post_init__(self) -> None:
        if len(self.value) != hashlib.sha256().digest_size:
            msg = f"a SHA-256 has 32 bytes, this has {len(self.value)}"
            raise ValueError(msg)

    def __str__(self) -> str:
        """Return the header form ``sha-256=:base64:``."""
        return f"{SHA_256}=:{base64.b64encode(self.value).decode('ascii')}:"

    @property
    def hex(self) -> str:
        return self.value.hex()

    @classmethod
    def of(cls, data: bytes) -> Digest:
        return cls(hashlib.sha256(data).digest())


def parse_digest(field: str) -> Digest:
    """Return the SHA-256 in a ``Content-Digest`` or ``Repr-Digest`` value.

    Members of other algorithms are passed over, as RFC 9530 section 2 asks; a field without
    ``sha-256`` is an error here, because a digest that is not checked protects nobody.

    Raises:
        DigestError: the field is malformed or holds no SHA-256.
    """
    found: Digest | None = None
    for member in field.split(","):
        match = _MEMBER.match(member)
        if match is None:
            msg = f"not a digest field: {field[:120]!r}; the form is {SHA_256}=:base64:"
            raise DigestError(msg)
        if match[1] != SHA_256:
            continue
        try:
            found = Digest(base64.b64decode(match[2], validate=True))
        except (binascii.Error, ValueError) as error:
            msg = f"the {SHA_256} value is not the base64 of 32 bytes"
            raise DigestError(msg) from error
    if found is None:
        msg = f"no {SHA_256} in the digest field {field[:120]!r}"
        raise DigestError(msg)
    return found
