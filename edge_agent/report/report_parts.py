"""What one report says: looked up, and compared with what the server has already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from edge_agent.base.activity import Activity
from edge_agent.base.errors import StoreError
from edge_agent.base.helper import only_helps
from edge_agent.core.report_pace import Doing
from edge_agent.core.upload import PENDING, State
from edge_agent.report import payloads
from edge_agent.report.command_port import Ack, CommandPort, Via
from edge_agent.report.holds import HoldsTelling
from edge_agent.report.report_document import (
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    MAX_ROWS,
    Draft,
    Told,
    file_rows,
    fitting,
    gist_of_files,
    gist_of_state,
)
from edge_agent.store.outbox import OutboxEvent
from edge_agent.store.recordings import Store

log = structlog.get_logger(__name__)

VIA: Final[Via] = "server"
_RENEW_S = 3500.0
"""A state that has not changed is told again after so long: its small figures have moved."""
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
    has_more: bool = False
    """There is more to tell than has room."""
    is_news: bool = False


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
        port: CommandPort | None,
        carries_events: bool,
    ) -> None:
        self._store = store
        self._activity = activity
        self._device_id = device_id
        self._snapshot = snapshot
        self._info = info
        self._port = port
        self._carries_events = carries_events
        self._has_set_aside = carries_events
        self.told = Told()
        self.holds = HoldsTelling(store.changes, device_id)

    def has_answers(self) -> bool:
        """Return whether somebody waits for what a command or a wanted setting came to: not for progress."""
        if self._port is None:
            return False
        reported = self._port.reported()
        is_news = reported is not None and self.told.is_news("reported", reported)
        return is_news or any(one.status != "accepted" for one in self._port.acks(VIA))

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
        if self._port is not None and (reported := self._port.reported()) is not None:
            self._add_part(look, "reported", reported)
        try:
            self._add_files(look, doing, now_s)
            if self._carries_events:
                self._add_events(look)
            if self.holds.is_asked:
                here = self.holds.standing()
                look.draft.add("holds", {"epoch": here.epoch, "through": here.through})
        except StoreError as error:
            log.warning("report.incomplete", error=str(error))
        return look

    def _add_acks(self, look: Look) -> None:
        if self._port is None:
            return
        acks = self._port.acks(VIA)
        taken = look.draft.add_list("acks", (one.document for one in acks))
        look.acks = acks[:taken]
        look.has_more |= taken < len(acks)
        look.is_news |= taken > 0

    def _add_state(self, look: Look, state: Mapping[str, Any], now_s: float) -> None:
        gist = gist_of_state(state)
        is_news = self.told.is_news("state", gist)
        if (is_news or self.told.age_s("state", now_s) >= _RENEW_S) and look.draft.add(
            "state", fitting(state)
        ):
            look.parts["state"] = gist
            look.is_news |= is_news

    def _add_part(self, look: Look, part: str, document: Mapping[str, Any]) -> None:
        if self.told.is_news(part, document) and look.draft.add(part, document):
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
        if self.told.is_news("files", gist) and look.draft.add("files", files):
            look.parts["files"] = gist
            look.is_news = True

    def _add_events(self, look: Look) -> None:
        if self._has_set_aside:
            self._store.outbox.retry_refused()
            self._has_set_aside = False
        waiting = self._store.outbox.undelivered(limit=MAX_EVENTS)
        documents = [payloads.cloud_event(one, self._device_id) for one in waiting]
        long = {
            one.seq: "too long for a report"
            for one, document in zip(waiting, documents, strict=True)
            if len(payloads.encode(document)) > MAX_EVENT_BYTES
        }
        if long:  # they would hold up all behind them
            self._store.outbox.settle(long)
            self._add_events(look)
            return
        taken = look.draft.add_list("events", documents)
        look.events = waiting[:taken]
        look.has_more |= len(waiting) == MAX_EVENTS or taken < len(waiting)
        look.is_news |= taken > 0
