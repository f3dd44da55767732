"""What one report says: looked up, and compared with what the server has already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.errors import ReportRefusedError, StoreError
from edge_agent.base.helper import only_helps
from edge_agent.base.reasons import ProblemCode
from edge_agent.core.report_pace import Doing
from edge_agent.core.upload import PENDING, State
from edge_agent.report import payloads
from edge_agent.report.command_port import Ack, CommandPort, Via
from edge_agent.report.server.document import (
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    MAX_ROWS,
    Draft,
    KnownParts,
    file_rows,
    fitting,
    gist_of_files,
    gist_of_state,
)
from edge_agent.report.server.holds import AfterRefusal, HoldsTelling
from edge_agent.report.server.part_trial import PartTrial, Verdict
from edge_agent.store.outbox import OutboxEvent
from edge_agent.store.recordings import Store

log = structlog.get_logger(__name__)

VIA: Final[Via] = "server"
_RENEW_S = 3500.0
"""A state that has not changed is told again after so long: its small figures have moved."""
_LISTS = frozenset({"acks", "events"})
_ALL_OF_THEM = 5
"""Entries of a list that are refused one after the other: whoever does so takes none of that kind."""
_METERED_FILES_S = 1800.0
"""Between two lists of files over a metered link: each is as long as ten states."""


@dataclass(slots=True)
class Look:
    """What is found at one look."""

    draft: Draft
    doing: Doing
    parts: dict[str, object] = field(default_factory=dict)
    """Of what is in the draft: its gist, by name."""
    acks: list[Ack] = field(default_factory=list)
    events: list[OutboxEvent] = field(default_factory=list)
    asks_holds: bool = False
    has_more: bool = False
    """There is more to tell than has room."""
    is_news: bool = False

    def names(self) -> list[str]:
        """Return the parts that are in it, of a list one for each entry."""
        holds = ["holds"] if self.asks_holds else []
        return [*self.parts, *holds, *["acks"] * len(self.acks), *["events"] * len(self.events)]


class ReportParts:
    """Finds what there is to tell; used by one thread.

    Raises:
        StoreError: the state cannot be made, for the database cannot be read.
    """

    def __init__(
        self,
        store: Store,
        activity: Activity,
        *,
        device_id: str,
        snapshot: Callable[[], Mapping[str, Any]],
        info: Callable[[], Mapping[str, Any]],
        port: CommandPort | None = None,
        carries_events: bool = False,
    ) -> None:
        """Join the parts.

        Args:
            snapshot, info: make the ``state`` and the ``info`` document.
            port: takes the commands that come back; None: nobody does.
            carries_events: there is no broker, so events leave the outbox this way.
        """
        self.outbox = store.outbox
        self.port = port
        self._store = store
        self._activity = activity
        self._device_id = device_id
        self._snapshot = snapshot
        self._info = info
        self._carries_events = carries_events
        self._has_set_aside = carries_events
        self._left_out_acks: set[str] = set()
        self._said: set[str] = set()
        self._in_a_row: Counter[str] = Counter()
        """How many entries of a list were refused since one of it was taken."""
        self.told = KnownParts()
        self.trial = PartTrial()
        self.holds = HoldsTelling(store.changes, device_id)

    def has_answers(self) -> bool:
        """Return whether somebody waits for what a command or a wanted setting came to: not for progress."""
        if self.port is None:
            return False
        reported = self.port.reported()
        is_news = reported is not None and self._is_news("reported", reported)
        return is_news or any(one.status != "accepted" for one in self._acks(self.port))

    def _acks(self, port: CommandPort) -> list[Ack]:
        return [one for one in port.acks(VIA) if one.id not in self._left_out_acks]

    def _is_news(self, part: str, gist: object) -> bool:
        return self.trial.may_have(part) and self.told.is_news(part, gist)

    def look(self, head: Mapping[str, Any], now_s: float) -> Look:
        """Return what a report with *head* would say."""
        state = self._snapshot()
        doing = Doing(
            is_busy=state["current"] is not None,
            is_metered=bool(state["link"]["metered"]),
        )
        look = Look(Draft({**head, "clock": state["clock"]}), doing)
        with only_helps("acknowledgements to the server", instead="they are told later"):
            self._add_acks(look)
        self._add_state(look, state, now_s)
        self._add_part(look, "info", self._info())
        if self.port is not None and (reported := self.port.reported()) is not None:
            self._add_part(look, "reported", reported)
        try:
            self._add_files(look, doing, now_s)
            if self._carries_events and self.trial.may_have("events"):
                self._add_events(look)
            if self.holds.is_asked and self.trial.may_have("holds"):
                here = self.holds.standing()
                standing = {"epoch": here.epoch, "through": here.through}
                look.asks_holds = look.draft.add("holds", standing)
        except StoreError as error:
            log.warning("report.incomplete", error=str(error))
        return look

    def taken(self, look: Look, run: str | None) -> bool:
        """Say that *look* was taken by the *run* of a server; return whether that may take more now."""
        for part in look.names():
            self._in_a_row.pop(part, None)
        may_holds = self.holds.met(run)
        may_more = self.trial.taken(run)
        if may_more:
            self._left_out_acks.clear()
            self._said.clear()
            self._has_set_aside = self._carries_events
        return may_more or may_holds

    def contested(self, is_contested: bool) -> None:
        """Say whether the server sees two agents that report as this device."""
        if self._activity.problem(ProblemCode.DUPLICATE_ID, is_contested, by=VIA) and is_contested:
            log.error("report.contested", device_id=self._device_id)

    def refused(self, look: Look, error: ReportRefusedError) -> bool:
        """Find out what of *look* is refused, and leave that out; False: the report as such is."""
        names = look.names()
        verdict = self.trial.refused(names)
        if verdict is Verdict.PART:
            self._leave_out(look, names[0], error)
        return verdict is not Verdict.WHOLE

    def _leave_out(self, look: Look, part: str, error: ReportRefusedError) -> None:
        if part == "events":
            with only_helps("an event that is refused", instead="it is told once more"):
                self.outbox.settle({look.events[0].seq: "refused by the server"})
        elif part == "acks":
            self._left_out_acks.add(look.acks[0].id)
        self._in_a_row[part] += 1
        if part not in _LISTS or self._in_a_row[part] >= _ALL_OF_THEM:
            self.trial.leave_out(part)
        self._say_refused(part, error)

    def holds_refused(self, error: ReportRefusedError, now_s: float) -> None:
        """Take that the server refuses what the device holds: a shorter run, or none, is told next."""
        match self.holds.refused(now_s):
            case AfterRefusal.SHORTER:
                log.debug("holds.refused", error=str(error))
            case AfterRefusal.ONE_LEFT_OUT:
                self._say_refused("holds: one recording", error)
            case AfterRefusal.NO_MORE:
                self._say_refused("holds: all recordings", error)

    def _say_refused(self, part: str, error: ReportRefusedError) -> None:
        if part not in self._said:
            log.warning(
                "report.part_refused",
                part=part,
                error=str(error),
                detail="the server does not see this of the device, or what it was before; all else is told",
                action="look for the newer version of agent and server; once either was started anew it is"
                " told again",
            )
        self._said.add(part)

    def _add_acks(self, look: Look) -> None:
        if self.port is None or not self.trial.may_have("acks"):
            return
        acks = self._acks(self.port)[: 1 if self.trial.is_seeking else None]
        taken = look.draft.add_list("acks", (one.document for one in acks))
        look.acks = acks[:taken]
        look.has_more |= taken < len(acks)
        look.is_news |= taken > 0

    def _add_state(self, look: Look, state: Mapping[str, Any], now_s: float) -> None:
        gist = gist_of_state(state)
        if not self.trial.may_have("state"):
            return
        is_news = self.told.is_news("state", gist)
        if (is_news or self.told.age_s("state", now_s) >= _RENEW_S) and look.draft.add(
            "state", fitting(state)
        ):
            look.parts["state"] = gist
            look.is_news |= is_news

    def _add_part(self, look: Look, part: str, document: Mapping[str, Any]) -> None:
        if self._is_news(part, document) and look.draft.add(part, document):
            look.parts[part] = document
            look.is_news = True

    def _add_files(self, look: Look, doing: Doing, now_s: float) -> None:
        if doing.is_metered and self.told.age_s("files", now_s) < _METERED_FILES_S:
            return
        view = self._activity.view()
        files = {
            "pending": file_rows(self._store.due(*PENDING, limit=MAX_ROWS), view),
            "failed": file_rows(self._store.latest(State.FAILED, limit=MAX_ROWS), view),
        }
        gist = gist_of_files(files)
        if self._is_news("files", gist) and look.draft.add("files", files):
            look.parts["files"] = gist
            look.is_news = True

    def _add_events(self, look: Look) -> None:
        if self._has_set_aside:
            self.outbox.retry_refused()
            self._has_set_aside = False
        most = 1 if self.trial.is_seeking else MAX_EVENTS
        waiting = self.outbox.undelivered(limit=most)
        documents = [payloads.cloud_event(one, self._device_id) for one in waiting]
        long = {
            one.seq: "too long for a report"
            for one, document in zip(waiting, documents, strict=True)
            if len(payloads.encode(document)) > MAX_EVENT_BYTES
        }
        if long:  # they would hold up all behind them
            self.outbox.settle(long)
            self._add_events(look)
            return
        taken = look.draft.add_list("events", documents)
        look.events = waiting[:taken]
        look.has_more |= len(waiting) == most or taken < len(waiting)
        look.is_news |= taken > 0
