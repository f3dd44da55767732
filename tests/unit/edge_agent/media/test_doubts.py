"""A verified file that has other times by now is read, and is a new recording only if it is another one."""

import errno
import os
from pathlib import Path

import pytest

from edge_agent.core.recording import Recording
from edge_agent.core.upload import Event, State
from edge_agent.media import beneath
from edge_agent.media.doubts import Doubts
from edge_agent.media.identity import identity_at
from edge_agent.media.pending_removals import PendingRemovals
from edge_agent.media.source import Source
from edge_agent.media.verified_content import VerifiedContent
from tests.support.lane import Lane, scene
from tests.support.present import present
from tests.support.rim import WatchedFolder, watched_folder
from upload_protocol.digests import Digest
from upload_protocol.messages import Receipt

DATA = b"recording of a camera" * 100
OTHER = b"another one, as large" * 100


@pytest.fixture
def folder(tmp_path):
    with watched_folder(tmp_path) as made:

        def doubt() -> None:
            made.doubts += 1

        made.watcher.on_doubt = doubt
        yield made


@pytest.fixture
def lane(tmp_path):
    with scene(tmp_path) as made:
        yield made.lane


def verified(folder: WatchedFolder, *, is_kept: bool, data: bytes = DATA) -> Recording:
    """Let `a.mp4` settle, and bring it where the sender would."""
    folder.write("a.mp4", data)
    folder.settle()
    store, digest = folder.store, Digest.of(data)
    made = store.advance(folder.named("a.mp4"), Event.UPLOAD_CREATED, upload_id="0" * 32)
    made = store.advance(made, Event.ALL_ACKNOWLEDGED, digest=digest)
    receipt = Receipt("0" * 32, "d", "a.mp4", len(data), digest, "now", "client", "d/a.mp4")
    made = store.advance(made, Event.RECEIPT_STORED, receipt=receipt)
    made = store.advance(made, Event.KEEPING) if is_kept else made
    folder.settle()
    folder.doubts = 0
    return made


