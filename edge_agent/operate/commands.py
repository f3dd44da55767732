"""What a person asks a running agent through the control socket, answered from store and board."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from edge_agent.base.activity import Activity
from edge_agent.base.errors import StoreError
from edge_agent.base.view import View
from edge_agent.core.command import Command, UnfitError, arguments
from edge_agent.core.upload import PENDING, State
from edge_agent.media.announced import Announcement
from edge_agent.media.folders import Folders
from edge_agent.media.handover import hand_over
from edge_agent.operate.announce import announce
from edge_agent.operate.command_handlers import Handlers, Outcome, carry_out
from edge_agent.report.recording_row import DONE, describe
from edge_agent.store.recordings import Store

MAX_PATHS = 10_000

_SHOWN_PENDING, _SHOWN_FAILED, _SHOWN_DONE = 500, 100, 20
_FOLLOW_S = 1.0
"""Longest time between two lines to a follower: it shows that we are there."""


Check = Callable[[Mapping[str, Any], threading.Event], Iterator[object]]
"""Answers ``check``, the last time soon after the event is set."""


class RequestError(Exception):
    """A request that makes no sense, or cannot be done; the text says why."""

    def __init__(self, message: str, code: str = "malformed") -> None:
        super().__init__(message)
        self.code = code


class Commands:
    """Answers requests. Safe to use from several threads."""

    def __init__(
        self,
        store: Store,
        activity: Activity,
        snapshot: Callable[[], dict[str, Any]],
        *,
        folders: Folders,
        wake_watcher: Callable[[], None],
        wake_sender: Callable[[], None] = lambda: None,
        announce: Callable[[Announcement], None] = lambda _: None,
        handlers: Handlers = MappingProxyType({}),
        do: Callable[[Command], Outcome] | None = None,
        check: Check | None = None,
    ) -> None:
        self._store = store
        self._activity = activity
        self._snapshot = snapshot
        self._folders = folders
        self._wake_watcher = wake_watcher
        self._wake_sender = wake_sender
        self._announce = announce
        self._handlers = handlers
        self._carry_out = do or partial(carry_out, handlers)
        self._check = check

    def answer(self, request: Mapping[str, Any], stopping: threading.Event) -> Iterator[object]:
        """Yield the answers to one request, the last one soon after *stopping* is set.

        Raises:
            RequestError: not one of ours, or not in the form that it must have.
        """
        match request.get("do"):
            case "status":
                limits = self._activity.view().limits
                yield {"state": self._snapshot(), "files": self.files(), "limits": limits}
            case "upload":
                paths, now = paths_in(request.get("paths")), request.get("now") is True
                yield from self._upload(paths, stopping, now=now)
            case "finished":
                paths = paths_in(request.get("paths"))
                try:
                    yield from announce(paths, self._folders, self._store, self._announce)
                except StoreError as error:
                    raise RequestError(str(error)) from error
            case "now":
                yield self._now(paths_in(request.get("paths")), request.get("metered") is True)
            case "retry":
                yield self._retry(request.get("ids"))
            case "check" if self._check is not None:
                yield from self._check(request, stopping)
            case str() as what if what in self._handlers:
                args = {key: value for key, value in request.items() if key != "do"}
                outcome = self._do(what, args)
                yield {**outcome.result, "message": outcome.message}
            case _:
                own = ("status", "upload", "finished", "now", "retry", "check")
                known = ", ".join((*own, *self._handlers))
                raise RequestError(f"unknown request: {known} are known")

    def _do(self, cmd: str, args: dict[str, Any]) -> Outcome:
        """Have done what a person at the device says: no time to check, and nothing to allow."""
        try:
            command = Command(f"here-{secrets.token_hex(8)}", cmd, arguments(cmd, args))
            outcome = self._carry_out(command)
        except UnfitError as error:
            raise RequestError(str(error)) from None
        if outcome.status == "failed":
            raise RequestError(outcome.message, outcome.code)
        return outcome

    def files(self) -> list[dict[str, Any]]:
        return list_files(self._store, self._activity.view())

    def _upload(
        self, paths: list[bytes], stopping: threading.Event, *, now: bool
    ) -> Iterator[object]:
        try:
            taken, refused = hand_over(self._store, paths, self._folders, now=now)
        except StoreError as error:
            raise RequestError(str(error)) from error
        self._wake_watcher()
        self._wake_sender()
        yield {"refused": [{"path": one.path, "why": one.why} for one in refused]}
        yield from self.follow([one.id for one in taken], stopping)

    def _now(self, paths: list[bytes], metered: bool) -> dict[str, Any]:
        try:
            taken, refused = hand_over(self._store, paths, self._folders)
        except StoreError as error:
            raise RequestError(str(error)) from error
        if refused:
            raise RequestError(refused[0].why)
        said = [
            self._do("upload_now", {"file_id": one.id, "metered": metered}).message for one in taken
        ]
        return {"message": "; ".join(dict.fromkeys(said))}

    def _retry(self, ids: object) -> dict[str, Any]:
        if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
            raise RequestError('"ids" must be a list of file_id; an empty one means all')
        if not ids:
            return {**self._do("retry_failed", {}).result, "unknown": []}
        retried, away, unknown = 0, 0, []
        for one in dict.fromkeys(ids):
            try:
                done = self._do("retry", {"file_id": one}).result
            except RequestError as error:
                if error.code == "store":
                    raise
                done = {"retried": 0, "away": 0}
            retried, away = retried + done["retried"], away + done["away"]
            if not done["retried"] and not done["away"]:
                unknown.append(one)
        return {"retried": retried, "away": away, "unknown": unknown}

    def follow(self, ids: Iterable[str], stopping: threading.Event) -> Iterator[dict[str, Any]]:
        """Yield how the recordings *ids* are doing, until each is verified or has failed."""
        wanted = list(ids)
        changed = threading.Event()
        unsubscribe = self._activity.subscribe(changed.set)
        try:
            while True:
                changed.clear()
                view = self._activity.view()
                found = [self._store.get(one) for one in wanted]
                rows = [describe(one, view) for one in found if one is not None]
                is_done = all(row["is_done"] or row["state"] == State.FAILED for row in rows)
                yield {
                    "files": rows,
                    "rate_bytes_per_s": view.rate_bytes_per_s,
                    "eta_s": view.eta_s,
                    "done": is_done,
                }
                if is_done or stopping.is_set():
                    return
                stopping.wait(0.1)  # changes come in bursts; ten lines a second are enough
                changed.wait(_FOLLOW_S)
        finally:
            unsubscribe()


def list_files(store: Store, view: View) -> list[dict[str, Any]]:
    """Return the recordings that a person asks about: what waits, what failed, what was done last."""
    return [
        describe(recording, view)
        for recording in (
            *store.in_states(*PENDING, limit=_SHOWN_PENDING),
            *store.latest(State.FAILED, limit=_SHOWN_FAILED)[::-1],
            *store.latest(*DONE, limit=_SHOWN_DONE)[::-1],
        )
    ]


def paths_in(value: object) -> list[bytes]:
    """Return the paths that a request names.

    Raises:
        RequestError: they are none, too many, or not absolute.
    """
    if not isinstance(value, list) or not value or len(value) > MAX_PATHS:
        raise RequestError(f'"paths" must be a list of 1 to {MAX_PATHS} paths')
    paths = []
    for one in value:
        if not isinstance(one, str) or not one.startswith("/") or "\0" in one:
            raise RequestError("each path must be absolute")
        try:
            paths.append(os.fsencode(one))
        except UnicodeEncodeError:
            raise RequestError("a path is no text that stands for a file name") from None
    return paths
