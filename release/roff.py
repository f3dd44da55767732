"""A parser of arguments as a manual page (man(7)): a section for all, a subsection for each command."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator

_MOST = "Most commands take these. The lines of each command say which of them it takes."

_Option = tuple[str, str]
"""The heading above an option, if it has one, and its entry."""


def escaped(text: str) -> str:
    """Return *text* so that roff shows it as it is: hyphens that can be copied, and no line is a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in {".", "'"} else line for line in text.split("\n"))


def sections(parser: argparse.ArgumentParser) -> str:
    """Return SYNOPSIS, DESCRIPTION, OPTIONS, COMMON OPTIONS and COMMANDS of *parser*."""
    parts = [".SH SYNOPSIS\n", _usage(parser)]
    if parser.description:
        parts += [".SH DESCRIPTION\n", escaped(_described(parser)), "\n"]
    parts += [".SH OPTIONS\n", _listed(_options(parser))]
    commands = list(_commands(parser))
    common = _common([command for _, _, command in commands])
    if common:
        parts += [f".SH COMMON OPTIONS\n{_MOST}\n.PP\n", _listed(common)]
    if commands:
        parts.append(".SH COMMANDS\n")
    for name, about, command in commands:
        parts += [f".SS {escaped(name)}\n", escaped(_described(command) or about), "\n.PP\n"]
        own = [option for option in _options(command) if option not in common]
        parts += [_usage(command), _listed(own)]
    return "".join(parts)


def _common(commands: list[argparse.ArgumentParser]) -> list[_Option]:
    """Return what more than half of *commands* take, with the same words, in the order of the first one."""
    counted = Counter(option for command in commands for option in _options(command))
    return [option for option, count in counted.items() if 2 * count > len(commands)]


def _listed(options: Iterable[_Option]) -> str:
    parts, last = [], ""
    for title, entry in options:
        if title and title != last:
            parts.append(f".PP\n{escaped(title)}:\n")
        parts.append(entry)
        last = title
    return "".join(parts)


def _usage(parser: argparse.ArgumentParser) -> str:
    usage = parser.format_usage().removeprefix("usage: ").rstrip("\n")
    return f".nf\n{escaped(usage)}\n.fi\n"  # its lines stay as they are


def _described(parser: argparse.ArgumentParser) -> str:
    return " ".join((parser.description or "").replace("%(prog)s", parser.prog).split())


def _options(parser: argparse.ArgumentParser) -> Iterator[_Option]:
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        title = str(group.title)
        for action in group._group_actions:
            if isinstance(action, argparse._SubParsersAction) or action.help is argparse.SUPPRESS:
                continue
            invoked = formatter._format_action_invocation(action)
            told = formatter._expand_help(action) if action.help else ""
            entry = f".TP\n.B {escaped(invoked)}\n{escaped(' '.join(told.split()))}\n"
            yield ("" if title in {"options", "positional arguments"} else title), entry


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
