"""What services of this machine say over D-Bus, asked through ``busctl``, which comes with systemd.

A program that can be killed when they hang, and no library for a few questions.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from typing import IO, cast

_PATIENCE_S = 2
_KILLED_S = 4.0
_MOST_BYTES = 8 * 1024 * 1024
"""Of an answer; fifty access points have 60 kB."""

_PROGRAM = ("busctl", "--system", "--json=short", f"--timeout={_PATIENCE_S}")


def ask(question: Sequence[str]) -> bytes | None:
    """Return the answer, as JSON; None: there is none in time, or it is more than can be held.

    Args:
        question: what follows the options of ``busctl``, and further options.

    Raises:
        FileNotFoundError: it is not installed.
        OSError: it cannot be started.
    """
    with subprocess.Popen(
        [*_PROGRAM, *question],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        killer = threading.Timer(_KILLED_S, child.kill)
        try:
            killer.start()
            said = cast(IO[bytes], child.stdout).read(_MOST_BYTES + 1)
            if len(said) > _MOST_BYTES:
                child.kill()
            return None if child.wait() else said
        finally:
            child.kill()  # does nothing to one that has ended
            killer.cancel()
