"""A recording that another worker moves while one finds out that its recorder took it: nothing is said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from structlog.testing import capture_logs

from edge_agent.core.recording import Recording
from edge_agent.core.upload import Event, State
from edge_agent.media.identity import identity_at
from edge_agent.media.replaced import ReplacedFiles
from edge_agent.media.rings import Rings
from edge_agent.store.recordings import Store
from tests.support.lane import scene


def moved_while(
    monkeypatch: pytest.MonkeyPatch, of: type, judge: str, move: Callable[[Recording], object]
) -> None:
    """Have *move* done once while *judge* of *of* looks at a recording, the first of its arguments."""
    does, others = getattr(of, judge), [move]

    def meanwhile(self: object, recording: Recording, *more: object) -> bool:
        while others:
            others.pop()(recording)
        return bool(does(self, recording, *more))

    monkeypatch.setattr(of, judge, meanwhile)


def said(logs: Sequence[Mapping[str, object]]) -> int:
    return [one["event"] for one in logs].count("upload.overwritten")


def counted(store: Store) -> int:
    return store.notes.totals().files_overwritten


def test_by_the_look_at_the_folder(folder, monkeypatch):
    for number in range(3):
        folder.write(f"loop{number}.mp4", b"recording")
        folder.settle()
    before = folder.named("loop0.mp4")
    moved_while(
        monkeypatch,
        Rings,
        "has_rewritten",
        lambda one: folder.store.advance(one, Event.UPLOAD_CREATED, upload_id="a" * 32),
    )

    (folder.media / "loop0.mp4").write_bytes(b"next")
    with capture_logs() as logs:
        folder.watcher.wake()
        folder.watcher.step(folder.clock.now)
    at_once = said(logs)
    folder.settle()

    assert at_once == 0
    assert folder.store.get(before.id).state is State.OVERWRITTEN  # at the next look
    assert counted(folder.store) == 1


def test_by_whoever_finds_a_begun_file_replaced(folder, monkeypatch):
    path = folder.write("loop.ts")
    folder.watcher.step(folder.clock.now)
    store = folder.store
    growing = store.advance(folder.only(), Event.GREW, upload_id="a" * 32)
    folder.write(".next", b"another").replace(path)
    now = identity_at(growing.path)
    assert now is not None
    moved_while(
        monkeypatch, ReplacedFiles, "_is_anothers", lambda one: store.advance(one, Event.SETTLED)
    )

    with capture_logs() as logs:
        is_lost = ReplacedFiles(store, folder.activity).has_lost(growing, now)

    assert (is_lost, said(logs), counted(store)) == (False, 0, 0)
    assert store.get(growing.id).state is State.STABLE


def test_by_a_lane(tmp_path, monkeypatch):
    with scene(tmp_path) as stage:
        store, media = stage.lane.store, stage.lane.media
        oldest = stage.lane.record("loop0.mp4", b"first round", written_s=1000)
        stage.lane.record("loop1.mp4", b"second", written_s=1001)
        stage.lane.run(until=lambda: stage.lane.now(oldest).state is State.SENDING)
        moved_while(
            monkeypatch, Rings, "has_rewritten", lambda one: store.advance(one, Event.REJECTED)
        )

        (media / "loop0.mp4").write_bytes(b"next")
        with capture_logs() as logs:
            stage.lane.run()

        assert stage.lane.now(oldest).state is State.FAILED
        assert (said(logs), counted(store)) == (0, 0)
