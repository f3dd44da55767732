"""What the kernel tells of a rename, and what the file is by the time that somebody takes it up."""

from __future__ import annotations

import os

import pytest

from edge_agent.media.identity import identity_at
from edge_agent.media.renames import Renames


@pytest.fixture
def moved(tmp_path):
    """Return a file that has a new name, and what the kernel has told of that."""
    before, after = tmp_path / "seg_0.mp4", tmp_path / "seg_4.mp4"
    before.write_bytes(b"recording")
    os.utime(before, (1000, 1000))
    before.rename(after)
    renames = Renames()
    renames.add(os.fsencode(before), os.fsencode(after))
    return after, renames


def test_a_rename_is_told_with_what_had_the_name_then(moved):
    after, renames = moved
    its = identity_at(os.fsencode(after))
    after.rename(after.with_name("seg_5.mp4"))
    after.write_bytes(b"the next")

    [one] = renames.take(9)

    assert (one.after, one.identity) == (os.fsencode(after), its)
    assert not one.is_recycled(), "another file has that name now"
    assert not renames


@pytest.mark.parametrize("content", [b"RECORDING", b"", b"short"])
def test_one_that_was_written_over_since_is_not_what_it_was(moved, content):
    after, renames = moved
    after.write_bytes(content)

    [one] = renames.take(9)

    assert one.is_recycled()


def test_one_that_is_written_on_is_what_it_was(moved):
    after, renames = moved
    with after.open("ab") as file:
        file.write(b" goes on")

    [one] = renames.take(9)

    assert not one.is_recycled()


def test_what_is_gone_again_before_it_is_looked_at_is_left_to_the_next_look(tmp_path):
    renames = Renames()

    renames.add(b"a.mp4", os.fsencode(tmp_path / "b.mp4"))

    assert not renames


def test_one_whose_old_name_is_free_is_left_to_a_look_and_one_whose_name_is_taken_is_not(moved):
    after, renames = moved
    [one] = renames.take(9)
    is_free = one.has_freed_its_name()
    (after.parent / "seg_0.mp4").write_bytes(b"the next")

    assert is_free
    assert not one.has_freed_its_name()
