"""Taking a recording off the disk: whoever opens it meanwhile loses no byte."""

from __future__ import annotations

import mmap
import os
import random
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from edge_agent.base.errors import SourceChangedError, SourceVanishedError
from edge_agent.core.stability import Writer
from edge_agent.media import removal
from edge_agent.media.identity import identity_of
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.removal import (
    PREFIX,
    StillWrittenError,
    hidden_path,
    move_aside,
    put_back,
    remove,
)
from edge_agent.media.source import Source
from tests.support.present import present


class KnowsNothing(LeaseProbe):
    """As on a file system whose writers the kernel does not know."""

    @contextmanager
    def while_unwritten(self, fd):
        yield Writer.UNKNOWN


def unlink(name, fd):
    os.unlink(name, dir_fd=fd)


def aside(path):
    with Source.open(os.fsencode(path)) as source:
        return move_aside(source.path, source, source.identity)


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"a recording")
    return path


_WRITER = """
import os, sys
path, writes_at_once = sys.argv[1], sys.argv[2] == "at once"
for number, line in enumerate(sys.stdin):
    for _ in range(int(line)):
        pass
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    if writes_at_once:
        os.write(fd, b"<%d>" % number)
    print("open", flush=True)
    sys.stdin.readline()
    if not writes_at_once:
        os.write(fd, b"<%d>" % number)
    os.close(fd)
    print("closed", flush=True)
"""


@dataclass
class Program:
    """A process that opens the file once for each `go`, and writes to it."""

    child: subprocess.Popen[str]

    def go(self, delay: int = 0) -> None:
        self._tell(delay)

    def wait_until_open(self) -> None:
        assert self.hear() == "open"

    def end(self) -> None:
        self._tell("")
        assert self.hear() == "closed"

    def hear(self) -> str:
        assert self.child.stdout is not None
        return self.child.stdout.readline().strip()

    def _tell(self, what) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(f"{what}\n")


@pytest.fixture
def program(clip, request):
    command = [sys.executable, "-c", _WRITER, clip, request.param]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as child:
        yield Program(child)
        present(child.stdin).close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("probe", "program"),
    [(LeaseProbe(), "late"), (LeaseProbe(), "at once"), (KnowsNothing(), "at once")],
    ids=["leases, written late", "leases, written at once", "no leases, written at once"],
    indirect=["program"],
)
def test_a_program_that_opens_it_in_between_finds_every_byte_again_a_thousand_times(
    clip, probe, program
):
    """Half the time right after nobody had it open, half the time at once with us."""
    draw, ahead = random.Random(7), 0
    outcomes: Counter[str] = Counter()
    for number in range(2000):
        for left in clip.parent.iterdir():
            left.unlink()
        clip.write_bytes(b"a recording")
        verified = identity_of(clip.stat())
        is_after_asking = number % 2 == 0
        if not is_after_asking:
            program.go(max(0, -ahead) + draw.randrange(1000))
            for _ in range(max(0, ahead)):
                pass

        outcome = take_away(clip, verified, probe, program, is_after_asking=is_after_asking)
        program.end()

        there = {path.name: path.read_bytes() for path in clip.parent.iterdir()}
        assert b"<%d>" % number in b"".join(there.values()), f"{outcome}: what it wrote is nowhere"
        assert not any(os.fsencode(name).startswith(PREFIX) for name in there)
        outcomes[outcome] += 1
        if not is_after_asking:
            # The program gets a start if it came too late, else we do: so the two meet again and again.
            ahead += 200 if outcome == "unlinked" else -200
    assert outcomes["put back"] + outcomes["changed"] >= 1000, outcomes
    assert outcomes["unlinked"], outcomes


