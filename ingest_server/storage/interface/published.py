"""The published files of a store of bytes; what is said in `blobs` of targets and of errors holds here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ingest_server.core.names import folded
from ingest_server.storage.interface.part import Part
from ingest_server.storage.interface.rows import Link


class PublishedBlobs(Protocol):
    """What is verified, by its name."""

    def is_taken(self, target: str) -> bool:
        """Whether anything stands at *target*, published by this server or not."""
        ...

    @property
    def can_publish_again(self) -> bool:
        """Whether `publish_again` works here."""
        return True

    def make_way(self, target: str) -> bool:  # noqa: ARG002 # many stores have no folders
        """Make the folders that *target* needs, if it can; returns whether one was made.

        Programs that watch folders put a watch on a new one before anything is in it, then.
        """
        return False

    def respelled(self, target: str) -> str:
        """Return *target* with its folders as they are spelled here already, whatever their case."""
        *parents, leaf = target.split("/")
        for name in self.published_names():
            there = name.split("/")[:-1]
            for depth in range(min(len(parents), len(there)), 0, -1):
                if list(map(folded, there[:depth])) == list(map(folded, parents[:depth])):
                    parents[:depth] = there[:depth]
                    break
        return "/".join([*parents, leaf])

    def has_twin(self, target: str) -> bool:
        """Whether what stands beside *target* differs from it only in case, or in how it is encoded."""
        wanted = folded(target)
        return any(name != target and folded(name) == wanted for name in self.published_names())

    def may_have_twin(self, target: str) -> bool:
        """As `has_twin`, at the same price in any folder; it may be true of a twin that is gone."""
        return self.has_twin(target)

    def sync_published(self, target: str) -> None:
        """Make a published name durable, or what somebody did to it meanwhile. Repeatable."""
        ...

    def announce(self, target: str, *, is_late: bool = False) -> None:  # noqa: ARG002
        """Let programs that watch the folder see that this published file is whole. Never raises.

        Its name is durable by then, and there is a receipt for it.

        Args:
            target: its name.
            is_late: it got its name before a crash: who watches now has not seen that.
        """
        return

    def open_published(self, target: str) -> Part:
        """Return a hand on a published file, to be read.

        Raises:
            FileNotFoundError, NotADirectoryError: there is none.
            OSError: what stands there was not put there by this server, or cannot be opened.
        """
        ...

    def link_to(self, target: str, wanted: Link) -> str | None:  # noqa: ARG002 # few stores are asked by others
        """Return a URL by which whoever has it may read a published file; None: this store has none.

        Raises:
            OSError: none can be made.
        """
        return None

    def is_published(self, target: str, length: int) -> bool:
        """Whether a file of *length* bytes stands at *target*."""
        ...

    def published_names(self) -> Iterator[str]:
        """Yield the name of every published file."""
        ...

    def publish_again(self, source: str, target: str) -> bool:
        """Give a published file one more name; not durable before `sync_published`.

        Returns:
            False when another file has that name.

        Raises:
            FileNotFoundError: there is no such file any more.
            NotADirectoryError: a file stands where *target* needs a folder.
        """
        ...

    def lend_published(self, target: str) -> AbstractContextManager[Path]:
        """Lend a published file as `lend_path` lends an upload."""
        ...

    def identity(self, target: str) -> str | None:
        """Return what tells a published file, unchanged, from any other that takes its place.

        Opaque. Everything that is done to the file changes it, a name that it gets or loses too.
        None where no file of ours can stand there, or it cannot be opened.
        """
        ...

    def is_unwritten(self, before: str, after: str) -> bool:
        """Whether both identities are of one file that only got, or lost, a name in between."""
        ...

    def remove_published(self, target: str, identity: str) -> bool:
        """Take away just that published file; durable on return. Repeatable.

        Returns:
            False when that file is not there (any more); what is there instead stays.
        """
        ...

    def copy_to_quarantine(self, target: str) -> str:
        """Keep a published file in quarantine too; durable on return.

        Returns:
            Where, in words for the operator.
        """
        ...

    def is_in_quarantine(self, target: str) -> bool:
        """Whether something that was published at *target* has been set apart."""
        ...

    def withdraw(self, target: str) -> None:
        """Take a published file's name away; durable on return. It is in quarantine by then."""
        ...
