"""Every question that is asked of the rows of the in-memory store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from ingest_server.core import events
from ingest_server.core.events import Event
from ingest_server.core.record import UNFINISHED, State, UploadRecord, end_of
from ingest_server.storage.interface import (
    Census,
    DeviceSummary,
    OpenUpload,
    Queries,
    Reading,
    RecordingPage,
    RecordingQuery,
    Removal,
    Summary,
)
from ingest_server.storage.interface.keeping import nearest
from ingest_server.storage.memory.tables import Tables
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt


class MemoryQueries(Queries):
    """The reads."""

    tables: Tables

    def find(self, upload_id: str) -> UploadRecord | None:
        return self.tables.uploads.get(upload_id)

    def device_of(self, upload_id: str) -> str | None:
        record = self.find(upload_id)
        return None if record is None else record.device

    def state_of(self, upload_id: str) -> State | None:
        record = self.find(upload_id)
        return None if record is None else record.state

    def route_of(self, upload_id: str) -> str | None:
        record = self.find(upload_id)
        return None if record is None else record.route

    def routes(self) -> list[str]:
        return sorted({one.route for one in self._all()} - {""})

    def on_route(self, route: str) -> tuple[int, int]:
        kept = (one for one in self._all() if one.route == route and one.removed_at is None)
        states = [one.state for one in kept]
        unfinished = sum(state in UNFINISHED for state in states)
        return unfinished, states.count(State.COMPLETE)

    def by_key(self, device: str, key: str) -> UploadRecord | None:
        found = (one for one in self._all() if (one.device, one.key) == (device, key))
        return next(found, None)

    def published(self, record: UploadRecord, length: int, digest: Digest) -> list[UploadRecord]:
        wanted = (record.device, length, digest)
        found = [one for one in self._standing() if (one.device, one.length, one.digest) == wanted]
        return nearest(found, record)

    def has_published(self, device: str, length: int) -> bool:
        return any((one.device, one.length) == (device, length) for one in self._standing())

    def completed(self, device: str, lengths: Sequence[int]) -> list[tuple[int, str]]:
        return [
            (one.length, one.name)
            for one in self._all()
            if one.state is State.COMPLETE
            and one.device == device
            and one.length is not None
            and one.length in lengths
        ]

    def reading(self, upload_id: str) -> Reading | None:
        return self.tables.readings.get(upload_id)

    def receipts(self, path: str | None = None) -> list[Receipt]:
        found = (one.receipt for one in self._standing() if one.receipt is not None)
        known = {(one.upload_id, one.published_as): one for one in found}
        return [one for one in known.values() if path in {None, one.published_as}]

    def is_being_published(self, target: str, *, besides: str) -> bool:
        return any(
            one.target == target and one.state is State.PUBLISHING
            for one in self.tables.uploads.values()
            if one.id != besides
        )

    def has_target(self, target: str, *, besides: str = "") -> bool:
        return any(one.target == target and one.id != besides for one in self._all())

    def is_used_since(self, target: str, record: UploadRecord) -> bool:
        return any(
            one.target == target
            and one.id != record.id
            and (
                one.state is State.PUBLISHING
                or (_has_published(one) and one.touched_s >= record.touched_s)
            )
            for one in self._all()
        )

    def newest_verified_at(self, *, since_s: float) -> str | None:
        found = (
            one.receipt.verified_at
            for one in self._standing()
            if one.receipt is not None and one.touched_s >= since_s
        )
        return max(found, default=None)

    def due_for_removal(
        self, verified_by: str, ended_by_s: float, *, after: tuple[str, str], limit: int
    ) -> list[tuple[UploadRecord, Receipt]]:
        found = [
            (one, one.receipt)
            for one in self._standing()
            if one.receipt is not None
            and _has_published(one)
            and one.receipt.verified_at <= verified_by
            and one.touched_s <= ended_by_s
            and (one.receipt.verified_at, one.id) > after
        ]
        return sorted(found, key=lambda one: (one[1].verified_at, one[0].id))[:limit]

    def removals(self) -> list[Removal]:
        return list(self.tables.removals.values())

    def open_count(self, device: str) -> int:
        return sum(one.state is State.OPEN and one.device == device for one in self._all())

    def open_uploads(self, device: str) -> list[OpenUpload]:
        found = [
            OpenUpload(one.id, one.touched_s, bool(one.received.to_pairs()))
            for one in self.in_states(State.OPEN)
            if one.device == device
        ]
        return sorted(found, key=lambda one: (one.touched_s, one.id))

    def reserved_bytes(self, device: str, *, besides: str) -> int:
        return sum(
            end_of(one.received) if one.length is None else one.length
            for one in self._all()
            if one.state in UNFINISHED and one.device == device and one.id != besides
        )

    def page(
        self, *, device: str | None, state: str | None, after: str | None, limit: int
    ) -> list[UploadRecord]:
        found = [
            one
            for one in self._all()
            if one.id > (after or "")
            and device in {None, one.device}
            and state in {None, one.state.value}
        ]
        return sorted(found, key=lambda one: one.id)[:limit]

    def summaries(
        self,
        *,
        device: str | None,
        state: str | None,
        since: str,
        after: tuple[str, str] | None,
        limit: int,
    ) -> list[Summary]:
        found = sorted(
            (one.created_at, one.id, _summary(one))
            for one in self._all()
            if one.created_at >= since
            and (one.created_at, one.id) > (after or ("", ""))
            and device in {None, one.device}
            and state in {None, one.state.value}
        )
        shown = found[-limit:] if after is None else found[:limit]
        return [one for _, _, one in shown]

    def recordings(self, wanted: RecordingQuery) -> RecordingPage:
        found = sorted(
            (
                one.receipt
                for one in self._standing()
                if one.receipt is not None and _has_published(one) and _is_wanted(one, wanted)
            ),
            key=lambda one: (one.verified_at, one.upload_id),
            reverse=True,
        )
        last = found[wanted.limit - 1] if len(found) > wanted.limit else None
        following = None if last is None else (last.verified_at, last.upload_id)
        return RecordingPage(found[: wanted.limit], following)

    def devices(self) -> list[DeviceSummary]:
        tables = self.tables
        contact = {device: at for device, (at, _) in tables.contacts.items()}
        for device, at in (
            *((one.device, one.created_at) for one in self._all()),
            *(
                (one.device, one.last_used_at or "")
                for one in tables.tokens.values()
                if "admin" not in one.scopes  # a person's token is no device's
            ),
        ):
            contact[device] = max(at, contact.get(device, ""))
        return [
            DeviceSummary(
                device,
                at or None,
                tables.contacts.get(device, ("", ""))[1],
                Counter(one.state.value for one in self._all() if one.device == device),
            )
            for device, at in sorted(contact.items())
        ]

    def in_states(self, *states: State) -> list[UploadRecord]:
        return [one for one in self._all() if one.state in states]

    def idle_open(self, before_s: float) -> list[str]:
        return [one.id for one in self.in_states(State.OPEN) if one.touched_s < before_s]

    def note(self, upload_id: str, key: str) -> str | None:
        return self.tables.notes.get((upload_id, key))

    def notes(self, upload_id: str) -> dict[str, str]:
        return {key: value for (one, key), value in self.tables.notes.items() if one == upload_id}

    def census(self) -> Census:
        found = [one for one in self._all() if one.state in UNFINISHED]
        return Census(
            by_state=dict(Counter(one.state.value for one in found)),
            oldest_at=min((one.created_at for one in found), default=None),
            due_bytes=sum(max(0, (one.length or 0) - one.received.total) for one in found),
        )

    def corruptions_after(self, seq: int) -> list[int]:
        return [one.seq for one in self._events({events.CORRUPTED}) if one.seq > seq]

    def last_of(self, kinds: AbstractSet[str], *, subject: str | None = None) -> str | None:
        found = (one for one in self._events(kinds) if subject in {None, one.subject})
        return next((one.type for one in reversed(list(found))), None)

    def uptime_s(self) -> float:
        return self.tables.uptime_s

    def _all(self) -> Iterable[UploadRecord]:
        return self.tables.uploads.values()

    def _standing(self) -> Iterator[UploadRecord]:
        """Yield the complete uploads whose file was not removed."""
        return (
            one for one in self._all() if one.state is State.COMPLETE and one.removed_at is None
        )

    def _events(self, kinds: AbstractSet[str]) -> Iterator[Event]:
        return (event for event, _ in self.tables.events.values() if event.type in kinds)


def _summary(record: UploadRecord) -> Summary:
    return Summary(
        record.id,
        record.device,
        record.name,
        record.folder,
        record.state.value,
        record.received.total,
        record.length,
        record.created_at,
        None if record.receipt is None else record.receipt.published_as,
    )


def _is_wanted(record: UploadRecord, wanted: RecordingQuery) -> bool:
    receipt = record.receipt
    if receipt is None or wanted.device not in {None, record.device}:
        return False
    at, after = receipt.verified_at, wanted.after
    is_in_time = at >= wanted.since and (wanted.until is None or at < wanted.until)
    is_behind = after is None or (at, record.id) < after
    name = f"{record.folder}/{record.name}"
    has_name = wanted.name is None or _lower(wanted.name) in _lower(name)
    return is_in_time and is_behind and has_name


def _lower(text: str) -> str:
    return "".join(one.lower() if one.isascii() else one for one in text)


def _has_published(record: UploadRecord) -> bool:
    """Whether the file of a complete upload is its own, not one that came before."""
    return (
        record.state is State.COMPLETE
        and record.receipt is not None
        and record.receipt.upload_id == record.id
    )
