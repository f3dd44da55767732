"""What both programs raise when a person has to mend something."""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration cannot be used; each of `problems` is one sentence with its source."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
