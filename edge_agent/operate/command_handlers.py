"""What each command does: one handler, whatever brought it, MQTT, the server or a person at the device.

Each may be run again after a power cut in the middle of it, and comes to the same end: the answer of the
second time says what is so, not what it did. What a handler cannot do it says in a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from edge_agent.base.errors import AgentError, StoreError
from edge_agent.core.command import Command
from edge_agent.core.recording import Recording
from edge_agent.core.schedule import URGENT, URGENT_METERED
from edge_agent.core.upload import State
from edge_agent.media import retry
from edge_agent.send.rules.link_policy import WORK
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_LOOK_AGAIN_S = 5.0
ARRIVED = (State.VERIFIED, State.KEPT, State.RELEASED)
_MANY = 500
"""So many recordings are moved while who asked waits; more of them are moved by the worker."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command."""

    message: str
    result: Mapping[str, Any] = field(default_factory=dict)
    status: str = "done"
    """``accepted``: not at its end; the handler is called again."""
    code: str = "ok"
    again_s: float = _LOOK_AGAIN_S


class CommandFailedError(AgentError):
    """A command that was begun and cannot be done; the text says why and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Handler:
    """Of one command."""

    do: Callable[[Command], Outcome]
    """Raises `AgentError` where it cannot."""
    is_long: Callable[[], bool] = _never
    """Whether it takes so long that nobody should wait for it."""


Handlers = Mapping[str, Handler]


class Steering(Protocol):
    """What steers sending."""

    def pause(
        self, paused: bool, *, for_s: float | None = None, reason: str | None = None
    ) -> None: ...

    def obey(self) -> None: ...


class NobodySends:
    """Where no agent runs: what is written down is what the next one goes by."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def pause(self, paused: bool, *, for_s: float | None = None, reason: str | None = None) -> None:
        """Write it down."""
        orders = self._store.orders
        orders.pause(for_s=for_s, reason=reason) if paused else orders.resume()

    def obey(self) -> None:
        """Nobody is there to do it."""


def carry_out(handlers: Handlers, command: Command) -> Outcome:
    """Do *command*, which one of *handlers* knows; never raises."""
    try:
        return handlers[command.cmd].do(command)
    except CommandFailedError as error:
        return Outcome(str(error), status="failed", code=error.code)
    except StoreError as error:
        return Outcome(str(error), status="failed", code="store")
    except AgentError as error:
        return Outcome(str(error), status="failed", code="failed")
    except Exception:
        log.exception("command.broke", cmd=command.cmd)
        message = "this agent has a fault; its log (command.broke) names it: keep it and report it"
        return Outcome(message, status="failed", code="fault")


class SendingHandlers:
    """Of sending as a whole.

    Args:
        announce: has everything told anew to whoever listens.
    """

    def __init__(
        self,
        store: Store,
        sending: Steering,
        *,
        wake_watcher: Callable[[], None],
        announce: Callable[[], None],
    ) -> None:
        self._store = store
        self._sending = sending
        self._wake_watcher = wake_watcher
        self._announce = announce

    def handlers(self) -> dict[str, Handler]:
        return {
            "pause": Handler(self._pause),
            "resume": Handler(self._resume),
            "set_bandwidth": Handler(self._set_bandwidth),
            "rescan": Handler(self._rescan),
            "report": Handler(self._report),
            "hold": Handler(self._hold),
            "release": Handler(self._release),
        }

    def _pause(self, command: Command) -> Outcome:
        for_s = command.args.get("for_s")
        self._sending.pause(True, for_s=for_s, reason=command.args.get("reason"))
        until = "until somebody resumes" if for_s is None else f"for {for_s} s"
        return Outcome(f"nothing is sent {until}", {"paused": True, "for_s": for_s})

    def _resume(self, _command: Command) -> Outcome:
        self._sending.pause(False)
        message = "sending goes on"
        if self._store.orders.held() is not None:
            message = 'but sending is held: "edge-agent release" goes on'
        return Outcome(message, {"paused": False})

    def _hold(self, command: Command) -> Outcome:
        for_s = command.args.get("for_s")
        self._store.orders.hold(**command.args)
        self._sending.obey()
        until = 'until "edge-agent release"' if for_s is None else f"for {for_s} s"
        return Outcome(f"held: nothing is sent {until}", {"held": True, "for_s": for_s})

    def _release(self, _command: Command) -> Outcome:
        was_held = self._store.orders.held() is not None
        self._store.orders.release()
        self._sending.obey()
        message = "released: sending goes on" if was_held else "no command holds anything"
        return Outcome(message, {"held": False})

    def _set_bandwidth(self, command: Command) -> Outcome:
        limit, for_s = command.args["limit_bytes_per_s"], command.args.get("for_s")
        self._store.orders.set_limit(limit, for_s=for_s)
        self._sending.obey()
        said = "no limit beside the configured ones" if limit is None else f"{limit} bytes/s"
        how_long = "" if for_s is None else f" for {for_s} s"
        return Outcome(said + how_long, {"limit_bytes_per_s": limit, "for_s": for_s})

    def _rescan(self, _command: Command) -> Outcome:
        self._wake_watcher()
        return Outcome("what is watched is looked through now")

    def _report(self, _command: Command) -> Outcome:
        self._announce()
        return Outcome("everything is told anew")


