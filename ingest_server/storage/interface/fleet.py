"""What is remembered of devices beside their uploads: what they say, what they are asked, what they hold.

None of it is needed to take an upload, so none of it is kept with the facts of uploads: a store that is
lost or damaged is set aside and begun anew, and a device tells everything again when it is asked to.

What a device says (`save`) may lose its last seconds at a power cut: it is asked for it again. What happened on
it (`add_events`), which it forgets once it is told that, and what a person asked for (`put_command`, with
``is_durable``, and `put_desired`) are on disk on return.

Errors: a store that cannot do its work raises `StateFailed`, like the store of facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ingest_server.storage.interface.holds import HoldsStore

KEPT_COMMANDS = 200
"""Of one device; the oldest that have an answer go first."""
KEPT_EVENTS = 1000
"""Of one device."""
KEPT_EVENTS_IN_ALL = 200_000
KEPT_GONE = 10_000
"""Devices that were forgotten, and are told as gone to whoever shares the store."""

OPEN = frozenset({"waiting", "sent"})
"""What a command is until its device has answered."""
FINAL = frozenset({"done", "rejected", "expired", "failed"})
"""What it stays."""


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device as it was when the store was last written."""

    device: str
    facts: bytes
    """JSON: when it was seen, how it announced its next report."""
    state: bytes | None
    info: bytes | None
    """JSON, as the device said it."""
    desired: bytes | None = None
    said_s: float = 0.0
    """When the facts were said, by the store's clock; so for each document."""
    state_s: float = 0.0
    info_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DeviceChanges:
    """What was written of devices since a moment."""

    devices: Sequence[KnownDevice]
    gone: Sequence[str]
    upto: int
    """What to ask for next."""


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A command to a device, and what became of it."""

    id: str
    device: str
    cmd: str
    args: Mapping[str, Any]
    created_at: str
    """RFC 3339 in UTC, like every time in the store."""
    expires_at: str
    by: str
    """Who asked, in the words of the audit."""
    status: str = "waiting"
    """``waiting`` until the device has it, ``sent`` until it answers, then what its answer says."""
    code: str | None = None
    message: str | None = None
    result: Mapping[str, Any] | None = None
    answered_at: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceEvent:
    """Something that happened on a device, as it told it."""

    device: str
    id: str
    type: str
    at: str
    """When it came here."""
    body: bytes
    """The cloud event, as JSON."""
    number: int = 0
    """Rises for ever; given by the store."""


@dataclass(frozen=True, slots=True)
class Samples:
    """A run of samples of one device: see `ingest_server.fleet.history`."""

    device: str
    step_s: int
    start_s: int
    """Of its first sample, seconds of the epoch."""
    packed: bytes


class CommandStore(Protocol):
    def put_command(
        self, command: CommandRecord, *, is_durable: bool = False, over_open: bool = False
    ) -> bool:
        """Keep a command, in place of the one with its id unless that has come to its end.

        Args:
            over_open: only in place of one that its device has not answered.

        Returns:
            Whether it was kept.
        """
        ...

    def command(self, device: str, command_id: str) -> CommandRecord | None: ...

    def commands(self, device: str, limit: int = 100) -> list[CommandRecord]:
        """Return the newest commands to a device, newest first."""
        ...

    def unanswered(self, device: str | None = None) -> list[CommandRecord]:
        """Return what no device, or not this one, has answered, oldest first."""
        ...


class EventStore(Protocol):
    def add_events(self, events: Sequence[DeviceEvent]) -> list[DeviceEvent]:
        """Keep what is new of *events*, durable on return; return that with its numbers."""
        ...

    def events(self, device: str | None, *, after: int | None, limit: int) -> list[DeviceEvent]:
        """Return events of one device or of all, in order of their number.

        Args:
            after: the number of the last one that was seen; None: the newest *limit* ones.
        """
        ...

    def notices(self) -> dict[str, bytes]:
        """Return what was told to people and has not ended, by its key."""
        ...

    def put_notice(self, key: str, body: bytes | None) -> None:
        """Keep that something was told, or (None) that its end was; durable on return."""
        ...


class SampleStore(Protocol):
    def samples(self, device: str, step_s: int, since_s: int) -> list[Samples]:
        """Return what begins at *since_s* or later, oldest first."""
        ...

    def newest_samples(self, step_s: int, since_s: int) -> list[Samples]:
        """Return the runs of every device that begin at *since_s* or later."""
        ...

    def thin_out(self, step_s: int, runs: int, now_s: int) -> int:
        """Keep the newest *runs* starts of that step up to *now_s*, and as many after it.

        A clock that was ahead leaves some in the future: they take the place of nothing that comes. One that
        is behind finds everything there, and takes nothing of it away.

        Returns:
            How many runs went.
        """
        ...


class FleetStore(HoldsStore, CommandStore, EventStore, SampleStore, Protocol):
    """Safe to use from several threads. Each method is one transaction."""

    is_shared: bool = False
    """Whether other servers write to it, too."""

    @property
    def generation(self) -> int:
        """Rises whenever the store was begun anew under its user, who then tells it everything again."""
        ...

    def now_s(self) -> float:
        """Return the time by the clock that all who share the store have."""
        return 0.0

    def devices(self) -> list[KnownDevice]: ...

    def known(self, device: str) -> KnownDevice | None: ...

    def changes(self, after: int) -> DeviceChanges:
        """Return what was written, and what was forgotten, since *after*.

        Args:
            after: what an earlier answer has as ``upto``; 0 is before everything.
        """
        ...

    def save(
        self,
        facts: Mapping[str, bytes],
        documents: Mapping[tuple[str, str], bytes],
        samples: Iterable[Samples] = (),
        *,
        said_s: Mapping[str | tuple[str, str], float] | None = None,
    ) -> None:
        """Keep what devices said, in one transaction; what is there and was said later stays.

        Args:
            facts: by device.
            documents: by device and kind (``state``, ``info``, ``files``, ``reported``).
            said_s: when each of them was said, by the store's clock.
        """
        ...

    def document(self, device: str, kind: str) -> bytes | None: ...

    def forget(self, device: str) -> None:
        """Drop all there is of a device."""
        ...

    def put_desired(self, device: str, document: bytes, *, over: bytes | None = None) -> bool:
        """Keep the settings that a device is to have, durable on return.

        Args:
            over: what they take the place of; None: nothing.

        Returns:
            Whether they were kept; false: something else is there.
        """
        ...

    def close(self) -> None: ...
