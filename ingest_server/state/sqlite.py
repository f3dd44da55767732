"""Upload records and tokens in one SQLite file, usable by several processes at once."""

from __future__ import annotations

from pathlib import Path

from ingest_server.state.tokens import TokenRecord


class SqliteState:
    """The database of one data folder."""

    @classmethod
    def open(cls, path: Path, read_only: bool = False) -> SqliteState:
        """Open *path*, made and migrated where needed (never when *read_only*).

        Raises:
            StateError: it cannot be opened, or a newer version wrote it.
        """
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def add_token(
        self,
        device: str,
        token_hash: bytes,
        token_id: str,
        created_at: str,
        scopes: tuple[str, ...],
        expires_at: str | None = None,
    ) -> None:
        raise NotImplementedError

    def find_token(self, token_hash: bytes) -> TokenRecord | None:
        raise NotImplementedError

    def tokens(self) -> list[TokenRecord]:
        raise NotImplementedError

    def revoke(self, token_id_or_device: str) -> int:
        raise NotImplementedError

    def touch_token(self, token_id: str, used_at: str) -> None:
        raise NotImplementedError
