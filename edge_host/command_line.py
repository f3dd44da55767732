"""The frame of a program's commands: exit codes, errors as sentences, a pipe that nobody reads any more."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_host import journal
from edge_host.terminal import plain

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_CONFIG = 0, 1, 2, 78
"""Done (SIGTERM too), failed, wrong usage (argparse's own), wrong configuration (EX_CONFIG)."""

_EXIT_INTERRUPTED = 130

say: Callable[[str], object] | None = None
"""What takes sentences in place of standard error, once each line there is to be one of the log."""


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
    prepare: Callable[[], object]
    """Called before each command, once it is known what is meant."""

    def run(self, parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
        """Run the command that *argv* names, whose parser has set `command`; return the exit code."""
        options = _parsed(parser, argv)
        command: Callable[[argparse.Namespace], int] = options.command
        self.prepare()
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
        if say is not None:
            say(sentence)
            return
        line = plain(f"{self.name}: {sentence}")
        print(
            journal.marked(line, "error") if journal.is_behind(sys.stderr) else line,
            file=sys.stderr,
        )


def given_path(text: str) -> Path:
    """Return the path that an option names: its `type`.

    Raises:
        argparse.ArgumentTypeError: it is empty, as `"$UNSET"` is; a `Path` of that is the folder one stands in.
    """
    if not text:
        raise argparse.ArgumentTypeError("it is empty, and no path: leave it out")
    return Path(text)


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what *argv* means; what is wrong with it is said for people, and an error in the journal."""
    if not journal.is_behind(sys.stderr):
        return parser.parse_args(argv)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parser.parse_args(argv)
    finally:
        if text := said.getvalue().rstrip("\n"):
            print(journal.marked(text, "error"), file=sys.stderr)