class RecordingHandlers:
    """Of single recordings, which are named by their `file_id`."""

    def __init__(
        self, store: Store, sending: Steering, *, wake_watcher: Callable[[], None]
    ) -> None:
        self._store = store
        self._sending = sending
        self._wake_watcher = wake_watcher

    def handlers(self) -> dict[str, Handler]:
        return {
            "retry": Handler(self._retry),
            "retry_failed": Handler(self._retry_failed, is_long=self._have_many_failed),
            "set_priority": Handler(self._set_priority),
            "upload_now": Handler(self._upload_now),
        }

    def find(self, command: Command) -> Recording:
        """Return the recording that *command* names.

        Raises:
            CommandFailedError: there is none.
        """
        file_id = command.args["file_id"]
        found = self._store.get(file_id)
        if found is None:
            message = (
                f"no recording has the file_id {file_id}: it may be forgotten since it was sent"
            )
            raise CommandFailedError("unknown_file", message)
        return found

    def _retry(self, command: Command) -> Outcome:
        found = self.find(command)
        if found.state is not State.FAILED:
            return Outcome(f"it has not failed: it is {found.state}", {"retried": 0, "away": 0})
        done = retry.retry_named(self._store, [found.id])
        self._wake_watcher()
        message = "it is tried again" if done.retried else _AWAY
        return Outcome(message, {"retried": done.retried, "away": done.away})

    def _have_many_failed(self) -> bool:
        return self._store.counts.by_state().get(State.FAILED, (0, 0))[0] > _MANY

    def _retry_failed(self, _command: Command) -> Outcome:
        done = retry.retry_all(self._store)
        self._wake_watcher()
        message = f"{done.retried} tried again"
        if done.away:
            message += f"; of {done.away} the file is not there, or not readable"
        return Outcome(message, {"retried": done.retried, "away": done.away})

    def _upload_now(self, command: Command) -> Outcome:
        found = self.find(command)
        if found.receipt is not None and found.state in ARRIVED:
            result = {"state": str(found.state), "published_as": found.published_as}
            return Outcome("the server holds it already", result)
        if found.state is State.OVERWRITTEN:
            message = "its recorder has deleted it, before it was sent: there is nothing to send"
            raise CommandFailedError("source_missing", message)
        urgency = URGENT_METERED if command.args.get("metered") else URGENT
        self._store.choose_priority(found, urgency)
        if found.state is State.FAILED and not retry.retry(self._store, [found]).retried:
            raise CommandFailedError("source_missing", _AWAY)
        self._wake_watcher()
        self._sending.obey()
        message = "it goes first"
        if found.state not in WORK:
            message += ", once nobody writes to it any more"
        if self._store.orders.paused() is not None:
            message += "; but sending is paused: resume"
        elif self._store.orders.held() is not None:
            message += "; but sending is held: release"
        return Outcome(message, {"state": str(found.state), "published_as": None})

    def _set_priority(self, command: Command) -> Outcome:
        found, priority = self.find(command), command.args["priority"]
        self._store.choose_priority(found, priority)
        self._sending.obey()
        return Outcome(f"its priority is {priority}", {"priority": priority})


_AWAY = "its file is not there, or not readable: it goes on by itself when it is"
