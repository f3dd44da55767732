"""What says that a data folder was moved: a mark in it, and a row where its facts are now.

By the mark a server that is started as before the move is refused: it would give receipts that nobody else
knows. By the row a server is refused that cannot reach the files which were not copied yet.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_host.durable import sync
from ingest_server.config import ServerConfig
from ingest_server.core.errors import StateLostError
from ingest_server.storage.postgres.text import without_password
from ingest_server.storage.sql.relocation import Relocation
from ingest_server.storage.sql.state import SqlState

NAME = "moved-to"


@dataclass(frozen=True, slots=True)
class Mark:
    """What a folder says of where it was moved to."""

    id: str
    """Of this move."""
    place: str
    """What the new store of bytes is known by to the database (`Blobs.identify`)."""
    state: str | None
    """The database that has the facts now, without a password; None: they stayed."""
    blobs: str | None
    """The bucket that gets the files; None: they stay."""
    at: str
    """When (RFC 3339)."""

    @classmethod
    def of(cls, folder: Path) -> Mark | None:
        """Return the mark of a folder.

        Raises:
            StateLostError: it cannot be read.
        """
        path = folder / NAME
        try:
            return cls(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateLostError(
                f"Whether {folder} was moved cannot be read ({NAME} in it: {error.strerror}). Nothing was changed. "
                "Is it a folder of the user that the server runs as, and does its disk work?"
            ) from error
        except (ValueError, TypeError) as error:
            raise StateLostError(
                f"{path} says where this folder was moved to, and cannot be read ({error}). Nothing was "
                "changed. Write it back from a copy, or see docs/migrate.md for the way back"
            ) from error

    def write(self, folder: Path) -> None:
        """Put it there; durable on return.

        Raises:
            OSError: it could not be.
        """
        unfinished = folder / f"{NAME}.new"
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(folder / NAME)
        sync(folder)

    def leads_to(self, config: ServerConfig) -> bool:
        """Whether it names what *config* does."""
        said = config.storage
        state = None if said.state is None else without_password(said.state)
        return self.blobs == said.blobs and self.state in {None, state}

    @property
    def where(self) -> str:
        return " and ".join(one for one in (self.state, self.blobs) if one is not None)


def remove_mark(folder: Path) -> None:
    """Let a folder be as if it had never been moved; durable on return.

    Raises:
        OSError: it could not be.
    """
    (folder / NAME).unlink(missing_ok=True)
    sync(folder)


def refuse_moved(config: ServerConfig) -> None:
    """Refuse a configuration from before the move of its data folder.

    Raises:
        StateLostError: it is.
    """
    folder, said = config.server.data_dir, config.storage
    mark = Mark.of(folder)
    if mark is None:
        return
    if (mark.state is not None and said.state is None) or (
        mark.blobs is not None and said.blobs is None
    ):
        raise StateLostError(
            f"{folder} was moved to {mark.where} on {mark.at}. Nothing was changed: a server that went on "
            "here would give receipts that no other knows. Start it with the new configuration. The way "
            "back is in docs/migrate.md"
        )


def refuse_half_moved(config: ServerConfig, state: SqlState) -> None:
    """Refuse a server that cannot reach files which its facts tell of.

    Raises:
        StateLostError: it cannot.
    """
    source, before = Relocation(state).source(), config.storage.before
    if before is None:
        if source is None:
            return
        raise StateLostError(
            f"Files of this server are still in {source.folder}, and are being copied to "
            f"{config.storage.blobs or 'a bucket'}. Set [storage] before to that folder, on the machine "
            "that has it. Without it a server starts once `ingest-server migrate` says that all is copied"
        )
    mark = Mark.of(before)
    if mark is None or (source is not None and mark.id != source.id):
        raise StateLostError(
            f"[storage] before names {before}, and nothing there says that it was moved here. Is its disk "
            "mounted? If it is to be moved now, run: ingest-server migrate --to FILE"
        )
    if not is_carried(config, state, mark):
        raise StateLostError(
            f"[storage] before names {before}, whose facts are not in this database yet. Run: "
            "ingest-server migrate --to FILE"
        )


def is_carried(config: ServerConfig, state: SqlState, mark: Mark) -> bool:
    """Whether *state* has the facts of the folder that has *mark*."""
    if mark.state is None or config.storage.state is None:
        return True
    return state.rows("SELECT id FROM folder") == [(mark.place,)]
