"""SHA-256 digests and their form in a header field (RFC 9530, Digest Fields)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from upload_protocol.structured_fields import FieldError, parse_dictionary

SHA_256 = "sha-256"
"""The one algorithm of the native protocol, by its name in the RFC 9530 registry."""
SHA_512 = "sha-512"
"""What other protocols may use as well."""


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


def find_digests(field: str, algorithms: Sequence[str]) -> dict[str, bytes]:
    """Return those of *algorithms* that a digest field names, with their values; at least one.

    Members of other algorithms, whatever they hold, and parameters are passed over, as RFC 9530 asks
    (section 2); a field without any of *algorithms* is an error here, because a digest that is not
    checked protects nobody.

    Args:
        algorithms: names of the RFC 9530 registry.

    Raises:
        DigestError: the field is malformed, or holds none of them.
    """
    malformed = f"not a digest field: {field[:120]!r}; the form is {algorithms[0]}=:base64:"
    try:
        members = parse_dictionary(field)
    except FieldError as error:
        raise DigestError(malformed) from error
    found = {}
    for algorithm in algorithms:
        if algorithm not in members:
            continue
        value = members[algorithm].value
        size = hashlib.new(algorithm.replace("-", ""), usedforsecurity=False).digest_size
        if not isinstance(value, bytes) or len(value) != size:
            msg = f"the {algorithm} value is not the base64 of {size} bytes between colons"
            raise DigestError(msg)
        found[algorithm] = value
    if found:
        return found
    if not all(isinstance(member.value, bytes) for member in members.values()):
        raise DigestError(malformed)
    msg = f"no {' or '.join(algorithms)} in the digest field {field[:120]!r}"
    raise DigestError(msg)


def parse_digest(field: str) -> Digest:
    """Return the SHA-256 in a ``Content-Digest`` or ``Repr-Digest`` value.

    Raises:
        DigestError: the field is malformed or holds no SHA-256.
    """
    return Digest(find_digests(field, (SHA_256,))[SHA_256])
