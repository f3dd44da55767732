"""What the commands of an operator have in common: what they work on, and how they are registered."""

from __future__ import annotations

import argparse
import threading
from abc import ABC, abstractmethod
from typing import TypeAlias

from ingest_server.assembly.command_data import CommandData

Parser = argparse.ArgumentParser
Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What ``add_subparsers`` returns."""

LOOK_S = 1.0
"""Between two looks at what became of something, where a command waits for it."""

_pause = threading.Event()
"""Never set: Ctrl-C ends a wait for it."""


class Commands(ABC):
    """The commands of one subject. They work beside a running server, and at once.

    Args:
        data: opens what the options name.
    """

    def __init__(self, data: CommandData) -> None:
        self._data = data
        self._config = data.config
        self._complain = data.complain

    @abstractmethod
    def add_parsers(self, commands: Parsers, common: Parser) -> None:
        """Add what can be called to *commands*, each with the options *common* to all."""


def wait_for_news() -> None:
    """Wait between two looks; Ctrl-C ends it."""
    _pause.wait(LOOK_S)
