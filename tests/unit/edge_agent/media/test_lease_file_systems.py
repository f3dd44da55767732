"""Whose file systems' answers are believed, on each of them for real."""

import errno
import fcntl
import mmap
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.core.stability import Writer
from edge_agent.core.upload import State
from edge_agent.media.lease import LeaseProbe
from edge_agent.operate.checks.folders import check_open_files
from tests.support.file_systems import disk_image, fuse, overlay, read_only_bind, tmpfs
from tests.support.requirements import require
from tests.support.rim import watched_folder


@contextmanager
def elsewhere(kind, base):
    """Yield a folder on *kind*, and the one by which its files can be written unseen."""
    if kind == "FUSE":
        with fuse(base / "seen", below=base / "below") as seen:
            yield seen, base / "below"
    else:
        with overlay(base / "seen", upper=base / "layers" / "upper") as seen:
            yield seen, base / "layers" / "upper"


@contextmanager
def local(kind, base):
    if kind == "tmpfs":
        with tmpfs(base / "disk") as disk:
            yield disk
        return
    name, _, is_subvolume = kind.partition(" ")
    with disk_image(name, base / "disk") as disk:
        if not is_subvolume:
            yield disk
            return
        # The device number of one stands in no list of mounts.
        create: list[str | Path] = [require("btrfs"), "subvolume", "create", disk / "sub"]
        subprocess.run(create, check=True, capture_output=True, timeout=20)
        yield disk / "sub"


def answers(probe, asked, written):
    """Return what *probe* says of a file: closed, open for writing, mapped for writing, closed."""
    written.write_bytes(b"x" * mmap.PAGESIZE)
    name = os.fsencode(asked)
    closed = probe.writer(name)
    with written.open("r+b") as file:
        while_open = probe.writer(name)
        mapped = mmap.mmap(file.fileno(), mmap.PAGESIZE)
    while_mapped = probe.writer(name)
    mapped.close()
    return closed, while_open, while_mapped, probe.writer(name)


TRUTH = (Writer.NOBODY, Writer.SOMEBODY, Writer.SOMEBODY, Writer.NOBODY)


@pytest.mark.parametrize("kind", ["tmpfs", "ext4", "xfs", "btrfs", "btrfs subvolume"])
def test_a_disk_of_this_device_tells_the_truth_and_is_believed(tmp_path, kind):
    probe = LeaseProbe()
    with local(kind, tmp_path) as disk:
        assert answers(probe, disk / "a.mp4", disk / "a.mp4") == TRUTH

        with read_only_bind(disk, tmp_path / "bind") as bound:
            assert answers(probe, bound / "a.mp4", disk / "a.mp4") == TRUTH

        found = check_open_files(disk, may_write=True, recursive=True)
        assert (found.level, probe.limits) == ("OK", ())


@pytest.mark.parametrize("kind", ["FUSE", "overlay"])
def test_where_others_write_unseen_the_kernel_is_wrong_and_is_not_believed(tmp_path, kind):
    probe = LeaseProbe()
    with elsewhere(kind, tmp_path) as (seen, below):
        with (below / "a.mp4").open("wb"), (seen / "a.mp4").open("rb") as reader:
            fcntl.fcntl(reader, fcntl.F_SETLEASE, fcntl.F_RDLCK)  # granted: it says "nobody"
            fcntl.fcntl(reader, fcntl.F_SETLEASE, fcntl.F_UNLCK)

            assert probe.writer_of(reader.fileno()) is Writer.UNKNOWN
        assert set(answers(probe, seen / "a.mp4", below / "a.mp4")) == {Writer.UNKNOWN}

        # Nor in the other direction: that somebody writes is not believed either.
        with (seen / "b.mp4").open("wb"), (seen / "b.mp4").open("rb") as reader:
            with pytest.raises(OSError, match=os.strerror(errno.EAGAIN)):
                fcntl.fcntl(reader, fcntl.F_SETLEASE, fcntl.F_RDLCK)

            assert probe.writer_of(reader.fileno()) is Writer.UNKNOWN

    [limit] = probe.limits
    assert f"recordings lie on {kind}" in limit
    assert (
        "quiet for [watch] fallback_settle_seconds, and may be deleted after 10 times that" in limit
    )


