"""Where commands from far away are decided: checked, written down, executed, acknowledged.

The order of the checks is part of what is promised (docs/commands.md): a command that is retained, out of
form, known, out of time, one too many or not allowed changes nothing, and its sender is told which it was.
What passes is durable before it is executed, and its answer is durable before it is told: a command runs
once, whichever way brings it first, and one that a power cut interrupts is executed at the next start,
before any that came later: of two that contradict each other the later one holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from edge_agent.base.clock import Clock
from edge_agent.base.errors import StoreError
from edge_agent.base.settings import CommandSettings
from edge_agent.core.command import Allowance, Command, Refusal, read_command, refused_time
from edge_agent.operate.command_answers import CommandAnswers
from edge_agent.operate.command_handlers import Handlers, Outcome, carry_out
from edge_agent.operate.wanted_settings import WantedSettings
from edge_agent.report.command_port import Ack, Via
from edge_agent.store.command_log import KEPT_S, Taken
from edge_agent.store.recordings import Store

log = structlog.get_logger()

_A_MINUTE_S = 60.0
_MOST_A_MINUTE = 10
"""Of each way: a flood over one does not shut out an operator who comes by the other."""
_CALM_S = 30.0
_STORE_WAIT_S = 10.0


class CommandDesk:
    """A `report.command_port.CommandPort`, and a worker for what takes long.

    Args:
        interval_s: how often the state is told where nobody wants otherwise.
        wake: has `step` run soon.
        on_orders: called when the orders in the store are others, not by a handler: settings were
            wanted, or the time of one is over.
    """

    def __init__(
        self,
        store: Store,
        handlers: Handlers,
        settings: CommandSettings,
        *,
        clock: Clock,
        boot_id: str,
        interval_s: float = 30.0,
        wake: Callable[[], None] = lambda: None,
        on_orders: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._settings = settings
        self._clock = clock
        self._answers = CommandAnswers(store.commands, clock=clock, boot_id=boot_id)
        self._wake = wake
        self._on_orders = on_orders
        self._wanted = WantedSettings(
            store, settings.settings, clock=clock, interval_s=interval_s, on_applied=on_orders
        )
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        """Held while what takes no long is executed: one at a time, in the order in which it was taken."""
        self._beginning: set[str] = set()
        """Ids of what is not accepted yet, from before it is written down: the worker leaves them alone."""
        self._going_on: str | None = None
        """The id of what the worker executes; changed to one only with `_turn` held."""
        self._allowances: dict[Via, Allowance] = {}
        self._log_lines = Allowance(_MOST_A_MINUTE, _A_MINUTE_S)
        self.on_change: Callable[[], None] = lambda: None

    def reconfigure(self, settings: CommandSettings) -> None:
        """Go by *settings* from the next command on."""
        self._settings = settings
        self._wanted.settable = settings.settings

    @property
    def allowed(self) -> list[str]:
        """The commands that would be executed here."""
        return [one for one in self._settings.allowed if one in self._handlers]

    @property
    def settable(self) -> list[str]:
        """The settings that may be wanted here."""
        return list(self._settings.settings)

    def take(
        self, raw: bytes, via: Via, *, is_retained: bool = False, now_s: float | None = None
    ) -> None:
        """Decide on one command, as `CommandPort.take` says."""
        if is_retained:
            self._tell_log("command.ignored", via=via, detail="it is a retained message")
            return
        read = read_command(raw)
        if isinstance(read, Refusal):
            self._refuse(read, via)
            return
        try:
            with self._lock:
                is_admitted = self._admit(read, via, now_s)
        except StoreError as error:
            self._refuse(_refused(read, "store", f"it cannot be written down: {error}"), via)
            return
        if is_admitted:
            self._begin(read)

    def _admit(self, command: Command, via: Via, now_s: float | None) -> bool:
        """Write *command* down as one to be executed, or answer why it is not."""
        known = self._store.commands.find(command.id)
        if known is not None:
            self._answers.repeat(known, via)
            self.on_change()
            return False
        if now_s is None and self._clock.is_synchronised():
            now_s = self._clock.now_utc().timestamp()
        refusal = refused_time(command, now_s) or self._refused_here(command, via)
        if refusal is None and not self._write_down(command, via):
            refusal = _refused(command, "rate", "too many commands were taken in the last hours")
        if refusal is not None:
            self._refuse(refusal, via)
            return False
        log.info("command.taken", id=command.id, cmd=command.cmd, via=via)
        return True

    def _write_down(self, command: Command, via: Via) -> bool:
        self._beginning.add(command.id)  # the worker may read it the moment it is written
        is_written = False
        try:
            is_written = self._store.commands.add(command, via)
        finally:
            if not is_written:
                self._beginning.discard(command.id)
        return is_written

    def _refused_here(self, command: Command, via: Via) -> Refusal | None:
        allowance = self._allowances.setdefault(via, Allowance(_MOST_A_MINUTE, _A_MINUTE_S))
        if not allowance.take(self._clock.now_s()):
            message = f"more than {_MOST_A_MINUTE} commands in a minute; send it again later"
            return _refused(command, "rate", message)
        if command.cmd not in self._settings.allowed:
            message = f"the owner of this device does not allow {command.cmd}: [commands] allowed"
            return _refused(command, "forbidden", message)
        if command.cmd not in self._handlers:
            return _refused(command, "unsupported", f"this agent cannot {command.cmd}")
        return None

    def _begin(self, command: Command) -> None:
        try:
            is_accepted = self._is_long(command)
            if is_accepted:
                self._answer(command, Outcome("it is under way", status="accepted"))
        except StoreError as error:
            # It is written down, so that `step` executes it and answers then.
            log.warning("command.failed", id=command.id, error=str(error), wait_s=_CALM_S)
            return
        finally:
            self._beginning.discard(command.id)
        if is_accepted:
            self._wake()  # not before: what is beginning is passed over
            return
        try:
            self._do_what_is_short()
        except StoreError as error:
            log.warning("command.failed", error=str(error), wait_s=_CALM_S)

    def _is_long(self, command: Command) -> bool:
        handler = self._handlers.get(command.cmd)
        return handler is not None and handler.is_long()

    def _do_what_is_short(self) -> bool:
        """Execute what is written down and keeps nobody waiting, oldest first; False: as `_do_in_order`."""
        with self._turn:
            return self._do_in_order(lambda _: True)

    def _do_in_order(self, is_meant: Callable[[Command], bool]) -> bool:
        """As `_do_what_is_short`, with the turn held; False: one cannot be answered, and none after it was begun."""
        going_on = self._going_on  # read first: when it is over its row is final
        for one in self._store.commands.unfinished():
            if one.command.id == going_on or self._is_long(one.command):
                continue
            if is_meant(one.command) and self._execute(one) is None:
                return False  # executed once more later, it would undo what came after it
        return True

    def do_here(self, command: Command) -> Outcome:
        """Do what a person at the device says, after what came before it and was interrupted; never raises."""
        try:
            if self._is_long(command):
                return carry_out(self._handlers, command)
            with self._turn:
                if self._do_in_order(lambda one: one.cmd in self._handlers):
                    return carry_out(self._handlers, command)
        except StoreError as error:
            return Outcome(str(error), status="failed", code="store")
        message = "what was to be done before it cannot be written down: the log (command.failed) says why"
        return Outcome(message, status="failed", code="store")

    def _execute(self, one: Taken) -> Outcome | None:
        """Do *one* and answer it; None: its answer cannot be written down, and a later look does it again."""
        try:
            outcome = self._outcome(one)
            self._answer(one.command, outcome, one.ack)
        except StoreError as error:
            facts = {"id": one.command.id, "cmd": one.command.cmd, "error": str(error)}
            log.warning("command.failed", **facts, action="it is executed and answered later")
            return None
        return outcome

    def _answer(
        self, command: Command, outcome: Outcome, before: Mapping[str, Any] | None = None
    ) -> None:
        if self._answers.write(command, outcome, before=before):
            facts = {"id": command.id, "cmd": command.cmd, "status": outcome.status}
            log.info("command.answered", **facts, code=outcome.code, detail=outcome.message)
            self.on_change()

    def _refuse(self, refusal: Refusal, via: Via) -> None:
        facts = {"id": refusal.id, "cmd": refusal.cmd, "code": refusal.code}
        self._tell_log("command.refused", via=via, **facts, detail=refusal.message)
        self._answers.refuse(refusal, via)
        self.on_change()

    def _tell_log(self, event: str, **facts: object) -> None:
        """Log it, unless nonsense comes by the dozen."""
        if self._log_lines.take(self._clock.now_s()):
            log.warning(event, **facts)

    def acks(self, via: Via, limit: int = 20) -> list[Ack]:
        """Return what is not told yet over *via*, as `CommandPort.acks` says."""
        return self._answers.untold(via, limit)

    def told(self, via: Via, acks: Iterable[Ack]) -> None:
        """Have *acks* not told again over *via*."""
        self._answers.told(via, acks)

    def desire(self, raw: bytes, via: Via) -> None:
        """Take a document of wanted settings, as `CommandPort.desire` says."""
        log.debug("settings.came", via=via)
        if self._wanted.desire(raw):
            self.on_change()

    def reported(self) -> dict[str, Any] | None:
        """Return the settings that hold, and what became of the last wanted ones."""
        return self._wanted.reported()

    def step(self, _now_s: float) -> float:
        """Do what takes long and end what is over; return the seconds until the next look."""
        return min(self._tried(part) for part in (self._go_on, self._end_over, self._look))

    def _tried(self, part: Callable[[], float]) -> float:
        """Return what *part* does: on a full disk one of them may fit where another does not."""
        try:
            return part()
        except StoreError as error:
            log.warning("command.failed", error=str(error), wait_s=_STORE_WAIT_S)
            return _STORE_WAIT_S

    def _end_over(self) -> float:
        if over := self._store.orders.end_over():
            log.info("order.ended", orders=over)
            self._on_orders()
            self.on_change()
        return _CALM_S

    def _look(self) -> float:
        if self._wanted.look():
            self.on_change()
        return _CALM_S

    def _go_on(self) -> float:
        """Go on with what has no final answer: what takes long, and what a power cut interrupted."""
        wait_s = _CALM_S if self._do_what_is_short() else _STORE_WAIT_S
        for seen in self._store.commands.unfinished():
            one = self._claim(seen.command.id)
            if one is None:
                continue
            try:
                outcome = self._execute(one)
            finally:
                self._going_on = None
            if outcome is None:
                wait_s = min(wait_s, _STORE_WAIT_S)
            elif outcome.status == "accepted":
                wait_s = min(wait_s, outcome.again_s)
        return wait_s

    def _claim(self, command_id: str) -> Taken | None:
        """Return what takes long as it is now, to be executed by this thread alone; None: it is not to be.

        Those before it took their time: it may be at its end since, and what is short has its turn elsewhere.
        """
        with self._turn:
            if command_id in self._beginning:
                return None
            one = self._store.commands.find(command_id)
            if one is None or one.is_final or not self._is_long(one.command):
                return None
            self._going_on = command_id
            return one

    def _outcome(self, one: Taken) -> Outcome:
        if self._store.running.now_s() - one.taken_s >= KEPT_S:
            message = "not done within a day; what goes on by itself goes on"
            return Outcome(message, status="failed", code="timeout")
        if one.command.cmd not in self._handlers:  # of a version that knew more
            message = f"this agent cannot {one.command.cmd}"
            return Outcome(message, status="failed", code="unsupported")
        return carry_out(self._handlers, one.command)


def _refused(command: Command, code: str, message: str) -> Refusal:
    return Refusal("rejected", code, message, command.id, command.cmd)