def overwrite(path: Path, data: bytes) -> None:
    """Put other bytes under the name, in place, and set the time back."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path, data: bytes) -> None:
    before = path.stat()
    other = path.with_name(".other")
    other.write_bytes(data)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


def make_anew(path: Path, data: bytes) -> None:
    before = path.stat()
    path.unlink()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def touch(path: Path, _data: bytes) -> None:
    os.utime(path, (1e9, 1e9))


def rename(path: Path, _data: bytes) -> None:
    path.rename(path.with_name("b.mp4"))


def reuse_inode(path: Path, data: bytes) -> None:
    """What looks like a rename, and is another file with the number of the one that went."""
    overwrite(path, data)
    path.rename(path.with_name("b.mp4"))


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("change", [overwrite, replace, make_anew, touch, rename, reuse_inode])
def test_a_verified_file_of_other_times_is_doubted_once_and_not_taken_for_new(
    folder, change, is_kept
):
    before = verified(folder, is_kept=is_kept)

    change(folder.media / "a.mp4", OTHER)
    folder.settle()
    folder.settle()

    assert 1 <= folder.doubts <= 2  # the kernel's word of the change may come between both looks
    assert folder.only().state is before.state


def test_a_renamed_file_is_doubted_when_it_can_be_found_under_its_new_name(folder):
    verified(folder, is_kept=False)
    names = []
    folder.watcher.on_doubt = lambda: names.append(folder.only().name)

    rename(folder.media / "a.mp4", b"")
    folder.settle()

    assert names in (["b.mp4"], ["b.mp4"] * 2)  # the kernel's word may come between both looks


def test_what_looks_like_a_renamed_file_in_all_that_fat_tells_is_read(folder):
    before = verified(folder, is_kept=False)
    (folder.media / "a.mp4").unlink()
    other = folder.write("b.mp4", OTHER)
    now = identity_at(os.fsencode(other))
    # FAT counts anew with each mount, and a camera without a clock gives all files one time.
    folder.store.update(before, identity=now)

    folder.settle()

    assert folder.only().name == "b.mp4"
    assert folder.only().identity.is_doubtful(now)
    assert folder.doubts >= 1


def test_a_verified_file_that_nobody_touched_is_not_doubted(folder):
    verified(folder, is_kept=True)

    folder.restart()
    folder.settle()

    assert folder.doubts == 0


def recorded(lane: Lane, name: str, data: bytes, *, is_kept: bool) -> Recording:
    recording = lane.record(name, data)
    lane.run()
    recording = lane.now(recording)
    return lane.store.advance(recording, Event.KEEPING) if is_kept else recording


def sweep(lane: Lane, *, read_bytes: int = 1 << 26) -> list[Recording]:
    """Do all that there is to do; return what was found to have changed."""
    changed: list[Recording] = []
    content = VerifiedContent(lane.store, PendingRemovals(lane.activity), read_bytes=read_bytes)
    doubts = Doubts(lane.store, content, on_changed=lambda one, _: changed.append(one))
    doubts.note()
    for _ in range(100):
        if doubts.step(lane.clock.now_s()) is None:
            return changed
    raise AssertionError("it does not come to an end")


@pytest.mark.parametrize("is_kept", [False, True])
def test_the_same_bytes_stay_what_they_are_and_are_read_once(lane, is_kept):
    before = recorded(lane, "a.mp4", DATA, is_kept=is_kept)
    touch(lane.media / "a.mp4", b"")

    assert sweep(lane, read_bytes=1000) == []

    now = lane.now(before)
    assert (now.state, now.receipt) == (before.state, before.receipt)
    assert now.identity.mtime_ns == 10**18
    with Source.open(now.path) as source:
        source.check(now.identity)


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("change", [overwrite, replace, make_anew])
def test_other_bytes_of_the_same_length_and_time_are_found(lane, change, is_kept):
    recording = recorded(lane, "a.mp4", DATA, is_kept=is_kept)
    change(lane.media / "a.mp4", OTHER)

    (changed,) = sweep(lane)

    assert (changed.id, changed.state) == (recording.id, State.VERIFIED)


def test_what_is_gone_longer_or_on_its_way_out_is_left_to_others(lane):
    for name in ("gone.mp4", "longer.mp4", "leaving.mp4"):
        recorded(lane, name, DATA, is_kept=False)
    (lane.media / "gone.mp4").unlink()
    (lane.media / "longer.mp4").write_bytes(DATA + b"more")
    (leaving,) = [one for one in lane.store.in_states(State.VERIFIED) if "leaving" in one.name]
    lane.store.update(leaving, delete_allowed=True)
    overwrite(lane.media / "leaving.mp4", OTHER)

    assert sweep(lane) == []


def test_the_janitor_has_other_bytes_taken_for_a_new_recording(lane):
    recording = recorded(lane, "a.mp4", DATA, is_kept=True)
    overwrite(lane.media / "a.mp4", OTHER)
    asked = []
    lane.janitor.on_replaced = lambda: asked.append(True)

    lane.janitor.doubts.note()
    for _ in range(5):
        lane.janitor.step(lane.clock.now_s())

    assert lane.now(recording).state is State.RELEASED
    assert asked == [True]


@pytest.mark.parametrize("can_be_seen", [True, False], ids=["no read", "no look"])
def test_what_cannot_be_read_for_a_moment_is_looked_at_again(lane, monkeypatch, can_be_seen):
    recording = recorded(lane, "a.mp4", DATA, is_kept=True)
    overwrite(lane.media / "a.mp4", OTHER)
    changed: list[str] = []
    content = VerifiedContent(lane.store, PendingRemovals(lane.activity))
    doubts = Doubts(lane.store, content, on_changed=lambda one, _: changed.append(one.id))
    doubts.note()

    def looks(now_s: float) -> None:
        while doubts.step(now_s) is not None:
            pass

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as bad_card:
        bad_card.setattr(beneath, "open_file", fail)
        if not can_be_seen:
            bad_card.setattr(beneath, "status", fail)
        looks(0.0)
    looks(599.0)
    before = list(changed)
    looks(600.0)
    looks(1200.0)

    assert before == []
    assert changed == [recording.id]


def test_each_step_reads_one_file_and_rests_for_as_long_as_it_was_large(lane):
    for number in range(5):
        recorded(lane, f"{number}.mp4", DATA + bytes([number]), is_kept=True)
        touch(lane.media / f"{number}.mp4", b"")
    read = []

    class Noted(VerifiedContent):
        def is_still_there(self, recording, source):
            read.append(recording.name)
            return super().is_still_there(recording, source)

    doubts = Doubts(
        lane.store,
        Noted(lane.store, PendingRemovals(lane.activity)),
        on_changed=lambda one, _: None,
    )
    doubts.note()
    steps = [doubts.step(0.0) for _ in range(5)]

    assert read == [f"{number}.mp4" for number in range(5)]
    assert all(0 < rest_s < 0.01 for rest_s in map(present, steps))
