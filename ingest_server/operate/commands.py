"""What the commands of an operator have in common: what they work on, and how they are registered."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from typing import TypeAlias

from ingest_server.assembly.command_data import CommandData

Parser = argparse.ArgumentParser
Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What ``add_subparsers`` returns."""


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
