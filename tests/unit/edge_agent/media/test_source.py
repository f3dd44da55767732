"""A file is read as it is, and what it became is noticed."""

import dataclasses
import fcntl
import hashlib
import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.base.errors import SourceChangedError, SourceUnreadableError, SourceVanishedError
from edge_agent.core.printable import printable
from edge_agent.media.running_digest import RunningDigest
from edge_agent.media.source import Source
from tests.support.names import original
from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange

KIB = 1024


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "a.mp4"
    made.write_bytes(os.urandom(700 * KIB))
    return made


@pytest.fixture
def source(path):
    with Source.open(os.fsencode(path)) as opened:
        yield opened


@given(st.binary(max_size=60).filter(lambda name: b"\0" not in name and b"/" not in name))
def test_every_name_can_be_shown_and_turned_back(name):
    shown = printable(name)

    assert shown.isprintable() or shown == ""
    assert original(shown) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"DJI_0042.MP4", "DJI_0042.MP4"),
        ("Köln ✈.mp4".encode(), "Köln ✈.mp4"),
        (b"caf\xe9.mp4", "caf%E9.mp4"),
        (b"100%.mp4", "100%25.mp4"),
        (b"a\r\nb\x1b[2J", "a%0D%0Ab%1B[2J"),
        ("a\u202eb".encode(), "a%E2%80%AEb"),
    ],
)
def test_a_name_is_shown_as_documented(name, shown):
    assert printable(name) == shown


@pytest.mark.parametrize("name", ["%", "%4", "%zz"])
def test_a_name_that_was_never_escaped_is_refused(name):
    with pytest.raises(ValueError, match=r"escaped|hex"):
        original(name)


def test_pieces_are_the_bytes_of_the_range_and_never_large(path, source):
    pieces = list(source.pieces(ByteRange(10, 600 * KIB)))

    assert b"".join(pieces) == path.read_bytes()[10 : 600 * KIB]
    assert max(len(piece) for piece in pieces) == 512 * KIB


def test_a_file_that_became_shorter_is_a_changed_file(path, source):
    os.truncate(path, 100)

    with pytest.raises(SourceChangedError, match="shorter"):
        list(source.pieces(ByteRange(0, 700 * KIB)))


def append(path):
    with path.open("ab") as file:
        file.write(b"x")


def overwrite(path):
    with path.open("r+b") as file:
        file.write(b"x")


def replace(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(path.stat().st_mtime_ns, path.stat().st_mtime_ns))
    other.replace(path)


def backdate(path):
    before = path.stat().st_mtime_ns
    overwrite(path)
    os.utime(path, ns=(before, before))


@pytest.mark.parametrize("change", [append, overwrite, replace, backdate])
def test_every_change_is_noticed(path, source, change):
    expected = source.identity

    change(path)

    with pytest.raises(SourceChangedError):
        source.check(expected)


def test_a_deleted_file_is_noticed_though_it_can_still_be_read(path, source):
    path.unlink()

    with pytest.raises(SourceVanishedError):
        source.check(source.identity)


def test_an_untouched_file_passes(source):
    source.check(source.identity)


def test_a_number_that_fat_has_given_anew_is_no_change(source):
    source.check(dataclasses.replace(source.identity, device=7, inode=source.identity.inode + 1))


def test_a_missing_file_is_gone(tmp_path):
    with pytest.raises(SourceVanishedError):
        Source.open(os.fsencode(tmp_path / "no" / "where"))


def test_a_link_in_its_place_is_not_followed(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)

    with pytest.raises(SourceChangedError, match="link"):
        Source.open(os.fsencode(link))


def test_a_pipe_in_its_place_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(SourceChangedError, match="regular"):
        Source.open(os.fsencode(tmp_path / "pipe"))


def test_a_folder_in_its_place_is_no_recording(tmp_path):
    with pytest.raises(SourceChangedError, match="regular"):
        Source.open(os.fsencode(tmp_path))


def test_an_error_of_the_card_says_what_and_which(source):
    folder = os.open(source.path.rpartition(b"/")[0], os.O_RDONLY)
    os.dup2(folder, source.fileno())  # reading a folder: EISDIR
    os.close(folder)

    with pytest.raises(SourceUnreadableError, match=r"a\.mp4 cannot be read"):
        source.read(0, 10)


def test_block_digests_are_those_of_the_blocks_and_feed_the_whole(path, source):
    data = path.read_bytes()
    running = RunningDigest()

    found = source.block_digests(
        ByteRange(0, len(data)), block_bytes=300 * KIB, running=running.feed
    )

    assert found == {
        n: hashlib.sha256(data[n * 300 * KIB : (n + 1) * 300 * KIB]).digest() for n in range(3)
    }
    assert running.digest() == Digest.of(data)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=12))
def test_a_running_digest_takes_each_byte_once_whatever_is_sent_again(pieces):
    data = bytes(range(70))
    running = RunningDigest()

    for start, size in pieces:
        running.feed(start, data[start : start + size])

    assert running.digest() == Digest.of(data[: running.upto])


def test_a_running_digest_catches_up_from_disk(path, source):
    running = RunningDigest()
    running.feed(500 * KIB, b"behind a gap")

    running.catch_up(source, 700 * KIB)

    assert running.digest() == Digest.of(path.read_bytes())


def test_a_file_that_a_file_server_has_leased_is_said_to_be_and_opens_once_it_is_given_back(
    tmp_path,
):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"x")
    with path.open("r+b") as held:
        fcntl.fcntl(held, fcntl.F_SETSIG, signal.SIGURG)  # ignored; the usual one ends a program
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        with pytest.raises(
            SourceUnreadableError, match=r"another program has a lease .* by itself"
        ):
            Source.open(bytes(path))
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        Source.open(bytes(path)).close()
