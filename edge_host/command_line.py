"""The frame of a program's commands: exit codes, errors as sentences, a pipe that nobody reads any more."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge_host.terminal import plain

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_CONFIG = 0, 1, 2, 78
"""Done (SIGTERM too), failed, wrong usage (argparse's own), wrong configuration (EX_CONFIG)."""

_EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Program:
    """What one program's commands have in common."""

    name: str
    exit_codes: Mapping[type[Exception], int]
    """Errors that are sentences for a person, a line each; the first class that fits counts."""
    libraries: frozenset[str]
    """What its optional dependencies bring."""
    missing: str
    """What is said where ``{library}``, one of those, is not there."""

    def run(self, parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
        """Run the command that *argv* names, whose parser has set `command`; return the exit code."""
        options = parser.parse_args(argv)
        command: Callable[[argparse.Namespace], int] = options.command
        try:
            return command(options)
        except tuple(self.exit_codes) as error:
            for sentence in str(error).split("\n"):
                self.complain(sentence)
            return next(code for kind, code in self.exit_codes.items() if isinstance(error, kind))
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in self.libraries:
                raise
            self.complain(self.missing.format(library=error.name))
            return EXIT_FAILED
        except BrokenPipeError:  # `edge-agent status | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return EXIT_FAILED
        except KeyboardInterrupt:
            return _EXIT_INTERRUPTED

    def complain(self, sentence: str) -> None:
        print(plain(f"{self.name}: {sentence}"), file=sys.stderr)