def take_away(clip, verified, probe, program, *, is_after_asking):
    """Do what the janitor does; where it waits a moment, this waits until the program is that far."""
    is_open = False
    try:
        with Source.open(os.fsencode(clip)) as source:
            if probe.writer_of(source.fileno()) is Writer.SOMEBODY:
                program.wait_until_open()
                return "seen at once"
            if is_after_asking:
                program.go()
                program.wait_until_open()
                is_open = True
            moved = move_aside(source.path, source, verified)
    except SourceChangedError:
        if not is_open:
            program.wait_until_open()
        return "changed"
    if not is_open:
        program.wait_until_open()
    try:
        remove(moved, probe, unlink=unlink)
    except (StillWrittenError, SourceChangedError):
        put_back(moved.hidden, b"clip.mp4")
        return "put back"
    return "unlinked"


def test_a_program_that_keeps_it_mapped_for_writing_keeps_it(clip):
    with clip.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 4)
    moved = aside(clip)

    try:
        with pytest.raises(StillWrittenError):
            remove(moved, LeaseProbe(), unlink=unlink)
    finally:
        mapped.close()
    remove(moved, LeaseProbe(), unlink=unlink)
    assert not os.path.lexists(moved.hidden)


def test_other_bytes_of_the_same_length_are_not_unlinked(clip):
    moved = aside(clip)
    with open(moved.hidden, "r+b") as file:
        file.write(b"A")

    with pytest.raises(SourceChangedError):
        remove(moved, LeaseProbe(), unlink=unlink)

    assert put_back(moved.hidden) == os.fsencode(clip)
    assert clip.read_bytes() == b"A recording"


def test_what_is_put_back_hits_no_new_file_of_its_name(clip):
    moved = aside(clip)
    clip.write_bytes(b"another")

    path = put_back(moved.hidden)

    assert clip.read_bytes() == b"another"
    with open(path, "rb") as file:
        assert file.read() == b"a recording"
    assert path.endswith(b".mp4"), "it fits the patterns that it fitted"
    assert not path.rpartition(b"/")[2].startswith(b".")


def promises_nothing(*_: object, **__: object) -> bool:
    return False


def test_where_the_file_system_promises_nothing_it_is_put_back_under_a_name_that_nobody_uses(
    clip, monkeypatch
):
    monkeypatch.setattr(removal, "rename_if_free", promises_nothing)
    moved = aside(clip)
    assert not clip.exists()

    path = put_back(moved.hidden)

    assert path != os.fsencode(clip)
    assert [one.read_bytes() for one in clip.parent.iterdir()] == [b"a recording"]


def test_what_an_earlier_run_left_aside_is_not_overwritten(clip, monkeypatch):
    for offered in (True, False):
        if not offered:
            monkeypatch.setattr(removal, "rename_if_free", promises_nothing)
        left = hidden_path(os.fsencode(clip))
        with open(left, "wb") as file:
            file.write(b"left aside")

        with pytest.raises(FileExistsError):
            aside(clip)

        with open(left, "rb") as file:
            assert file.read() == b"left aside"
        assert clip.read_bytes() == b"a recording"


def test_another_file_put_in_its_place_is_not_moved(clip):
    with Source.open(os.fsencode(clip)) as source:
        clip.unlink()
        clip.write_bytes(b"A recording")

        with pytest.raises(SourceChangedError):
            move_aside(source.path, source, source.identity)

    assert clip.read_bytes() == b"A recording"


def test_what_somebody_else_took_away_is_gone(clip):
    moved = aside(clip)
    os.unlink(moved.hidden)

    with pytest.raises(SourceVanishedError):
        remove(moved, LeaseProbe(), unlink=unlink)


@pytest.mark.parametrize(
    "name", [b"a.mp4", b"x" * 255, "é".encode() * 125 + b".mp4", b"\xff" * 251 + b".mp4"]
)
def test_the_hidden_name_is_as_long_as_a_name_may_be_and_is_text_if_the_name_is(tmp_path, name):
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb") as file:
        file.write(b"a recording")

    hidden = aside(os.fsdecode(path)).hidden.rpartition(b"/")[2]

    assert hidden.startswith(PREFIX)
    assert name.endswith(hidden.removeprefix(PREFIX))
    assert len(hidden) <= 255
    if name.decode("utf-8", "replace").encode() == name:
        hidden.decode()
