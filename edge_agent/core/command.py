"""Commands as they come from far away: their words, their form, and whether their time is right; pure.

Nothing here names a path, a URL or code: a recording is named by its `file_id`, which is looked up.
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from upload_protocol.fetch_query import FetchQuery

MAX_BYTES = 4096
"""Of a command, and of a document of wanted settings."""
_ANSWERED_BYTES = 64 * 1024
"""A command that is too long, but no longer than this, is read for its id: its sender is told."""
LONGEST_AHEAD_S = 3600.0
"""A command that would be good for longer is refused: it may lie in a queue of somebody's."""
WITHOUT_CLOCK = frozenset({"pause", "resume", "report"})
"""What is obeyed although nobody can say whether it is old: repeated, it does no harm."""
GUARDED = frozenset({"cancel", "upload_log", "reload"})
"""Off until the owner of the device names them in `[commands] allowed`."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_ORDER_S = 30 * 86_400
_MOST_BYTES_PER_S = 10**12


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument: what it is read as, and in words what it must be."""

    read: Callable[[Any], Any]
    """Raises ValueError or TypeError where it is something else."""
    must_be: str
    is_needed: bool = True


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        # A slider of a dashboard says 500000.0, and true is 1 to Python.
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise ValueError
        if not least <= value <= most:
            raise ValueError
        return int(value)

    return read


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _words(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 200:
        raise ValueError
    return value


def is_id(value: object) -> bool:
    """Return whether *value* has the form of an id: of a command, or of a recording."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _id(value: Any) -> Any:
    if not is_id(value):
        raise ValueError
    return value


def _limit(value: Any) -> int | None:
    """Read 0 and null as no limit."""
    return None if value is None else _whole(0, _MOST_BYTES_PER_S)(value) or None


def _query(value: Any) -> Any:
    FetchQuery.parse(value)
    return value


FILE = Arg(_id, "the file_id of a recording, as the agent's state and events name it")
LIMIT = Arg(_limit, f"bytes per second, from 1 to {_MOST_BYTES_PER_S}; 0 or null for no limit")
PAUSED = Arg(_flag, "true or false")
INTERVAL = Arg(_whole(1, 86_400), "seconds, from 1 to 86400")
_FOR = Arg(
    _whole(1, _LONGEST_ORDER_S), f"whole seconds, from 1 to {_LONGEST_ORDER_S}", is_needed=False
)
_REASON = Arg(_words, "1 to 200 printable characters", is_needed=False)
_METERED = Arg(_flag, "true or false", is_needed=False)

VOCABULARY: Mapping[str, Mapping[str, Arg]] = MappingProxyType(
    {
        "pause": {"for_s": _FOR, "reason": _REASON},
        "resume": {},
        "set_bandwidth": {"limit_bytes_per_s": LIMIT, "for_s": _FOR},
        "retry": {"file_id": FILE},
        "retry_failed": {},
        "rescan": {},
        "upload_now": {"file_id": FILE, "metered": _METERED},
        "fetch": {
            "query": Arg(
                _query,
                'an object with "name" (a pattern such as DJI_*.MP4), "from" and "to" (RFC 3339), or some of them; of at'
                ' most 255 characters each, and "from" is before "to"',
            ),
            "metered": _METERED,
            "limit": Arg(_whole(1, 1000), "a whole number from 1 to 1000", is_needed=False),
        },
        "set_priority": {
            "file_id": FILE,
            "priority": Arg(_whole(0, 100), "a whole number from 0 to 100"),
        },
        "report": {},
        "rotate_token": {},
        "cancel": {"file_id": FILE},
        "upload_log": {"lines": Arg(_whole(1, 500), "a whole number from 1 to 500")},
        "reload": {},
    }
)
"""Each command with its arguments."""

AT_DEVICE: Mapping[str, Mapping[str, Arg]] = MappingProxyType(
    {
        "hold": {
            "for_s": _FOR,
            "reason": _REASON,
            "pid": Arg(_whole(1, 2**22), "the number of a process", is_needed=False),
        },
        "release": {},
    }
)
"""What is asked for through the control socket alone: nobody far away knows that a robot is armed."""

SETTINGS: Mapping[str, Arg] = MappingProxyType(
    {"paused": PAUSED, "limit_bytes_per_s": LIMIT, "telemetry_interval_s": INTERVAL}
)
"""What can be wanted of a device for good."""


@dataclass(frozen=True, slots=True)
class Command:
    """One in the right form."""

    id: str
    cmd: str
    args: Mapping[str, Any] = field(default_factory=dict)
    expires_s: float = math.inf
    """Seconds of the epoch; without an end where a person is at the device."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one is not executed: a status and a code for machines, a sentence for people."""

    status: str
    code: str
    message: str
    id: str | None = None
    """None: it says not even that, and nobody can be answered."""
    cmd: str | None = None


class UnfitError(Exception):
    """Words that are no command, or not in its form; the text says which, and what they must be."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def arguments(cmd: str, given: Any) -> dict[str, Any]:
    """Return *given* as the arguments of *cmd*, which is in `VOCABULARY` or `AT_DEVICE`.

    Raises:
        UnfitError: one is lacking, is not known, or is not what it must be.
    """
    known = AT_DEVICE[cmd] if cmd in AT_DEVICE else VOCABULARY[cmd]
    if not isinstance(given, dict):
        raise UnfitError("malformed", "args must be an object")
    if unknown := [name for name in given if name not in known]:
        raise UnfitError("unsupported", f"{cmd} has no argument {unknown[0][:64]!r}")
    for name, one in known.items():
        if one.is_needed and name not in given:
            raise UnfitError("malformed", f"args.{name} is lacking: {one.must_be}")
    return {name: read_one(known[name], f"args.{name}", value) for name, value in given.items()}


def read_one(arg: Arg, name: str, value: Any) -> Any:
    """Return *value* as *arg*.

    Raises:
        UnfitError: it is something else.
    """
    _refuse_twice(name, value)
    if isinstance(value, dict):
        for inner, one in value.items():
            _refuse_twice(f"{inner[:64]!r} in {name}", one)
    try:
        return arg.read(value)
    except (ValueError, TypeError, OverflowError):
        raise UnfitError("malformed", f"{name} must be {arg.must_be}") from None


def parse(raw: bytes, most_bytes: int = MAX_BYTES) -> dict[str, Any] | None:
    """Return the JSON object that *raw* is; None: it is none, or too long."""
    if len(raw) > most_bytes:
        return None
    try:
        found = json.loads(raw, object_pairs_hook=_members)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class _Twice:
    """Stands for a member that is there twice: whoever passed the message on may have read the other one."""


def _refuse_twice(name: str, value: object) -> None:
    if isinstance(value, _Twice):
        raise UnfitError("malformed", f"{name} is there twice")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, of which no reader takes a member that is there twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        found[name] = _Twice() if name in found else value
    return found


def read_command(raw: bytes) -> Command | Refusal:
    """Return the command that *raw* is, or why it is none."""
    document = parse(raw, _ANSWERED_BYTES)
    is_long = len(raw) > MAX_BYTES
    long = f"a command has at most {MAX_BYTES} bytes, this one {len(raw)}"
    if document is None:
        message = long if is_long else "a command is a JSON object"
        return Refusal("rejected", "malformed", message)
    own_id = document.get("id")
    if not isinstance(own_id, str) or not is_id(own_id):
        message = "id must be 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'"
        if isinstance(own_id, _Twice):
            message = "id is there twice"
        return Refusal("rejected", "malformed", message)
    cmd = document.get("cmd")
    said = cmd[:64] if isinstance(cmd, str) and cmd.isprintable() else None
    if is_long:
        return Refusal("rejected", "malformed", long, own_id, said)
    try:
        return _command(own_id, cmd, document)
    except UnfitError as error:
        return Refusal("rejected", error.code, str(error), own_id, said)


def _command(own_id: str, cmd: object, document: Mapping[str, Any]) -> Command:
    for name, value in document.items():
        _refuse_twice(repr(name[:64]), value)
    version = document.get("v")
    if isinstance(version, bool) or version != 1:
        raise UnfitError("unsupported", 'this agent knows commands with "v": 1')
    if not isinstance(cmd, str) or cmd not in VOCABULARY:
        raise UnfitError("unsupported", f"cmd must be one of {', '.join(VOCABULARY)}")
    # What a newer server says beside is passed over: what would mean something in its place is not.
    if misplaced := [name for name in VOCABULARY[cmd] if name in document]:
        raise UnfitError("malformed", f"{misplaced[0]} belongs into args")
    given = document.get("args")
    args = arguments(cmd, {} if given is None else given)
    expires_at = document.get("expires_at")
    if expires_at is None:
        message = "expires_at is lacking: a command says until when it is good, an hour at most"
        raise UnfitError("no_expiry", message)
    expires_s = _moment(expires_at)
    if expires_s is None:
        message = (
            "expires_at must be seconds of the epoch, or a time with its zone, as"
            " 2026-11-28T12:00:00Z"
        )
        raise UnfitError("malformed", message)
    return Command(own_id, cmd, args, expires_s)


def _moment(value: Any) -> float | None:
    """Return the seconds of the epoch that *value* stands for; None: it is no moment."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value) if math.isfinite(value) else None
        except OverflowError:
            return None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return None if moment.tzinfo is None else moment.timestamp()
    except (ValueError, OverflowError):
        return None


def refused_time(command: Command, now_s: float | None) -> Refusal | None:
    """Return why *command* is not to be executed now; None: it may be.

    Args:
        now_s: seconds of the epoch; None: nobody can say.
    """
    if now_s is None:
        if command.cmd in WITHOUT_CLOCK:
            return None
        message = (
            "the clock of this device is not set, so nobody can say whether the command is old;"
            f" until it is, only {', '.join(sorted(WITHOUT_CLOCK))} are obeyed"
        )
        return Refusal("rejected", "clock_unsynced", message, command.id, command.cmd)
    if command.expires_s <= now_s:
        late_s = now_s - command.expires_s
        message = f"it was good until {late_s:.0f} s ago"
        return Refusal("expired", "expired", message, command.id, command.cmd)
    if command.expires_s > now_s + LONGEST_AHEAD_S:
        message = "expires_at is more than an hour ahead"
        return Refusal("rejected", "expiry_too_far", message, command.id, command.cmd)
    return None


class Allowance:
    """So many in so many seconds of the monotonic clock."""

    def __init__(self, most: int, per_s: float) -> None:
        self._per_s = per_s
        self._at_s: deque[float] = deque(maxlen=most)

    def take(self, now_s: float) -> bool:
        """Take one if there is one; return whether there was."""
        is_full = len(self._at_s) == self._at_s.maxlen
        if is_full and now_s - self._at_s[0] < self._per_s:
            return False
        self._at_s.append(now_s)
        return True
