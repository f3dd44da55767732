"""What the lanes know of one upload while they work on it; lost on a restart without harm."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from edge_agent.core.recording import Identity, Recording
from edge_agent.media.running_digest import RunningDigest
from edge_agent.media.source import Source
from upload_protocol.direct import SentPart
from upload_protocol.messages import UploadStatus
from upload_protocol.problems import MAX_MISSING_RANGES
from upload_protocol.ranges import ByteRange, RangeSet


class Kind(Enum):
    """What a lane does with a recording in one step."""

    CREATE = auto()
    CLAIM = auto()
    """Ask by the digest whether the server has it already."""
    ASK = auto()
    COMPARE = auto()
    SEND = auto()
    HASH = auto()
    COMPLETE = auto()


@dataclass(frozen=True, slots=True)
class Task:
    kind: Kind
    where: ByteRange | None = None
    """Of SEND, and of nothing else."""


@dataclass
class Flight:
    """A task under way in a lane."""

    task: Task
    knew: int
    """`UploadProgress.learned` when it began."""
    doubted: RangeSet
    """`UploadProgress.uncertain` when it began."""
    before: RangeSet
    """What of its bytes the server held, or an earlier task had sent, when it began."""
    sent: int = 0
    """Bytes of it that were handed to the system."""


@dataclass
class UploadProgress:
    """One recording on its way.

    Bytes are counted from when this object was made: ``resent`` is what went onto the wire although
    it had gone before, that is what a broken request lost in flight and what a repair replaced.
    What was lost and never sent again, of a file that is gone by now, is not. A restart forgets what
    was in flight then.
    """

    recording_id: str
    identity: Identity
    """Of the content that `digest` is about."""
    started_s: float
    received: RangeSet | None = None
    """What the server holds; None: ask."""
    uncertain: RangeSet = field(default_factory=RangeSet)
    """Bytes of broken requests, which the server may or may not hold: not sent before it was asked."""
    flights: dict[int, Flight] = field(default_factory=dict)
    """Lane -> what it does with this recording now."""
    learned: int = 0
    """How often the server has said what it holds."""
    max_request_bytes: int | None = None
    """What the server takes in one request; None: no limit."""
    direct_part_bytes: int | None = None
    """Parts of at most so many bytes, none over a multiple of it, may go straight to the server's store."""
    unreported: tuple[SentPart, ...] = ()
    """What the store has, and the server was not told."""
    is_closed: bool = False
    """The server takes no more bytes: it verifies, or has published already."""
    digest: RunningDigest = field(default_factory=RunningDigest)
    must_ask: bool | None = None
    """Whether it is hashed, and asked for by its digest, before a byte is sent; None: nothing of the
    kind was worth it so far."""
    to_replace: RangeSet = field(default_factory=RangeSet)
    """Bytes that the server holds and that a repair sends again."""
    next_block: int | None = None
    """Where the comparison of blocks goes on; None: no comparison."""
    is_provisional: bool = False
    """Whether it began before the file was finished, so that its blocks are compared once."""
    repairs: int = 0
    attempts: int = 1
    landed: int = 0
    """Bytes handed to the system by tasks that are over, and not counted yet."""
    landed_again: int = 0
    """How many of `landed` were not sent for the first time."""
    offered: RangeSet = field(default_factory=RangeSet)
    """Bytes handed to the system by tasks that are over."""
    held_bytes: int | None = None
    """What the server held when it last said so."""
    grown_to: int | None = None
    is_dropped: bool = False

    def begin(self, lane: int, task: Task) -> Flight:
        before = RangeSet()
        if task.where is not None:
            before = self.held.within(task.where)
            for sent in self.offered.within(task.where):
                before = before.add(sent)
        flight = Flight(task, self.learned, self.uncertain, before)
        self.flights[lane] = flight
        return flight

    def end(self, lane: int) -> None:
        flight = self.flights.pop(lane, None)
        if flight is None or flight.task.where is None or not flight.sent:
            return
        start = flight.task.where.start
        gone = ByteRange(start, start + flight.sent)
        self.landed += flight.sent
        self.landed_again += flight.before.within(gone).total
        self.offered = self.offered.add(gone)

    def doubt(self, lane: int) -> None:
        """Take the bytes of *lane*'s broken request for neither sent nor missing."""
        flight = self.flights.get(lane)
        if flight is not None and flight.sent and flight.task.where is not None:
            self.uncertain = self.uncertain.add(flight.task.where)

    def is_doing(self, *kinds: Kind) -> bool:
        return any(flight.task.kind in kinds for flight in self.flights.values())

    def front(self) -> int:
        """Return the least offset at which a lane reads now: behind it nobody reads again."""
        return min(
            (
                flight.task.where.start + flight.sent
                for flight in tuple(self.flights.values())
                if flight.task.where is not None
            ),
            default=self.identity.length,
        )

    @property
    def in_flight(self) -> int:
        return sum(flight.sent for flight in tuple(self.flights.values()))

    @property
    def left_in_flight(self) -> int:
        return sum(
            flight.task.where.length - flight.sent
            for flight in tuple(self.flights.values())
            if flight.task.where is not None
        )

    def learn_status(self, status: UploadStatus, flight: Flight) -> int:
        """Take over what the server says of the upload; as `learn`."""
        self.max_request_bytes = status.limits.max_request_bytes
        self.direct_part_bytes = status.limits.direct_part_bytes or None
        self.is_closed = status.state in {"verifying", "publishing", "complete"}
        return self.learn(status.received, flight)

    def learn(self, received: RangeSet, flight: Flight | None = None) -> int:
        """Take over what the server holds; return how many bytes more that is than before.

        Args:
            flight: the task whose answer this is. If the server has answered others since it began,
                this answer may be older than theirs: it adds to what is known and takes nothing away.
                A status request makes an end of broken requests before it is answered, so what was
                in doubt when it left is in doubt no more.
        """
        length = self.identity.length
        held = received.within(ByteRange(0, length)) if length else RangeSet()
        if self.received is not None and flight is not None and flight.knew != self.learned:
            for one in self.received:
                held = held.add(one)
        if flight is not None and flight.task.kind is not Kind.SEND:
            for settled in flight.doubted:
                self.uncertain = self.uncertain.remove(settled)
        before = held.total if self.held_bytes is None else self.held_bytes
        if self.grown_to is None:
            self.grown_to = held.total
        self.received = held
        self.held_bytes = held.total
        self.learned += 1
        return max(0, held.total - before)

    def learn_missing(self, missing: RangeSet | None) -> None:
        """Take over what an error said is missing.

        A list that is as long as it may get was perhaps cut off; then the server is asked.
        """
        if missing is None or len(missing) >= MAX_MISSING_RANGES or self.flights:
            self.received = None
            return
        held = RangeSet()
        if self.identity.length:
            held = held.add(ByteRange(0, self.identity.length))
        for gap in missing:
            held = held.remove(gap)
        self.learn(held)

    def wanted(self) -> RangeSet:
        """Return what no lane sends and no doubt covers: missing bytes, and those to be replaced."""
        wanted = self.held.missing(self.identity.length)
        for found in self.to_replace:
            wanted = wanted.add(found)
        for doubtful in self.uncertain:
            wanted = wanted.remove(doubtful)
        for flight in self.flights.values():
            if flight.task.where is not None:
                wanted = wanted.remove(flight.task.where)
        return wanted

    @property
    def held(self) -> RangeSet:
        return RangeSet() if self.received is None else self.received

    def has_grown(self) -> bool:
        """Return whether the server holds more than at the last call."""
        held = self.held_bytes or 0
        grown_to = self.grown_to or 0
        self.grown_to = max(held, grown_to)
        return held > grown_to

    def begin_repair(self) -> None:
        """Start over with the digest, and compare blocks from the first."""
        self.digest = RunningDigest()
        self.next_block = 0
        self.to_replace = RangeSet()
        self.received = None
        self.is_closed = False
        self.repairs += 1

    @property
    def counts(self) -> tuple[int, int]:
        """Bytes sent and resent since the last `take_counts`."""
        return self.landed, self.landed_again

    def take_counts(self) -> tuple[int, int]:
        """Return the `counts`, and begin them anew: they are written down."""
        counts = self.counts
        self.landed = self.landed_again = 0
        return counts


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of work of one lane: what is done, and with what."""

    recording: Recording
    source: Source
    """Its file, whose identity has been compared just now."""
    progress: UploadProgress
    flight: Flight
