"""What the person in front of the demo sees: lines, and below them one live line."""

from __future__ import annotations

import os
import shutil
import sys
import time

from demo.story import Line

_PLAIN_STEP = 10.0
"""Without a terminal, progress is a line of its own each so many percent."""


class Screen:
    """Standard output; live where it is a terminal, plain lines where it is not."""

    def __init__(self) -> None:
        self._is_live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._live = ""
        self.is_gone = False
        """Whether whoever read it has gone: the terminal was closed, or `| head` has enough."""
        self._told_percent = 0.0

    def say(self, text: str = "") -> None:
        """Print text as it is, above the live line."""
        self._erase()
        self._print(f"{text}\n")
        self._draw()

    def tell(self, line: Line) -> None:
        """Print one thing that happened."""
        self.say(f"{time.strftime('%H:%M:%S')}  {line.verb:<10} {line.text}")

    def progress(self, text: str | None, percent: float | None) -> None:
        """Show how far the file that is being sent has come; None: nothing is being sent."""
        if text is None or percent is None:
            self._told_percent = 0.0
        if self._is_live:
            self._erase()
            self._live = f"          {text}" if text else ""
            self._draw()
        elif text and percent is not None and percent >= self._told_percent + _PLAIN_STEP:
            self._told_percent = percent
            self.tell(Line("", text))

    def _erase(self) -> None:
        if self._live:
            self._print("\r\x1b[K")

    def _draw(self) -> None:
        if self._live:
            shown = cut(self._live, shutil.get_terminal_size().columns - 1)
            self._print(shown)

    def _print(self, text: str) -> None:
        try:
            print(text, end="", flush=True)
        except OSError:
            self.is_gone = True
            # What is left in Python's own memory is written at the end, and fails there once more.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def cut(text: str, width: int) -> str:
    """Return as many whole parts of *text*, between commas, as fit; the first in any case, cut where it must be."""
    if len(text) > width:
        text = text[: width + 1].rpartition(",")[0] or text
    return text[:width]
