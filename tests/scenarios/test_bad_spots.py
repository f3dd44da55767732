"""A card with a bad spot, in a part of the file that is read for what only helps: the rest is sent."""

from __future__ import annotations

import os

import pytest

from edge_agent.base.errors import SourceUnreadableError
from edge_agent.core.left_out import Cause
from edge_agent.core.upload import Event, State
from edge_agent.media.identity import identity_of
from edge_agent.media.running_digest import RunningDigest
from edge_agent.media.source import PIECE_BYTES, Source
from tests.support.while_recording import BEHIND, DATA, MIB, Stage, somebody_records
from upload_protocol.digests import Digest

BAD = range(2 * MIB, 2 * MIB + 4096)


class SpottedSource(Source):
    """One that cannot be read in `BAD`, as long as that is so."""

    is_mended = False
    tries = 0

    def read(self, offset: int, length: int) -> bytes:
        if not type(self).is_mended and offset < BAD.stop and BAD.start < offset + length:
            type(self).tries += 1
            raise SourceUnreadableError("it cannot be read: Input/output error", Cause.SOURCE_IO)
        return super().read(offset, length)


@pytest.fixture(autouse=True)
def as_it_was():
    SpottedSource.is_mended, SpottedSource.tries = False, 0


@pytest.fixture
def stage(tmp_path):
    with somebody_records(tmp_path) as made:
        yield made


def arrived(stage: Stage) -> int:
    state = stage.scene.server.store.state
    [upload] = state.page(device="cam", state=None, after=None, limit=1)
    return sum(held.stop - held.start for held in upload.received)


def test_what_was_sent_while_it_was_recorded_cannot_be_compared_and_the_rest_is_sent(stage):
    recording = stage.begin("a.ts")
    stage.link.bytes_per_s = 8 * MIB
    stage.pass_steps(5, written=recording)
    before = arrived(stage)
    stage.lane.open_source = SpottedSource.open
    identity = identity_of(os.stat(recording.path))
    stage.lane.store.advance(stage.lane.now(recording), Event.SETTLED, identity=identity)
    for _ in range(60):
        stage.lane.step()
    rest = arrived(stage)
    while_bad = stage.lane.now(recording).state
    SpottedSource.is_mended = True
    stage.lane.run()

    assert before == BEHIND
    assert rest == len(DATA)
    assert while_bad is State.SENDING
    assert stage.is_true(recording, "a.ts")


def test_what_is_hashed_behind_the_lanes_holds_up_none_of_them(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(DATA)
    running = RunningDigest()
    with SpottedSource.open(os.fsencode(path)) as source:
        running.catch_up(source, 2 * MIB)
        for offset in range(4 * MIB, len(DATA), PIECE_BYTES):
            piece = source.read(offset, PIECE_BYTES)
            running.follow(source, offset, piece, stop=len(DATA))
        tries = SpottedSource.tries
        SpottedSource.is_mended = True
        running.catch_up(source, len(DATA))

    assert tries == 1, "each may take seconds"
    assert running.digest() == Digest.of(DATA)
