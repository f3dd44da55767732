"""Text for a terminal: what others have said is shown, and does nothing there."""

from __future__ import annotations


def plain(text: str) -> str:
    r"""Return *text* as one line without control characters, each shown as its escape, as ``\x1b``.

    A server's sentence or path may hold whatever it likes (law L7): to clear the screen, to move text
    about, to look like our next line.
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )
