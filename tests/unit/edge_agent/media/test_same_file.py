"""A number of an inode that was used again is another file; one that only grew is the same."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.core.recording import Identity
from edge_agent.media.identity import identity_at
from edge_agent.media.lease import LeaseProbe
from edge_agent.media.pauses import Pauses
from edge_agent.media.rings import Rings
from edge_agent.media.same_file import is_another_file, is_surely_same_file
from tests.support.lane import scene
from tests.support.present import present


def put_in_its_place(path):
    """Delete *path* and put a longer file there that has the same number; return whether there is one."""
    number = os.stat(path).st_ino
    os.unlink(path)
    beside = [path.with_name(f"{path.name}.{count}") for count in range(200)]
    for one in beside:
        one.write_bytes(b"of the next round, and longer")
        if one.stat().st_ino == number:
            one.rename(path)
            break
    for one in beside:
        one.unlink(missing_ok=True)
    return path.exists()


def test_what_only_grew_or_was_renamed_or_touched_is_the_same_file(tmp_path):
    path = os.fsencode(tmp_path / "a.ts")
    with open(path, "wb") as file:
        file.write(b"first")
    before = present(identity_at(path))
    with open(path, "ab") as file:
        file.write(b" and more")
    os.utime(path, (1, 1))
    os.rename(path, path + b".1")

    assert not is_another_file(path + b".1", before, present(identity_at(path + b".1")))


def test_what_took_its_place_is_another_file_whatever_number_it_has(tmp_path):
    path = os.fsencode(tmp_path / "a.ts")
    with open(path, "wb") as file:
        file.write(b"first")
    before = present(identity_at(path))
    (tmp_path / "next").write_bytes(b"the next")
    os.rename(tmp_path / "next", path)
    replaced = present(identity_at(path))

    assert replaced.inode != before.inode
    assert is_another_file(path, before, replaced)


@pytest.mark.slow  # where the fast ones write, no number is used again
def test_the_next_file_that_has_got_its_number_is_another_one(tmp_path):
    def made(attempt: int) -> tuple[Path, Identity]:
        path = tmp_path / f"{attempt}.ts"
        path.write_bytes(b"first")
        return path, present(identity_at(os.fsencode(path)))

    # Other programs take numbers, too.
    path, before = next(one for one in map(made, range(20)) if put_in_its_place(one[0]))
    now = present(identity_at(os.fsencode(path)))

    assert (now.inode, now.length > before.length) == (before.inode, True)
    assert is_another_file(os.fsencode(path), before, now)


def test_a_file_that_is_written_on_after_the_clock_was_set_back_is_in_doubt(tmp_path):
    path = tmp_path / "a.ts"
    path.write_bytes(b"first")
    now = present(identity_at(os.fsencode(path)))
    one_s = 10**9
    born = {"mtime_ns": now.mtime_ns - one_s, "ctime_ns": now.ctime_ns - one_s}
    before = replace(now, length=1, mtime_ns=born["mtime_ns"] - 1, ctime_ns=born["ctime_ns"] - 1)

    assert is_another_file(os.fsencode(path), before, now)
    assert not is_another_file(os.fsencode(path), before, replace(now, **born))


def test_what_is_gone_is_in_doubt(tmp_path):
    path = os.fsencode(tmp_path / "a.ts")
    (tmp_path / "a.ts").write_bytes(b"first")
    before = present(identity_at(path))
    os.unlink(path)

    assert not is_another_file(path, before, before)


@pytest.mark.slow
def test_a_ring_whose_next_file_has_the_number_of_the_one_that_went_is_seen_and_no_pause_is_learned(
    tmp_path,
):
    with scene(tmp_path) as stage:
        stage.lane.record("loop99.mp4", b"the next in the ring")
        made = (stage.lane.record(f"loop{one}.mp4", b"first", written_s=1000) for one in range(20))
        oldest = next(one for one in made if put_in_its_place(stage.lane.media / one.name))
        now = present(identity_at(oldest.path))
        pauses = Pauses(stage.lane.store.notes)
        pauses.finished(oldest.path, 0.0)
        pauses.learn(oldest.path, replace(oldest.identity, mtime_ns=now.mtime_ns - 10**9), now, 9.0)

        assert now.inode == oldest.identity.inode
        assert Rings().has_rewritten(oldest, now, LeaseProbe())
        assert pauses.of(oldest.path) == 0.0


def test_a_file_of_the_same_number_on_another_card_or_of_earlier_bytes_is_not_surely_the_same(
    tmp_path,
):
    path = os.fsencode(tmp_path / "a.ts")
    with open(path, "wb") as file:
        file.write(b"first")
    before = present(identity_at(path))
    with open(path, "ab") as file:
        file.write(b" and more")
    now = present(identity_at(path))

    assert is_surely_same_file(path, before, now)
    for other in (
        replace(before, device=before.device + 1),
        replace(before, length=now.length + 1),
        replace(before, mtime_ns=now.mtime_ns + 1),
    ):
        assert not is_surely_same_file(path, other, now)
