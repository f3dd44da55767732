"""What every command's end has in common: the exit code, and a sentence for a person."""

import argparse
import os
import subprocess
import sys

import pytest

from edge_host.command_line import EXIT_CONFIG, EXIT_DONE, EXIT_FAILED, EXIT_USAGE, Program


class WorkError(Exception):
    pass


class SettingError(WorkError):
    pass


PROGRAM = Program(
    "prog",
    exit_codes={SettingError: EXIT_CONFIG, WorkError: EXIT_FAILED},
    libraries=frozenset({"lib"}),
    missing="{library} is missing",
    prepare=lambda: None,
)


def run(raised: BaseException | None) -> int:
    def command(_options: argparse.Namespace) -> int:
        if raised is not None:
            raise raised
        return EXIT_DONE

    parser = argparse.ArgumentParser()
    parser.set_defaults(command=command)
    return PROGRAM.run(parser, [])


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (None, 0, ""),
        (WorkError("the disk is full"), 1, "prog: the disk is full\n"),
        (SettingError("a is wrong\nb is wrong"), 78, "prog: a is wrong\nprog: b is wrong\n"),
        (ModuleNotFoundError("no", name="lib.part"), 1, "prog: lib.part is missing\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_end_is_an_exit_code_and_a_sentence_for_each_thing_that_is_wrong(
    raised, code, said, capsys
):
    assert run(raised) == code
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize("bug", [ValueError("x"), ModuleNotFoundError("no", name="other")])
def test_a_bug_is_no_sentence_and_flies(bug):
    with pytest.raises(type(bug)):
        run(bug)


def test_wrong_usage_is_argparse_s_own_code():
    with pytest.raises(SystemExit) as left:
        PROGRAM.run(argparse.ArgumentParser(), ["--no-such-option"])

    assert left.value.code == EXIT_USAGE


def test_a_pipe_that_nobody_reads_any_more_ends_it_without_a_traceback():
    program = """
import sys
from tests.unit.edge_host.test_command_line import PROGRAM, argparse
parser = argparse.ArgumentParser()
parser.set_defaults(command=lambda _: print("x" * 100_000, flush=True) or 0)
sys.exit(PROGRAM.run(parser, []))
"""
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [sys.executable, "-c", program], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (1, b"")


def test_a_sentence_with_what_others_have_said_does_nothing_on_a_terminal(capsys):
    assert run(WorkError("the server said \x1b[2Jnothing\rat all")) == EXIT_FAILED

    assert capsys.readouterr().err == "prog: the server said \\x1b[2Jnothing\\rat all\n"
