"""The database of the running program is lost, and an operator brings it back."""

from contextlib import contextmanager

import pytest

from edge_host.command_line import EXIT_CONFIG
from tests.support.crash_client import Client
from tests.support.processes import HASTY_SERVER, Program, Server, wait_for
from upload_protocol.ranges import ByteRange

pytestmark = pytest.mark.slow


@contextmanager
def killed_with_an_upload(folder):
    """Yield a server that was killed, and the upload of which it has the first five of ten bytes."""
    server = Server(folder, auth={"mode": "open"}, limits={"min_free": 0})
    server.start()
    try:
        client = Client(server.port, "cam-1")
        upload_id = client.create("a.mp4", 10)
        client.put(upload_id, ByteRange(0, 5), b"01234", 10, with_digest=False)
        client.close()
        server.kill()
        yield server, upload_id
    finally:
        server.close()


def test_after_a_lost_database_nothing_begins_anew_and_devices_go_on_from_the_copy(tmp_path):
    with killed_with_an_upload(tmp_path) as (server, upload_id):
        copy = server.data_dir / "state.db.copy-1"
        hasty = Program("hasty", tmp_path, [*HASTY_SERVER, "run", "--config", server.config])
        hasty.start()
        try:
            wait_for(copy.exists, "the first copy, soon after the start")
        finally:
            hasty.close()
        for one in server.data_dir.glob("state.db*"):
            if one != copy:
                one.unlink()
        Program.start(server)  # it is never ready
        wait_for(lambda: server.child.ended() is not None, "it ends", 20)
        assert server.child.ended() == EXIT_CONFIG
        assert "ingest-server restore" in server.end_of_log()
        assert not (server.data_dir / "state.db").exists()

        told = server.run("restore")
        server.start()
        client = Client(server.port, "cam-1")
        status, document = client.status(upload_id)
        client.put(upload_id, ByteRange(5, 10), b"56789", 10, with_digest=False)
        completed, _ = client.complete(upload_id, b"0123456789")
        client.close()

    assert "1 unfinished upload," in told
    assert (status, document["received"]) == (200, [[0, 5]])
    assert completed == 200


def test_a_young_database_whose_log_is_lost_is_no_silent_new_start(tmp_path):
    with killed_with_an_upload(tmp_path) as (server, upload_id):
        (server.data_dir / "state.db-wal").unlink()
        (server.data_dir / "state.db-shm").unlink()

        Program.start(server)  # it is never ready
        wait_for(lambda: server.child.ended() is not None, "it ends", 20)
        ended, said = server.child.ended(), server.end_of_log()
        part = server.data_dir / "parts" / f"{upload_id}.part"
        is_kept = part.read_bytes()
        told = server.run("restore")
        server.start()
        client = Client(server.port, "cam-1")
        anew = client.create("a.mp4", 10)
        client.put(anew, ByteRange(0, 10), b"0123456789", 10, with_digest=False)
        completed, _ = client.complete(anew, b"0123456789")
        client.close()

    assert ended == EXIT_CONFIG
    assert "state.db has gone back" in said
    assert "ingest-server restore" in said
    assert is_kept == b"01234"
    assert "itself still knows" in told
    assert completed == 200
