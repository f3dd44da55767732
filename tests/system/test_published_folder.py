"""The folder of published files as the program fills it, and a consumer sees it."""

import shutil
import subprocess
from typing import Any

import pytest

from tests.support.crash_client import MODIFIED_S, Client
from tests.support.file_systems import tmpfs
from tests.support.inotify import watching
from tests.support.processes import Program, Server, wait_for
from upload_protocol.ranges import ByteRange

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path, auth={"mode": "open"}, limits={"min_free": 0})
    made.start()
    yield made
    made.close()


def send(client: Client, name: str, data: bytes) -> dict[str, Any]:
    upload_id = client.create(name, len(data))
    client.put(upload_id, ByteRange(0, len(data)), data, len(data), with_digest=False)
    status, receipt = client.complete(upload_id, data)
    assert status == 200, receipt
    return receipt


def test_a_watcher_is_told_of_each_file_once_when_it_is_whole(server):
    files = {f"{n}.mp4": b"%d" % n * 1000 for n in range(5)}
    with watching(server.published) as watcher:
        receipts = []
        for device in ("cam-1", "cam-2"):
            client = Client(server.port, device)
            receipts += [send(client, name, data) for name, data in files.items()]
            client.close()
        wait_for(lambda: len(watcher.whole()) >= 2 * len(files), "the watcher is told")

    told = watcher.whole()
    assert len(told) == len(dict(told)) == 2 * len(files)
    assert dict(told) == {one["published_as"]: files[one["name"]] for one in receipts}
    assert {kind for kind, _, _ in watcher.seen} == {"create", "close_write"}
    assert not any(path.rpartition("/")[2].startswith(".") for _, path, _ in watcher.seen)


def test_a_published_file_carries_the_recordings_time(server):
    client = Client(server.port, "cam-1")
    receipt = send(client, "a.mp4", b"hello")
    client.close()

    assert (server.published / receipt["published_as"]).stat().st_mtime == MODIFIED_S


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_published_folder_that_is_cleared_away_as_a_whole_is_made_again(server, is_moved):
    """A consumer that moves or removes it with all that is in it, while the server runs."""
    client = Client(server.port, "cam-1")
    first = send(client, "a.mp4", b"hello")
    if is_moved:
        server.published.rename(server.published.with_name("taken"))
    else:
        shutil.rmtree(server.published)

    after = [send(client, name, data) for name, data in [("b.mp4", b"world"), ("a.mp4", b"hello")]]
    client.close()

    found = {one["published_as"]: (server.published / one["published_as"]) for one in after}
    assert {name: path.read_bytes() for name, path in found.items()} == {
        first["published_as"].replace("a.mp4", "b.mp4"): b"world",
        first["published_as"]: b"hello",
    }
    assert [one["event"] for one in server.log() if one["level"] == "warning"] == [
        "published.taken_anew"
    ]


@pytest.fixture
def elsewhere(tmp_path):
    """A server whose published folder is a volume of its own."""
    published = tmp_path / "data" / "published"
    with tmpfs(published):
        made = Server(tmp_path, auth={"mode": "open"}, limits={"min_free": 0})
        made.start()
        yield made
        made.close()


def test_a_published_folder_on_another_volume_is_copied_to(elsewhere, tmp_path):
    data = b"0123456789" * 400_000
    with watching(elsewhere.published) as watcher:
        client = Client(elsewhere.port, "cam-1")
        receipts = [send(client, "a.mp4", data), send(client, "a.mp4", b"another")]
        client.close()
        wait_for(lambda: receipts[1]["published_as"] in dict(watcher.whole()), "it is told")
    verified = elsewhere.run("verify")
    elsewhere.stop()

    files = elsewhere.published_files()
    assert [one.read_bytes() for one in files] == [b"another", data]
    assert {one.stat().st_mtime for one in files} == {MODIFIED_S}
    assert [str(one.relative_to(elsewhere.published)) for one in files] == [
        receipts[1]["published_as"],
        receipts[0]["published_as"],
    ]
    assert list((elsewhere.data_dir / "parts").iterdir()) == []
    told = [path for path, _ in watcher.whole() if not path.startswith(".ingest-server/")]
    assert told == [receipt["published_as"] for receipt in receipts]
    assert "2 of 2 published files are intact" in verified


def test_a_volume_that_is_full_is_told_and_gone_on_with(tmp_path):
    published = tmp_path / "data" / "published"
    with tmpfs(published):
        subprocess.run(["mount", "-o", "remount,size=1m", published], check=True)
        server = Server(tmp_path, auth={"mode": "open"}, limits={"min_free": 0})
        server.start()
        try:
            client = Client(server.port, "cam-1")
            data = b"x" * 3_000_000
            subprocess.run(["mount", "-o", "remount,size=8m", published], check=True)
            upload_id = client.create("a.mp4", len(data))
            client.put(upload_id, ByteRange(0, len(data)), data, len(data), with_digest=False)
            subprocess.run(["mount", "-o", "remount,size=1m", published], check=True)
            refused = client.complete(upload_id, data)
            subprocess.run(["mount", "-o", "remount,size=8m", published], check=True)
            status, receipt = client.complete(upload_id, data)
            client.close()
        finally:
            server.close()
        content = (published / receipt["published_as"]).read_bytes()

    assert (refused[0], refused[1]["code"]) == (507, "storage-full")
    assert (status, content) == (200, data)


def test_a_volume_that_became_read_only_is_said_in_the_log_and_gone_on_with(elsewhere):
    client, data = Client(elsewhere.port, "cam-1"), b"x" * 1000
    upload_id = client.create("a.mp4", len(data))
    client.put(upload_id, ByteRange(0, len(data)), data, len(data), with_digest=False)
    subprocess.run(["mount", "-o", "remount,ro", elsewhere.published], check=True)
    refused = [client.complete(upload_id, data) for _ in range(3)]
    subprocess.run(["mount", "-o", "remount,rw", elsewhere.published], check=True)
    status, _ = client.complete(upload_id, data)
    client.close()

    assert [answer["code"] for _, answer in refused] == ["storage-failed"] * 3
    assert status == 200
    [told] = [line["error"] for line in elsewhere.log() if line["event"] == "storage.failed"]
    assert "Read-only file system" in told
    assert "see to the disk" in told


def test_a_volume_that_is_not_mounted_is_not_published_under(elsewhere):
    elsewhere.stop()
    subprocess.run(["umount", "--lazy", elsewhere.published], check=True)
    Program.start(elsewhere)
    wait_for(lambda: elsewhere.child.ended() is not None, "it ends", 20)

    assert "mount it" in elsewhere.end_of_log()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", elsewhere.published], check=True)


def test_a_rotten_file_on_another_volume_is_kept_apart_by_a_copy(elsewhere):
    client = Client(elsewhere.port, "cam-1")
    receipt = send(client, "a.mp4", b"0123456789")
    client.close()
    (elsewhere.published / receipt["published_as"]).write_bytes(b"012345678?")

    with pytest.raises(AssertionError, match="quarantine"):
        elsewhere.run("verify")  # which fails, and says why

    assert elsewhere.published_files() == []
    kept = elsewhere.data_dir / "quarantine" / receipt["published_as"]
    assert kept.read_bytes() == b"012345678?"
