"""What a transport of commands sees of whoever decides them: the seam of MQTT, the server and the desk.

Bytes go in as they came, documents come out as they are to be told. Nothing here knows a transport, and
no transport decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Via = Literal["mqtt", "server"]
"""The way that brought a command, and that its acknowledgement goes back."""


@dataclass(frozen=True, slots=True)
class Ack:
    """One acknowledgement that is to be told over one way."""

    id: str
    """Of the command."""
    status: str
    document: Mapping[str, Any]
    """All of it, for JSON; `id` and `status` are in it, too."""
    key: int = 0
    """Tells it from another acknowledgement of the same command; `CommandPort.told` needs it."""


class CommandPort(Protocol):
    """Takes commands and wanted settings; safe to use from several threads, and never raises."""

    on_change: Callable[[], None]
    """Called from any thread when `acks` or `reported` may say something new; must return at once."""

    def take(
        self, raw: bytes, via: Via, *, is_retained: bool = False, now_s: float | None = None
    ) -> None:
        """Decide, store durably, then execute or refuse one command; its ack is in `acks` afterwards.

        Args:
            raw: the message as it came.
            via: what brought it.
            is_retained: the broker kept it for whoever comes: such a command is never executed.
            now_s: seconds of the epoch by the clock of whoever brought it (the server's answer says
                its own time); None: this device's clock is what expiry is compared with.
        """

    def acks(self, via: Via, limit: int = 20) -> list[Ack]:
        """Return what is not told yet over *via*, oldest first; nothing when it cannot be read."""

    def told(self, via: Via, acks: Iterable[Ack]) -> None:
        """Have *acks* left out of `acks` from now on; durable on return, else they come again."""

    def desire(self, raw: bytes, via: Via) -> None:
        """Take a document of wanted settings; `reported` says what became of it."""

    def reported(self) -> dict[str, Any] | None:
        """Return the settings in force and what the last wanted ones came to; None: nobody wanted any."""
