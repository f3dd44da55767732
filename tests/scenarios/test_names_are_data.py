"""Law L7: nothing that a file is called reaches a path, a header, a log line or SQL uninterpreted."""

import os

import structlog

from edge_agent.core.upload import State
from tests.support.lane import scene
from tests.support.names import original

HOSTILE = [
    b"line\nbreak.mp4",
    b"carriage\r\nSet-Cookie: x=1.mp4",
    b"\xff\xfe\x80 no utf-8.mp4",
    b"..mp4",
    b"...",
    b"-rf.mp4",
    b"'; DROP TABLE upload; --.mp4",
    b"a%2e%2e%2fb.mp4",
    b"100%.mp4",
    b"{device}{date}.mp4",
    b"CON.mp4",
    b"back\\slash.mp4",
    b"C:\\evil.mp4",
    b"tab\tand\x1b[2Jescape.mp4",
    "\u202egpj.4pm".encode(),
    "e\u0301.mp4".encode(),
    "\u00e9.mp4".encode(),
    "\U0001f3a5.mp4".encode(),
    b" leading and trailing .mp4 ",
    b"x" * 255,
    "\u00e9".encode() * 127,
]


def test_L7_a_recording_may_be_called_anything_and_arrives_beside_its_name(tmp_path):
    with scene(tmp_path) as stage, structlog.testing.capture_logs() as lines:
        recordings = {
            stage.lane.record(os.fsdecode(name), b"%d" % number).id: (name, b"%d" % number)
            for number, name in enumerate(HOSTILE)
        }

        stage.lane.run()

        published = tmp_path / "server" / "published"
        arrived = set()
        for recording in stage.lane.store.in_states(*State):
            name, content = recordings[recording.id]
            assert recording.state in {State.VERIFIED, State.KEPT}, recording
            assert original(recording.name) == name
            assert recording.receipt is not None
            assert recording.receipt.name == recording.name
            path = published / recording.receipt.published_as
            assert path.resolve().is_relative_to(published.resolve())
            assert not path.is_symlink()
            assert path.read_bytes() == content
            assert path.name.isprintable()
            assert len(os.fsencode(path.name)) <= 255
            arrived.add(path)
        everything = {path for path in (tmp_path / "server").rglob("*") if path.is_file()}

    assert len(arrived) == len(HOSTILE)
    assert {path for path in everything if "published" in path.parts} == arrived
    assert all(
        str(value).isprintable()
        for line in lines
        for key, value in line.items()
        if key in {"name", "path", "detail", "error"}
    )


def test_L7_a_hostile_folder_name_is_a_folder_below_the_device_or_nothing(tmp_path):
    with scene(tmp_path, name_template="{device}/{folder}/{name}") as stage:
        stage.lane.record("a.mp4", b"x")
        (waiting,) = stage.lane.store.in_states(State.STABLE)
        stage.lane.store.update(waiting, folder="../../../etc/%00/..")

        stage.lane.run()

        (done,) = stage.lane.store.in_states(*State)
        published = tmp_path / "server" / "published"
        assert done.receipt is not None
        path = published / done.receipt.published_as
        assert path.resolve().is_relative_to((published / "cam").resolve())
        assert path.read_bytes() == b"x"
