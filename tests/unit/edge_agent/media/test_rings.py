"""A ring recorder that uses names again while a lane is at one of them."""

from edge_agent.core.upload import State
from tests.support.lane import scene


def test_what_is_written_over_while_it_is_sent_is_counted_as_overwritten(tmp_path):
    with scene(tmp_path) as stage:
        oldest = stage.lane.record("loop0.mp4", b"first round", written_s=1000)
        stage.lane.record("loop1.mp4", b"second", written_s=1001)
        stage.lane.run(until=lambda: stage.lane.now(oldest).state is State.SENDING)

        (stage.lane.media / "loop0.mp4").write_bytes(b"next")
        stage.lane.run()

        assert stage.lane.now(oldest).state is State.OVERWRITTEN
        assert stage.lane.store.notes.totals().files_overwritten == 1
        assert stage.lane.now(oldest).upload_id is None
        (told,) = stage.lane.events("file.overwritten")
        assert told == {"file_id": oldest.id, "name": "loop0.mp4", "length": len(b"first round")}
