"""Whether a file is still the verified one is a matter of its bytes, all of one content."""

import os
from dataclasses import replace

import pytest

from edge_agent.base.errors import SourceChangedError
from edge_agent.media.identity import identity_of
from edge_agent.media.pending_removals import PendingRemovals
from edge_agent.media.source import Source
from edge_agent.media.verified_content import VerifiedContent
from tests.support.lane import scene

DATA = b"a" * 4096


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path) as made:
        yield made


def compared(stage, **more):
    return VerifiedContent(stage.lane.store, PendingRemovals(stage.lane.activity), **more)


def look(content, recording):
    with Source.open(recording.path) as source:
        return content.is_still_there(recording, source)


def verified(stage):
    recording = stage.lane.record("a.mp4", DATA)
    stage.lane.run()
    return stage.lane.now(recording)


def test_the_same_bytes_under_another_mode_are_the_verified_ones(stage):
    recording = verified(stage)
    content = compared(stage, read_bytes=1000)
    (stage.lane.media / "a.mp4").chmod(0o600)

    looks = [look(content, recording) for _ in range(5)]

    assert looks == [False] * 5
    assert look(content, stage.lane.now(recording))


def test_a_file_that_fat_numbers_anew_between_two_looks_is_read_to_its_end_all_the_same(stage):
    recording = verified(stage)
    content = compared(stage, read_bytes=1000, is_kept=lambda _: False)

    looks = []
    for number in (1, 2, 3, 4, 4):
        with Source.open(recording.path) as source:
            source.identity = replace(source.identity, inode=number)
            looks.append(content.is_still_there(stage.lane.now(recording), source))

    assert looks == [False, False, False, False, True]


def test_L2_what_was_read_of_another_content_counts_for_nothing(stage):
    recording = verified(stage)
    content = compared(stage, read_bytes=3000)
    path = stage.lane.media / "a.mp4"
    path.chmod(0o600)
    assert not look(content, recording)

    with path.open("r+b") as file:
        file.write(b"b")  # where it was read already

    assert not look(content, recording)
    with pytest.raises(SourceChangedError, match="not the verified ones"):
        look(content, recording)
    assert stage.lane.now(recording).identity == recording.identity


def test_L2_where_another_cards_file_may_look_the_same_its_bytes_are_read_before_it_goes(stage):
    recording = verified(stage)
    path = stage.lane.media / "a.mp4"
    content = compared(stage, read_bytes=3000, is_kept=lambda _: False)

    assert [look(content, recording) for _ in range(3)] == [False, False, True]

    before = path.stat()
    path.write_bytes(b"b" * len(DATA))  # as on another card: by all that is told of it the same
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    other = stage.lane.store.update(recording, identity=identity_of(path.stat()))
    content = compared(stage, read_bytes=3000, is_kept=lambda _: False)
    assert not look(content, other)
    with pytest.raises(SourceChangedError, match="not the verified ones"):
        look(content, other)