@pytest.mark.parametrize("kind", ["FUSE", "overlay"])
def test_check_says_where_the_kernel_cannot_tell_and_what_to_do(tmp_path, kind):
    with elsewhere(kind, tmp_path) as (seen, _):
        found = check_open_files(seen, may_write=True, recursive=True)

    assert found.level == "WARN"
    assert f"recordings lie on {kind}, where others may write unseen by this kernel" in found.text
    assert "set fallback_settle_seconds above the recorder's longest pause" in found.text
    assert "\n" not in found.text


def test_each_files_own_file_system_decides_also_below_the_watched_folder(tmp_path):
    probe = LeaseProbe()
    with tmpfs(tmp_path / "media") as media, fuse(media / "sub", below=tmp_path / "below"):
        (media / "a.mp4").write_bytes(b"x")
        (media / "sub" / "b.mp4").write_bytes(b"x")

        assert probe.writer(os.fsencode(media / "a.mp4")) is Writer.NOBODY
        assert probe.writer(os.fsencode(media / "sub" / "b.mp4")) is Writer.UNKNOWN
        assert "lie on FUSE" in check_open_files(media, may_write=True, recursive=True).text
        assert check_open_files(media, may_write=True, recursive=False).level == "OK"


def test_another_file_system_in_the_same_place_is_asked_for_itself(tmp_path):
    probe, path = LeaseProbe(), os.fsencode(tmp_path / "media" / "a.mp4")
    with fuse(tmp_path / "media", below=tmp_path / "below") as media:
        (media / "a.mp4").write_bytes(b"x")
        on_fuse = probe.writer(path)
        with tmpfs(media):
            (media / "a.mp4").write_bytes(b"x")
            on_tmpfs = probe.writer(path)

    assert (on_fuse, on_tmpfs) == (Writer.UNKNOWN, Writer.NOBODY)


def test_a_recording_written_unseen_is_not_finished_before_the_longer_time(tmp_path):
    with (
        fuse(tmp_path / "media", below=tmp_path / "below"),
        watched_folder(tmp_path) as folder,
        (tmp_path / "below" / "a.mp4").open("wb", buffering=0) as recorder,
    ):
        for _ in range(6):
            recorder.write(b"twenty seconds of video")
            folder.watcher.wake()
            folder.pass_time(20.0)
            assert folder.only().state is not State.STABLE
        recorder.close()
        folder.pass_time(61.0)

        assert folder.only().state is State.STABLE
        assert folder.only().identity.length == 6 * len(b"twenty seconds of video")
        [limit] = folder.activity.view().limits
        assert "recordings lie on FUSE" in limit


def test_that_nobody_writes_is_found_out_by_time_where_the_kernel_always_says_somebody(tmp_path):
    with (
        fuse(tmp_path / "media", below=tmp_path / "below") as media,
        watched_folder(tmp_path) as folder,
        (media / "a.mp4").open("wb"),  # idle: the kernel says "somebody" for as long as it is open
    ):
        (tmp_path / "below" / "a.mp4").write_bytes(b"whole")
        folder.watcher.wake()
        folder.pass_time(130.0)

        assert folder.only().state is State.STABLE


def test_a_limit_is_told_before_there_is_a_recording_and_ends_with_the_mount(tmp_path):
    (tmp_path / "media").mkdir()
    with watched_folder(tmp_path) as folder:
        with fuse(tmp_path / "media", below=tmp_path / "below"):
            folder.watcher.step(folder.clock.now)
            on_fuse = folder.activity.view().limits
        folder.pass_time(5.0)

        assert len(on_fuse) == 1
        assert folder.activity.view().limits == ()
