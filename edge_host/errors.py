"""What both programs raise when a person has to mend something."""

from __future__ import annotations

import re

_LONG_WORD = re.compile(r"(\S{100})\S{200,}(\S{20})")


class ConfigError(Exception):
    """The configuration cannot be used; each of `problems` is one sentence with its source."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = [_readable(one) for one in problems]
        super().__init__("\n".join(self.problems))


def _readable(sentence: str) -> str:
    """Return *sentence* without the middle of a word that nobody reads: a value that somebody pasted."""
    return _LONG_WORD.sub(r"\1...\2", sentence)
