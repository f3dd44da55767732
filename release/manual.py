"""Manual pages and the completion of shells, from the parsers of the programs, for the packages.

`python -m release.manual FOLDER` writes them where a Debian looks for them, below FOLDER.
"""

from __future__ import annotations

import argparse
import gzip
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import shtab

from release import roff

PROGRAMS = {"agent": "edge-agent", "server": "ingest-server"}
_MODULES = {"agent": "edge_agent.cli", "server": "ingest_server.cli"}
_ABOUT = {
    "agent": "send recordings from this device to an ingest server",
    "server": "take recordings from devices, verify and publish them",
}
_FILES = {
    "agent": (
        ("/etc/edge-uploader/agent.toml", "the configuration, where --config names no other"),
        ("/var/lib/edge-agent/", "what the agent remembers; no recording"),
    ),
    "server": (
        ("/etc/edge-uploader/server.toml", "the configuration, where --config names no other"),
        ("/var/lib/edge-uploader/server/published/", "the verified recordings"),
    ),
}
_WHERE = {
    "bash": "usr/share/bash-completion/completions/{program}",
    "zsh": "usr/share/zsh/vendor-completions/_{program}",
    "fish": "usr/share/fish/vendor_completions.d/{program}.fish",
}
"""Shell -> where it looks for a program's completion."""

_COMPLETED = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}


def _parser(side: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = import_module(_MODULES[side]).command_parser()
    return parser


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from _parsers(one)


def page(side: str) -> str:
    """Return the manual page of a side's program, for ``man``, of the day of ``SOURCE_DATE_EPOCH``."""
    os.environ["COLUMNS"] = "78"  # argparse asks it how wide a line is
    program = PROGRAMS[side]
    day = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC).date()
    head = f'.TH {roff.escaped(program.upper())} 1 "{roff.escaped(str(day))}" "Edge uploader"\n'
    name = f".SH NAME\n{roff.escaped(program)} \\- {roff.escaped(_ABOUT[side])}\n"
    files = "".join(
        f".TP\n.I {roff.escaped(path)}\n{roff.escaped(what)}\n" for path, what in _FILES[side]
    )
    other = next(one for one in PROGRAMS.values() if one != program)
    text = f"{head}{name}{roff.sections(_parser(side))}.SH FILES\n{files}"
    return f"{text}.SH SEE ALSO\n.BR {roff.escaped(other)} (1)\n"


def completion(side: str, shell: str) -> str:
    """Return what makes *shell* complete the commands and options of a side's program."""
    parser = _parser(side)
    for one in _parsers(parser):
        for action in one._actions:
            if isinstance(action.metavar, str) and action.metavar in _COMPLETED:
                action.complete = _COMPLETED[action.metavar]  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)


def put(side: str, root: Path, epoch: str) -> None:
    """Write both below *root*, where a Debian looks for them; the page is of the day of *epoch*."""
    os.environ["SOURCE_DATE_EPOCH"] = epoch
    program = PROGRAMS[side]
    texts = {
        where.format(program=program): completion(side, shell).encode()
        for shell, where in _WHERE.items()
    }
    texts[f"usr/share/man/man1/{program}.1.gz"] = gzip.compress(page(side).encode(), mtime=0)
    for where, text in texts.items():
        path = root / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m release.manual", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for each in PROGRAMS:
        put(each, folder, os.environ.get("SOURCE_DATE_EPOCH", "0"))
