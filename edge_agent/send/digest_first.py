"""Whether a recording is hashed before it is sent, to ask whether the server has it already.

The server says of each new upload whether it has anything of that length. Where it has, a digest may
spare all of the bytes, and costs a read that is fast beside sending them. Only a recorder whose files
all have one length would have each large one read twice, and its first byte held back, for nothing.
"""

from __future__ import annotations

MIB = 1024 * 1024

SMALL_BYTES = 64 * MIB
"""Hashed in about a second on the slowest board: always worth it."""
IN_VAIN = 3
"""Large recordings that were hashed for nothing, one after the other, before that is given up."""


class DigestFirst:
    """What asking has been good for; of one link, called with the lanes' lock held."""

    def __init__(self) -> None:
        self._in_vain = 0

    def is_worth(self, length: int) -> bool:
        """Whether to hash a recording of a length that the server knows before it is sent."""
        return length <= SMALL_BYTES or self._in_vain < IN_VAIN

    def was_there(self) -> None:
        """Hear that the server had a recording before it was sent, asked for or not."""
        self._in_vain = 0

    def was_not_there(self, length: int) -> None:
        """Hear that the server had no recording of that length and digest."""
        self._in_vain += length > SMALL_BYTES
