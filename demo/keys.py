"""Single keys of whoever sits at the terminal, where there is one, without waiting for Enter."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from types import TracebackType
from typing import Any, Self


class Keys:
    """Use in a ``with`` block: the terminal is afterwards as it was. Elsewhere there are no keys."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._before: list[Any] = []

    @property
    def are_read(self) -> bool:
        """Whether there is a terminal, and it listens to us."""
        return self._descriptor is not None

    def __enter__(self) -> Self:
        try:
            descriptor = sys.stdin.fileno()
            self._before = termios.tcgetattr(descriptor)
            if _is_ours(descriptor):
                tty.setcbreak(descriptor, termios.TCSADRAIN)
                self._descriptor = descriptor
        except (OSError, ValueError, termios.error):
            pass  # no terminal, or none that may be asked: `make cut` does it, too
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            if _is_ours(descriptor):
                termios.tcsetattr(descriptor, termios.TCSADRAIN, self._before)
        except (OSError, termios.error):
            pass  # the terminal went away

    def pressed(self) -> str:
        """Return the keys since the last call."""
        if self._descriptor is None:
            return ""
        try:
            # In the background a read would stop this process.
            if not _is_ours(self._descriptor):
                return ""
            if not termios.tcgetattr(self._descriptor)[3] & termios.ICANON:
                pass
            else:  # back from the background: the shell has set what it likes
                tty.setcbreak(self._descriptor, termios.TCSADRAIN)
            if not select.select([self._descriptor], [], [], 0)[0]:
                return ""
            found = os.read(self._descriptor, 64)
        except (OSError, termios.error):
            found = b""
        if not found:
            self._descriptor = None  # it went away
        return found.decode("ascii", "replace")


def _is_ours(descriptor: int) -> bool:
    """Return whether this process is in the foreground there."""
    return os.tcgetpgrp(descriptor) == os.getpgrp()
