"""An option that names a file or folder does not take an empty word for the folder that somebody stands in."""

import argparse
from pathlib import Path

import pytest

from edge_agent import cli as agent
from ingest_server import cli as server

PARSERS = [agent.command_parser, server.command_parser]


def actions(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in set(action.choices.values()):
                yield from actions(below)
        else:
            yield action


@pytest.mark.parametrize("parser", PARSERS)
def test_every_option_for_a_path_refuses_an_empty_one(parser):
    taken = []
    for action in actions(parser()):
        try:
            found = action.type("") if callable(action.type) else None
        except (argparse.ArgumentTypeError, ValueError):
            continue
        if isinstance(found, Path):
            taken.append(action.option_strings or action.dest)

    assert taken == []


@pytest.mark.parametrize(
    ("main", "given"),
    [
        (server.main, ["check", "--data-dir", ""]),
        (server.main, ["setup", "--data-dir", "", "--show"]),
        (agent.main, ["setup", "--folder", "", "--show"]),
        (agent.main, ["status", "--config", ""]),
    ],
)
def test_an_empty_path_is_a_sentence(main, given, capsys):
    with pytest.raises(SystemExit) as ended:
        main(given)

    assert ended.value.code == 2
    assert f"argument {given[1]}: it is empty, and no path: leave it out" in capsys.readouterr().err
