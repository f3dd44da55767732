"""The folder of published files as the program fills it, and a consumer sees it."""

import pytest

from tests.support.crash_load import MODIFIED_S, Client
from tests.support.inotify import watching
from tests.support.processes import Server, wait_for
from upload_protocol.ranges import ByteRange

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path, auth={"mode": "open"}, limits={"min_free": 0})
    made.start()
    yield made
    made.close()


def send(client: Client, name: str, data: bytes) -> dict:
    upload_id = client.create(name, len(data))
    client.put(upload_id, ByteRange(0, len(data)), data, len(data), with_digest=False)
    status, receipt = client.complete(upload_id, data)
    assert status == 200, receipt
    return receipt


def test_a_watcher_is_told_of_each_file_once_when_it_is_whole(server):
    files = {f"{n}.mp4": b"%d" % n * 1000 for n in range(5)}
    with watching(server.published) as watcher:
        for device in ("cam-1", "cam-2"):
            client = Client(server.port, device)
            receipts = [send(client, name, data) for name, data in files.items()]
            client.close()
        wait_for(lambda: len(watcher.whole()) >= 2 * len(files), "the watcher is told")

    told = watcher.whole()
    assert len(told) == len(dict(told)) == 2 * len(files)
    assert {path: data for path, data in told if path.startswith("cam-2/")} == {
        receipt["published_as"]: files[receipt["name"]] for receipt in receipts
    }
    assert {kind for kind, _, _ in watcher.seen} == {"create", "close_write"}
    assert not any(path.rpartition("/")[2].startswith(".") for _, path, _ in watcher.seen)


def test_a_published_file_carries_the_recordings_time(server):
    client = Client(server.port, "cam-1")
    receipt = send(client, "a.mp4", b"hello")
    client.close()

    assert (server.published / receipt["published_as"]).stat().st_mtime == MODIFIED_S
