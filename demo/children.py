"""Programs that the launcher starts: their logs, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_LEASH = Path(__file__).with_name("leash.py")


class Child:
    """One program, in a process group of its own, its output in one log file.

    Its own group, because Ctrl-C goes to the terminal's whole group, and the agent should be able to
    say good-bye to a broker that is still there. Start children from the main thread only: the kernel
    ends them when the *thread* that started them ends.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], log: Path, *, is_first: bool = True
    ) -> None:
        self.name = name
        self.log = log
        with log.open("wb" if is_first else "ab") as output:
            self._process = subprocess.Popen(
                # -I -S: nothing of the user's surroundings, and a start in milliseconds.
                [sys.executable, "-I", "-S", _LEASH, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id, for people."""
        return self._process.pid

    def ended(self) -> int | None:
        """Return the exit code (negative: the signal), None while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """Send SIGTERM; no effect when it has ended."""
        if self.ended() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        if self.ended() is None:
            self._process.kill()
        self._process.wait()

    def stop(self, timeout_s: float) -> bool:
        """Ask, wait *timeout_s*, then kill; return whether asking was enough."""
        self.ask_to_stop()
        return self.ends_within(timeout_s)

    def ends_within(self, timeout_s: float) -> bool:
        """Wait *timeout_s*, then kill; return whether waiting was enough."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def last_lines(self, count: int = 15) -> list[str]:
        """Return the end of its log."""
        try:
            text = self.log.read_bytes()[-16384:].decode("utf-8", "replace")
        except OSError as error:
            return [f"(no log: {error})"]
        return text.splitlines()[-count:]


def stop_all(children: Sequence[tuple[Child, float]]) -> list[str]:
    """Stop children, each within its seconds from now; return the names of those that were killed.

    The first one, which says good-bye to the others, and then those together. What it does not take is
    theirs: the end of a server that is asked nothing takes a second, and several on a busy machine.
    """
    began_s, killed = time.monotonic(), []
    for together in (children[:1], children[1:]):
        for child, _ in together:
            child.ask_to_stop()
        for child, within_s in together:
            if not child.ends_within(max(0.0, began_s + within_s - time.monotonic())):
                killed.append(child.name)
    return killed
