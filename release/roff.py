"""A parser of arguments as a manual page (man(7)): a section for all, a subsection for each command."""

from __future__ import annotations

import argparse
from collections.abc import Iterator


def escaped(text: str) -> str:
    """Return *text* so that roff shows it as it is: hyphens that can be copied, and no line is a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in {".", "'"} else line for line in text.split("\n"))


def sections(parser: argparse.ArgumentParser) -> str:
    """Return SYNOPSIS, DESCRIPTION, OPTIONS and COMMANDS of *parser*."""
    parts = [".SH SYNOPSIS\n", _usage(parser)]
    if parser.description:
        parts += [".SH DESCRIPTION\n", escaped(_described(parser)), "\n"]
    parts += [".SH OPTIONS\n", *_options(parser)]
    commands = list(_commands(parser))
    if commands:
        parts.append(".SH COMMANDS\n")
    for name, about, command in commands:
        parts += [f".SS {escaped(name)}\n", escaped(_described(command) or about), "\n.PP\n"]
        parts += [_usage(command), *_options(command)]
    return "".join(parts)


def _usage(parser: argparse.ArgumentParser) -> str:
    usage = parser.format_usage().removeprefix("usage: ").rstrip("\n")
    return f".nf\n{escaped(usage)}\n.fi\n"  # its lines stay as they are


def _described(parser: argparse.ArgumentParser) -> str:
    return " ".join((parser.description or "").replace("%(prog)s", parser.prog).split())


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        shown = [
            action
            for action in group._group_actions
            if not isinstance(action, argparse._SubParsersAction)
            and action.help is not argparse.SUPPRESS
        ]
        if shown and group.title not in {"options", "positional arguments"}:
            yield f".PP\n{escaped(str(group.title))}\n"
        for action in shown:
            invoked = formatter._format_action_invocation(action)
            told = formatter._expand_help(action) if action.help else ""
            yield f".TP\n.B {escaped(invoked)}\n{escaped(' '.join(told.split()))}\n"


def _commands(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Yield the whole name, the line of help and the parser of each command, those of commands, too."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        about = {one.dest: one.help or "" for one in action._choices_actions}
        for name, command in action.choices.items():
            if name in about:  # else it is not for people
                yield command.prog, about[name], command
                yield from _commands(command)
