"""How many columns of a terminal a text takes, and what fits into them.

A character is not a column: a Chinese one or a picture takes two, a mark upon a letter takes none.
"""

from __future__ import annotations

import os
from typing import TextIO
from unicodedata import category, east_asian_width


def terminal_size(out: TextIO) -> tuple[int, int] | None:
    """Return columns and lines of the terminal that *out* is; None: it is none."""
    if not out.isatty():
        return None
    try:
        columns, lines = os.get_terminal_size(out.fileno())
    except OSError:
        return 80, 24
    return columns or 80, lines or 24  # a serial console does not know its size and says 0


def columns(text: str) -> int:
    """Return how many columns *text*, one line, takes."""
    return len(text) if text.isascii() else sum(map(_of, text))


def _of(one: str) -> int:
    if category(one) in {"Mn", "Me"}:
        return 0
    return 2 if east_asian_width(one) in "WF" else 1


def padded(text: str, width: int) -> str:
    """Return *text* with spaces up to *width* columns."""
    return text + " " * (width - columns(text))


def fitting(text: str, width: int) -> str:
    """Return as much of the beginning of *text* as fits; no letter loses its marks."""
    taken = 0
    for at, one in enumerate(text):
        taken += _of(one)
        if taken > width:
            return text[:at]
    return text


def shortened(text: str, width: int) -> str:
    """Return *text* with its middle left out: its beginning and its end tell it from others."""
    if columns(text) <= width:
        return text
    half = (width - 3) // 2
    at = len(text)
    while at and columns(text[at - 1 :]) <= half:
        at -= 1
    while at < len(text) and not _of(text[at]):
        at += 1
    return f"{fitting(text, half)}...{text[at:]}"


def wrapped(text: str, width: int, *, first: str = "", rest: str = "") -> list[str]:
    """Return *text* in lines of at most *width* columns, which begin with *first*, and then with *rest*.

    A line ends between two words; one that fits no line is cut.
    """
    lines: list[str] = []
    line, is_begun = first, False
    for word in text.split(" "):
        joined = f"{line} {word}" if is_begun else line + word
        if columns(joined) <= width:
            line, is_begun = joined, True
            continue
        if not word:
            continue  # of two spaces, where a line ends
        if is_begun:
            lines.append(line.rstrip())
            line = rest
        while columns(line + word) > width:
            part = fitting(word, width - columns(line)) or word[0]
            lines.append(line + part)
            line, word = rest, word[len(part) :]  # noqa: PLW2901 # what is left of it
        line, is_begun = line + word, True
    return [*lines, line.rstrip()]
