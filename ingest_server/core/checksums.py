"""What a client says that the body of one request has, by the algorithm of its choice.

Only for the wire. What is stored and published is known by its SHA-256.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from upload_protocol.digests import Digest


@dataclass(frozen=True, slots=True)
class Checksum:
    """A value of one of hashlib's algorithms."""

    algorithm: str
    value: bytes

    @classmethod
    def of(cls, digest: Digest) -> Checksum:
        return cls("sha256", digest.value)

    def new_hash(self) -> hashlib._Hash:
        # MD5 and SHA-1 are the client's choice against a bad link, not against an attacker.
        return hashlib.new(self.algorithm, usedforsecurity=False)

    def fits(self, data: bytes) -> bool:
        """Return whether *data* has this checksum."""
        found = self.new_hash()
        found.update(data)
        return found.digest() == self.value
