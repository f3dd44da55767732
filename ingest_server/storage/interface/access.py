"""What is asked of who may come in: part of every state store."""

from __future__ import annotations

from typing import Protocol

from ingest_server.storage.interface.rows import Claimed, ClaimRecord, TokenRecord


class Access(Protocol):
    """Who may come in: tokens, tokens that give way to others, and claim tokens.

    Each method is one transaction, durable, and seen by every process, on return.
    """

    def add_token(self, token: TokenRecord) -> None: ...

    def find_token(self, token_hash: bytes) -> TokenRecord | None:
        """Return the token of that hash as it is committed at this moment."""
        ...

    def token(self, token_id: str) -> TokenRecord | None: ...

    def tokens(self) -> list[TokenRecord]:
        """Return all tokens, by device and age."""
        ...

    def revoke(self, token_id_or_device: str) -> int:
        """Delete the token of that id, or all of that device.

        What a token was rotated into goes with it: whoever stole the one may have the other.

        Returns:
            How many tokens are gone.
        """
        ...

    def touch_token(self, token_id: str, used_at: str) -> None:
        """Note when a token was used; at its first use, what a repeated claim put beside it goes."""
        ...

    def confirm_token(self, token_id: str) -> bool:
        """Let the token that this one replaces go, now that it is in use.

        Returns:
            False: this token itself is gone meanwhile.
        """
        ...

    def succeed(self, old: TokenRecord, new: TokenRecord) -> bool:
        """Add *new* beside *old*, which stays good; what *old* was rotated into before goes.

        That one was never used, else *old* would not be there: the answer with it was lost.

        Returns:
            False: *old* is gone meanwhile and nothing was added.
        """
        ...

    def add_claim(self, claim: ClaimRecord, token_hash: bytes) -> None: ...

    def claims(self) -> list[ClaimRecord]:
        """Return all claim tokens, by age."""
        ...

    def find_claim(self, token_hash: bytes) -> ClaimRecord | None: ...

    def revoke_claim(self, claim_id: str, now: str) -> bool:
        """End a claim; devices that used it keep their tokens.

        Returns:
            False: there is none, or it was ended before.
        """
        ...

    def claim(self, wanted: Claimed, token: TokenRecord, *, repeat_since: str) -> str | None:
        """Give *token* to a device that nobody has claimed.

        A claim is repeated when the same serial asks under the same claim since *repeat_since* and
        the token of the first answer was never used: that answer was lost, or somebody else asks.
        So *token* stands beside that one, as its successor, and whichever is used first ends the other.

        Returns:
            None: done. Else why not: ``claimed``, or ``used-up``, or ``gone`` (the claim ended).
        """
        ...
