"""What the agent remembers of one file, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from edge_agent.core.groups import Role
from edge_agent.core.upload import State
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt


class FailureCode(StrEnum):
    """Why a recording is kept for a person; the words are part of the public ``file.failed`` event."""

    SOURCE_MISSING = "source-missing"
    """Its file was gone before it was sent."""
    SOURCE_UNREADABLE = "source-unreadable"
    CHECKSUM = "checksum"
    TOO_LARGE = "too-large"
    INVALID_NAME = "invalid-name"
    UPLOAD_REFUSED = "upload-refused"
    CANCELLED = "cancelled"
    """An operator does not want it to be sent: tried again on a person's word alone."""
    RECEIPT_VOID = "receipt-void"
    """The server does not stand by its receipt any more."""


OF_THE_FILE = frozenset(
    {FailureCode.TOO_LARGE, FailureCode.INVALID_NAME, FailureCode.UPLOAD_REFUSED}
)
"""What a server may say of a file, as it is: its own words for it."""

SOURCE_CHANGED = "source-changed"
"""Of a verified recording whose file was written to before it was let go: that is another one now."""

SOURCE_DELETED = "source-deleted"
"""Of a recording whose file was deleted while it was sent: it is open, and read to its end."""

_NO_TIME_NS = -(2**63)


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one content of a file from another without reading it (``fstat``)."""

    device: int
    inode: int
    length: int
    mtime_ns: int
    ctime_ns: int

    def is_same_file(self, other: Identity) -> bool:
        """Return whether *other* is the same file by inode, whatever happened to its bytes."""
        return (self.device, self.inode) == (other.device, other.inode)

    def is_same_content(self, other: Identity) -> bool:
        """Return whether length and modification time agree.

        Device numbers change when a card is plugged in again and FAT invents inodes at mount, so
        these two are all that survives a reboot.
        """
        return (self.length, self.mtime_ns) == (other.length, other.mtime_ns)

    def is_untouched(self, other: Identity) -> bool:
        """Return whether length and all times agree.

        The number of the inode is not looked at: FAT invents another whenever it likes, and on all
        others a file that takes the place of another has another ctime.
        """
        return self.is_same_content(other) and self.ctime_ns == other.ctime_ns

    def is_doubtful(self, other: Identity) -> bool:
        """Return whether *other* may have other bytes of the same number: some of its times differ."""
        return self.length == other.length and not self.is_untouched(other)

    def to_be_read(self) -> Identity:
        """Return what makes each file of that length doubtful: of the bytes nothing is known."""
        return replace(self, ctime_ns=_NO_TIME_NS)


@dataclass(frozen=True, slots=True)
class Share:
    """Which recordings one watched folder answers for.

    Those that carry its name, and for one of them, the first, all that are of no folder: of one that
    is watched no more, or named by a person and elsewhere.
    """

    name: str = ""
    others: frozenset[str] | None = frozenset()
    """Names of the other folders, for the first; None: it answers for its own alone."""

    def has(self, watch: str) -> bool:
        return watch == self.name if self.others is None else watch not in self.others


@dataclass(frozen=True, slots=True)
class Found:
    """A file that a scan or a person names, not yet remembered."""

    path: bytes
    """Absolute, as the file system gives it."""
    folder: str
    """As the server is told: the watched folder's name if it has one, and what is below it, with ``/``,
    printable; empty for a nameless folder itself."""
    name: str
    """Base name, printable: bytes that are no UTF-8 are percent-escaped."""
    identity: Identity
    watch: str = ""
    """The name of the watched folder that it is in; empty: a nameless one, or none."""
    origin: str = "watch"
    """``watch``: released by the retention rules; ``command``: sent once, never deleted by us."""
    supersedes: str | None = None
    """What the server calls the file's content of before, which it keeps; None: there was none."""

    @property
    def place(self) -> str:
        """Where it lies below the watched folder, with its name."""
        return place_below(self.watch, self.folder, self.name)


@dataclass(frozen=True, slots=True)
class Recording:
    """One content of one file, from first sight until it is let go."""

    seq: int
    id: str
    path: bytes
    folder: str
    name: str
    identity: Identity
    state: State
    origin: str
    idempotency_key: str | None
    upload_id: str | None
    digest: Digest | None
    receipt: Receipt | None
    delete_allowed: bool
    failures: int
    """Consecutive failures, kept across restarts so that a reboot loop still backs off."""
    resent_bytes: int
    problem: str | None
    """Code of what is wrong, for FAILED and for warnings; None when all is well."""
    detail: str | None
    seen_at: str
    verified_at: str | None
    priority: int = 0
    """The owner's; higher ones go first."""
    receipt_s: int | None = None
    """When the server last stood by the receipt, in the device's running time; None: long ago."""
    seen_s: int = 0
    """When it was seen first, in the device's running time."""
    is_seen_at_true: bool = True
    """Whether the clock that gave `seen_at` was set."""
    supersedes: str | None = None
    """What the server calls the file's content of before, as in `Found`."""
    watch: str = ""
    """The name of the watched folder that it is in, as in `Found`."""
    role: Role = Role.ORIGINAL
    """What it is to its group."""

    @property
    def length(self) -> int:
        """Bytes."""
        return self.identity.length

    @property
    def place(self) -> str:
        """Where it lies below the watched folder, with its name."""
        return place_below(self.watch, self.folder, self.name)

    @property
    def turn(self) -> int:
        """When it is sent: the greater goes first. By its priority, and of equals by its role."""
        return len(Role) * self.priority + self.role

    @property
    def published_as(self) -> str | None:
        """What the server calls it; None: it does not hold it."""
        return None if self.receipt is None else self.receipt.published_as


class Brief(NamedTuple):
    """What of a `Recording` rules ask, by the same names: a tenth of the time where a hundred thousand are read."""

    seq: int
    id: str
    folder: str
    name: str
    watch: str
    length: int
    origin: str
    seen_at: str
    seen_s: int
    is_seen_at_true: bool

    @property
    def place(self) -> str:
        return place_below(self.watch, self.folder, self.name)


def place_below(watch: str, folder: str, name: str) -> str:
    """Return where a file of the watched folder of that name lies below it."""
    if watch and (folder == watch or folder.startswith(f"{watch}/")):
        folder = folder[len(watch) + 1 :]
    return f"{folder}/{name}" if folder else name


def age_s(recording: Recording | Brief, *, running_s: int, now: datetime | None) -> int:
    """Return how long ago a recording was seen first: at least so long, where no clock says it exactly.

    The wall clock knows how long the device was off, and only the device's running time is right where
    nobody has set the clock, or had when the recording was seen.

    Args:
        recording: the one that is meant.
        running_s: the device's running time.
        now: by the wall clock; None: nobody has set it.
    """
    ages = [0, running_s - recording.seen_s]
    if now is not None and recording.is_seen_at_true:
        ages.append(int((now - datetime.fromisoformat(recording.seen_at)).total_seconds()))
    return max(ages)
