"""Recordings that somebody far away wants now: found, put before all others, and followed until they are there.

Which ones a command found is written down before any of them is put first, so that after a power cut it
goes on with the same ones; how far they are is looked up each time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from edge_agent.base.activity import Activity
from edge_agent.core.command import Command
from edge_agent.core.schedule import URGENT, URGENT_METERED
from edge_agent.core.upload import PENDING, State
from edge_agent.media import retry
from edge_agent.operate.command_handlers import (
    ARRIVED,
    CommandFailedError,
    Handler,
    Outcome,
    Steering,
)
from edge_agent.report.waiting import reason_of
from edge_agent.store.holdings import Holding
from edge_agent.store.recordings import Store
from upload_protocol.fetch_query import FetchQuery

USUAL_LIMIT = 100
_NOTE = "fetch."
_LOOK_AGAIN_S = 10.0
_NAMED = 20
"""Of what has arrived, so many are named in the answer."""
_WANTED = (*PENDING, State.FAILED, *ARRIVED)


class FetchHandler:
    """Of one agent."""

    def __init__(
        self,
        store: Store,
        activity: Activity,
        sending: Steering,
        *,
        wake_watcher: Callable[[], None],
    ) -> None:
        self._store = store
        self._activity = activity
        self._sending = sending
        self._wake_watcher = wake_watcher

    def handlers(self) -> dict[str, Handler]:
        return {"fetch": Handler(self._fetch, is_long=lambda: True)}

    def _fetch(self, command: Command) -> Outcome:
        note = _NOTE + command.id
        chosen = self._store.notes.get(note)
        if chosen is None:
            self._tidy()
            chosen = self._choose(command)
            self._store.notes.put(note, chosen)
        if not chosen["is_first"]:
            self._put_first(chosen["ids"], is_metered=bool(command.args.get("metered")))
            chosen = {**chosen, "is_first": True}
            self._store.notes.put(note, chosen)
        return self._standing(chosen)

    def _tidy(self) -> None:
        """Forget what earlier commands found.

        Not sooner: one whose last answer a power cut or a full disk kept from being written is executed
        again, and would choose others.
        """
        for note in self._store.notes.named(_NOTE):
            known = self._store.commands.find(note.removeprefix(_NOTE))
            if known is None or known.is_final:
                self._store.notes.put(note, None)

    def _choose(self, command: Command) -> dict[str, Any]:
        query = FetchQuery.parse(command.args["query"])
        limit = command.args.get("limit") or USUAL_LIMIT
        count = pending = missing = 0

        def fitting() -> Any:
            nonlocal count, pending, missing
            between = self._store.holdings.between(_WANTED, _ns(query.since), _ns(query.until))
            for one in between:
                if query.fits(one.folder, one.name):
                    count += 1
                    pending += one.state in PENDING
                    missing += one.state not in ARRIVED
                    yield (_rank(one.state), one.mtime_ns, one.seq, one.id)

        chosen = heapq.nlargest(limit, fitting())
        if not chosen:
            message = "this device has no recording that fits: its name and the time when it was written count"
            raise CommandFailedError("unknown_file", message)
        ids = [one[-1] for one in chosen]
        counts = {"count": count, "pending": pending, "missing": missing}
        return {"ids": ids, **counts, "is_first": False}

    def _put_first(self, ids: Sequence[str], *, is_metered: bool) -> None:
        standing = self._store.holdings.standing(ids)
        waiting = [one.id for one in standing if one.state not in ARRIVED]
        self._store.holdings.want_now(waiting, URGENT_METERED if is_metered else URGENT)
        failed = [self._store.get(one.id) for one in standing if one.state is State.FAILED]
        retry.retry(self._store, [one for one in failed if one is not None])
        self._wake_watcher()
        self._sending.obey()

    def _standing(self, chosen: Mapping[str, Any]) -> Outcome:
        ids = chosen["ids"]
        standing = self._store.holdings.standing(ids)
        there = [one for one in standing if one.state in ARRIVED]
        waiting = [one for one in standing if one.state in PENDING]
        failed = [one for one in standing if one.state is State.FAILED]
        result = {
            "fitting": chosen["count"],
            "wanted": len(ids),
            "arrived": len(there),
            "failed": len(failed),
            "gone": len(ids) - len(there) - len(waiting) - len(failed),
            "bytes": sum(one.length for one in standing),
            "bytes_arrived": sum(one.length for one in there),
            "files": [self._said(one) for one in there[:_NAMED]],
        }
        message = f"{len(there)} of {len(ids)} have arrived"
        if len(ids) < chosen["count"]:
            message += f" (the newest of {chosen['count']} that fit, what was not there first"
            # While these wait the same again takes these, and so it does of what failed where nothing else waits.
            left = chosen.get("pending" if failed else "missing", 0)
            is_more = not waiting and left > len(ids)
            message += "; the same again takes the next)" if is_more else ")"
        if waiting:
            return Outcome(
                message + self._why(waiting), result, status="accepted", again_s=_LOOK_AGAIN_S
            )
        if not failed and not result["gone"]:
            return Outcome(message, result)
        message += self._lost(failed, result["gone"])
        if there:
            return Outcome(message, result)
        return Outcome(message, result, status="failed", code=self._code(failed))

    def _code(self, failed: Sequence[Holding]) -> str:
        """Return why nothing arrives: because it is not there, or for another reason, which the message has."""
        found = [self._store.get(one.id) for one in failed]
        is_there = any(one is not None and one.problem != "source-missing" for one in found)
        return "not_sent" if is_there else "source_missing"

    def _lost(self, failed: Sequence[Holding], gone: int) -> str:
        """Return why not all of it arrives, with the words of the first that failed."""
        said = ""
        if failed:
            first = self._store.get(failed[0].id)
            said = f"; {len(failed)} failed, {failed[0].name}"
            if first is not None and first.problem is not None:
                said += f" ({first.problem})" + (f": {first.detail}" if first.detail else "")
        return said if not gone else f"{said}; {gone} of them are not on the device any more"

    def _why(self, waiting: Sequence[Holding]) -> str:
        """Return why the first of *waiting* waits, where it does."""
        first = self._store.get(min(waiting, key=lambda one: one.seq).id)
        if first is None:
            return ""
        wait = reason_of(first, self._activity.view())
        return "" if wait is None else f"; {first.name} waits ({wait.reason}): {wait.detail}"

    def _said(self, one: Holding) -> dict[str, Any]:
        found = self._store.get(one.id)
        published_as = None if found is None else found.published_as
        return {"file_id": one.id, "name": one.name, "published_as": published_as}


def _rank(state: State) -> int:
    """What is there takes the place of nothing that is not, and what failed of nothing that has not been tried."""
    return 0 if state in ARRIVED else 1 if state is State.FAILED else 2


def _ns(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp()) * 10**9
