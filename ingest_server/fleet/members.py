"""The devices of the fleet in memory: what was said last, and what of it is to be written down."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from edge_host.clock import rfc3339
from ingest_server.fleet import presence as by_time
from ingest_server.fleet import rows
from ingest_server.fleet.comparing import NOTHING, Missing
from ingest_server.fleet.contest import Contest
from ingest_server.fleet.history import MINUTE_S, History, Sample
from ingest_server.fleet.inflow import Inflow, TokenBucket
from ingest_server.fleet.presence import NEVER, OFFLINE, ONLINE
from ingest_server.fleet.rows import Build, DeviceStanding, build_of, standing_of
from ingest_server.fleet.sent import Sent
from ingest_server.fleet.settings import FleetSettings
from ingest_server.fleet.stuck import Seen, Stuck, stuck
from ingest_server.fleet.values import inner, number, text, texts, version, whole
from ingest_server.storage.interface import CommandRecord, HoldsStanding, KnownDevice, Samples

WANTED = ("info", "state", "files")
"""Documents that a device tells when it is asked to."""
MOST_A_MINUTE = 10
"""Commands that a device takes over one way; it refuses those above."""


@dataclass(slots=True)
class Member:
    """One device. Only `FleetService` changes it, under its lock."""

    device: str
    history: History
    standing: DeviceStanding = field(default_factory=DeviceStanding)
    build: Build = field(default_factory=Build)
    presence: str = NEVER
    last_seen: str | None = None
    next_by: str | None = None
    is_heard_here: bool = False
    """Whether the two before this are by the clock of this run of this server."""
    heard_s: float | None = None
    """By the clock that never goes back; None: never of a report."""
    heard_at_s: float | None = None
    """By the time that the server has run in all: over restarts."""
    next_s: float = 60.0
    boot_id: str = ""
    run_id: str = ""
    contest: Contest = field(default_factory=Contest)
    seq: int = -1
    through: int = 0
    via: list[str] = field(default_factory=list)
    is_gone: bool = False
    """It said goodbye, or its broker said that it is lost."""
    sent: Sent = field(default_factory=Sent)
    moved_s: float | None = None
    """When what it says of its progress last moved."""
    lacks: set[str] = field(default_factory=lambda: set(WANTED))
    """What this run of the server has not got of the device's run: asked for with the next answer."""
    waiting: list[CommandRecord] = field(default_factory=list)
    answered_s: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_A_MINUTE))
    """When it answered the last commands, each for the first time, by the clock that never goes back."""
    given: dict[str, None] = field(default_factory=dict)
    """Ids of commands that this run of the server knows of."""
    desired: Mapping[str, Any] | None = None
    reported_version: int = 0
    holds: HoldsStanding | None = None
    is_missing_here: bool = False
    missing: Missing = NOTHING
    """What it holds that is safe here according to it alone, when that was last compared."""
    held: Any = None
    """How far the list of what it holds was when another server over the same store took of it last."""
    is_to_compare: bool = True
    compared_s: float = float("-inf")
    said_s: float = 0.0
    """When anything of this was said last, by the clock of the store; so for each document."""
    state_s: float = 0.0
    info_s: float = 0.0
    shown: float | None = None
    """The availability that its row shows."""
    told: tuple[str, ...] = ()
    """What people were told of it and still holds."""
    stuck: Stuck | None = None
    """As its row shows it."""
    reports: TokenBucket = field(default_factory=lambda: TokenBucket(30, 1.0))
    """Over HTTP: whoever comes more often is told to come back."""
    inflow: Inflow = field(default_factory=Inflow)
    """Over a broker: nobody can be told there."""

    def tell_times(self, now: datetime, now_s: float) -> None:
        """Tell when it was heard of, and when it speaks again, by the wall clock of now."""
        heard = now - timedelta(seconds=now_s - (now_s if self.heard_s is None else self.heard_s))
        self.last_seen = rfc3339(heard)
        self.next_by = None if self.is_gone else rfc3339(heard + timedelta(seconds=self.next_s))

    def stand(self, standing: DeviceStanding, now_s: float) -> None:
        """Take what the device says of itself now."""
        if self.moved_s is None or standing.progress != self.standing.progress:
            self.moved_s = now_s
        self.sent.tell(standing.bytes_sent, now_s)
        self.standing = standing

    def presence_at(self, now_s: float) -> str:
        if self.heard_s is None:
            return NEVER
        return OFFLINE if self.is_gone else by_time.presence(now_s - self.heard_s, self.next_s)

    def stuck_at(self, now_s: float, rules: FleetSettings) -> Stuck | None:
        if self.heard_s is None:
            return None
        seen = Seen(
            self.presence_at(now_s),
            now_s - self.heard_s,
            now_s - (self.heard_s if self.moved_s is None else self.moved_s),
            self.is_missing_here,
            self.missing,
        )
        return stuck(self.standing, seen, rules)

    def row(self) -> dict[str, Any]:
        return rows.row(
            self.device,
            self.presence,
            self.standing,
            self.build.version,
            via=self.via,
            last_seen=self.last_seen,
            next_by=self.next_by,
            availability=self.shown,
            is_stuck=self.stuck is not None,
            notices=self.told,
        )

    def sampled(self, at_s: int, now_s: float) -> list[Samples]:
        """Take down the minute that ends at *at_s*; return the runs that are to be written."""
        if self.heard_s is None:
            return []
        is_online = self.presence_at(now_s) == ONLINE
        counted, told = self.sent.take(), self.standing.rate_bytes_per_s if is_online else None
        sample = Sample(
            (told or 0) if counted is None else counted,
            self.standing.pending_bytes,
            1.0 if is_online else 0.0,
        )
        return self.history.note(at_s - MINUTE_S, sample)

    def facts(self, heard_s: float | None = None) -> bytes:
        """Return what is written of the device beside its documents.

        Args:
            heard_s: when it was heard of, by the clock of a store that others share.
        """
        return json.dumps(
            {
                "last_seen": self.last_seen,
                "next_s": self.next_s,
                "heard_at_s": self.heard_at_s,
                "boot_id": self.boot_id,
                "run_id": self.run_id,
                "seq": self.seq,
                "through": self.through,
                "via": self.via,
                "presence": self.presence,
                "reported_version": self.reported_version,
                "next_by": self.next_by,
                "is_gone": self.is_gone,
                "heard_s": heard_s,
                "lacks": sorted(self.lacks),
                "holds": None if self.holds is None else [self.holds.epoch, self.holds.through],
            }
        ).encode("ascii")

    def resume(self, known: KnownDevice, now: datetime, now_s: float) -> None:
        """Go on with what was written before: the time that the server was off counts for nobody."""
        facts = _read(known.facts)
        self.last_seen = text(facts.get("last_seen"), 40)
        self.next_s = float(facts.get("next_s") or 60.0)
        heard_at_s = number(facts.get("heard_at_s"))
        self.heard_at_s = None if heard_at_s is None else float(heard_at_s)
        self.boot_id = text(facts.get("boot_id")) or ""
        self.run_id = text(facts.get("run_id")) or ""
        self.seq = whole(facts.get("seq")) or 0
        self.through = whole(facts.get("through")) or 0
        self.via = [one for one in ("server", "mqtt") if one in (facts.get("via") or ())]
        self.presence = text(facts.get("presence"), 16) or NEVER
        self.reported_version = version(facts.get("reported_version")) or 0
        if self.presence != NEVER:
            self.heard_s = now_s
        self.is_gone = self.presence == OFFLINE
        if self.heard_s is not None and not self.is_gone:
            latest = rfc3339(now + timedelta(seconds=self.next_s))
            told = text(facts.get("next_by"), 40) or latest
            # It speaks again when it said, or soon where this server was away then.
            self.next_by = told if rfc3339(now) < told < latest else latest
        if known.state is not None:
            self.standing = standing_of(_read(known.state))
        if known.info is not None:
            self.build = build_of(_read(known.info))
        if known.desired is not None:
            self.desired = _read(known.desired)

    def take_over(self, known: KnownDevice, here_s: Callable[[float], float], now_s: float) -> bool:
        """Take what another server over the same store has heard later than this one.

        Args:
            here_s: tells the time by the clock here from that of the store.

        Returns:
            Whether anything of it is new.
        """
        desired = None if known.desired is None else _read(known.desired)
        is_new = desired != self.desired
        self.desired = desired
        if known.said_s > self.said_s:
            self._take_facts(_read(known.facts), here_s)
            self.said_s, is_new = known.said_s, True
        if known.state is not None and known.state_s > self.state_s:
            self.stand(standing_of(_read(known.state)), now_s)
            self.state_s, is_new = known.state_s, True
        if known.info is not None and known.info_s > self.info_s:
            self.build, self.info_s = build_of(_read(known.info)), known.info_s
            is_new = True
        return is_new

    def _take_facts(self, facts: Mapping[str, Any], here_s: Callable[[float], float]) -> None:
        run_id = text(facts.get("run_id")) or ""
        through = whole(facts.get("through")) or 0
        lacks = set(texts(facts.get("lacks"), len(WANTED)))
        if run_id == self.run_id:
            through, lacks = max(through, self.through), lacks & self.lacks
        self.run_id, self.through, self.lacks = run_id, through, lacks
        self.boot_id = text(facts.get("boot_id")) or ""
        self.seq = whole(facts.get("seq")) or 0
        self.last_seen = text(facts.get("last_seen"), 40)
        self.next_by = text(facts.get("next_by"), 40)
        self.next_s = float(number(facts.get("next_s")) or 60.0)
        self.is_heard_here = False
        self.via = [one for one in ("server", "mqtt") if one in (facts.get("via") or ())]
        self.is_gone = facts.get("is_gone") is True
        self.reported_version = version(facts.get("reported_version")) or 0
        heard_s, heard_at_s = number(facts.get("heard_s")), number(facts.get("heard_at_s"))
        self.heard_s = None if heard_s is None else here_s(float(heard_s))
        self.heard_at_s = None if heard_at_s is None else float(heard_at_s)
        holds = facts.get("holds")
        if holds is not None and holds != self.held:
            self.held, self.is_to_compare = holds, True


def _read(body: bytes) -> Mapping[str, Any]:
    try:
        return inner(json.loads(body))
    except ValueError:
        return {}
