"""What devices have said and is not in the database yet: bounded, and written in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from ingest_server.core.errors import Refused
from ingest_server.fleet.members import WANTED, Member
from ingest_server.fleet.store_clock import StoreClock
from ingest_server.storage.interface import FleetStore, Samples

log = structlog.get_logger()

MOST_BYTES = 16 * 2**20
"""Of documents: what goes beyond it is written at once."""


@dataclass(slots=True)
class Batch:
    """What goes into one transaction."""

    facts: dict[str, bytes] = field(default_factory=dict)
    documents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    samples: list[Samples] = field(default_factory=list)
    said_s: dict[str | tuple[str, str], float] = field(default_factory=dict)
    """When each of facts and documents was said, by the store's clock."""


class Unwritten:
    """Noted under the fleet's lock; written beside it, so that no report waits for the disk."""

    def __init__(self, store: FleetStore, clock: StoreClock) -> None:
        self._store = store
        self._clock = clock
        self._said_s: dict[tuple[str, str], float] = {}
        self._changed: set[str] = set()
        self._documents: dict[tuple[str, str], bytes] = {}
        self._bytes = 0
        self._is_urgent = False
        self._is_away = False
        """Whether the database failed the last time."""
        self._samples: dict[tuple[str, int, int], Samples] = {}
        self.writing = threading.Lock()
        """Held from taking a batch to the end of its transaction, and while a device is forgotten; taken
        before the fleet's lock."""
        self._generation = store.generation

    @property
    def is_due(self) -> bool:
        """Whether to write before it is time to: there is much, or programs beside this one go by it."""
        is_much = self._is_urgent or self._bytes > MOST_BYTES
        return is_much or (self._store.is_shared and bool(self._changed))

    def hurry(self) -> None:
        """Have what is noted written soon."""
        self._is_urgent = True

    def note(self, member: Member, documents: Mapping[str, bytes]) -> None:
        self._changed.add(member.device)
        member.said_s = now_s = self._clock.after_s(member.said_s)
        member.state_s = now_s if "state" in documents else member.state_s
        member.info_s = now_s if "info" in documents else member.info_s
        for kind, body in documents.items():
            self._said_s[member.device, kind] = now_s
            self._bytes += len(body) - len(self._documents.get((member.device, kind), b""))
            self._documents[member.device, kind] = body

    def samples(self, samples: Iterable[Samples]) -> None:
        for one in samples:
            self._samples[one.device, one.step_s, one.start_s] = one

    def document(self, device: str, kind: str) -> bytes | None:
        """Return what is not written yet of a document; None: the database has the newest."""
        return self._documents.get((device, kind))

    def forget(self, device: str) -> None:
        self._changed.discard(device)
        for key in [key for key in self._documents if key[0] == device]:
            self._bytes -= len(self._documents.pop(key))
            del self._said_s[key]
        for place in [place for place in self._samples if place[0] == device]:
            del self._samples[place]

    def take(self, members: Mapping[str, Member]) -> Batch:
        """Return what is to be written; `document` answers with it until it is."""
        if self._generation != self._store.generation:
            self._begin_anew(members)
        changed, self._changed = self._changed, set()
        self._is_urgent = False
        told = [members[one] for one in changed if one in members]
        return Batch(
            {one.device: one.facts(self._clock.heard_s(one)) for one in told},
            dict(self._documents),
            list(self._samples.values()),
            {one.device: one.said_s for one in told} | self._said_s,
        )

    def _begin_anew(self, members: Mapping[str, Member]) -> None:
        """Have everything told again: the database was set aside, and is empty."""
        self._generation = self._store.generation
        self._changed |= members.keys()
        for member in members.values():
            member.lacks |= set(WANTED)
            member.holds = None

    def write(self, batch: Batch) -> bool:
        """Write it; False: the database failed, and it is tried again with what comes until then."""
        if not (batch.facts or batch.documents or batch.samples):
            return True
        try:
            self._store.save(batch.facts, batch.documents, batch.samples, said_s=batch.said_s)
        except Refused as refused:
            if not self._is_away:  # said once, and not every second that it is tried again
                log.warning("fleet.not_written", devices=len(batch.facts), error=str(refused))
            self._is_away = True
            return False
        self._is_away = False
        return True

    def failed(self, batch: Batch) -> None:
        self._changed |= batch.facts.keys()

    def written(self, batch: Batch) -> None:
        """Forget what is in the database now, unless it has changed meanwhile."""
        for key, body in batch.documents.items():
            if self._documents.get(key) is body:
                self._bytes -= len(self._documents.pop(key))
                del self._said_s[key]
        for one in batch.samples:
            place = (one.device, one.step_s, one.start_s)
            if self._samples.get(place) is one:
                del self._samples[place]
