"""L8: a retry takes over at once from a request whose link died."""

import threading
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from ingest_server.core.errors import Refused
from ingest_server.uploads.hashing import RunningHash
from ingest_server.uploads.live import LiveUploads
from ingest_server.uploads.writers import Writer
from tests.support.core_site import BytesBody, HangingBody, InThread, on_all_stores, on_disk
from tests.support.present import present
from upload_protocol.digests import Digest
from upload_protocol.messages import CompleteRequest
from upload_protocol.ranges import ByteRange


def begun(site, upload, start, data, stop):
    """A request that has sent *data* and then hangs on a dead link."""
    body = HangingBody(data)
    request = InThread(lambda: site.put(upload, start, b"", stop=stop, body=body))
    assert body.silent.wait(10)
    return request


@on_all_stores
def test_l8_a_retry_takes_over_at_once_and_keeps_what_had_arrived(site):
    upload = site.create(length=1000)
    dead = begun(site, upload, 0, b"a" * 400, 1000)

    site.put(upload, 400, b"b" * 600)

    with pytest.raises(Refused, match="superseded"):
        dead.join(10)
    assert site.received(upload) == [[0, 1000]]
    site.complete(upload, b"a" * 400 + b"b" * 600)


@on_all_stores
def test_other_lanes_of_the_upload_go_on(site):
    upload = site.create(length=2000)
    other = HangingBody(b"c" * 100)
    lane = InThread(lambda: site.put(upload, 1000, b"", stop=2000, body=other))
    assert other.silent.wait(10)
    dead = begun(site, upload, 0, b"a" * 400, 1000)

    site.put(upload, 0, b"b" * 1000)

    with pytest.raises(Refused, match="superseded"):
        dead.join(10)
    assert not other.interrupted.is_set()
    other.interrupt()
    with pytest.raises(Refused, match="body-truncated"):
        lane.join()
    assert site.received(upload) == [[0, 1100]]


@on_all_stores
def test_a_stale_write_cannot_land_after_the_takeover(site):
    upload = site.create(length=1000)
    let_go = threading.Event()
    asked = threading.Event()

    class ReadsOnLate(BytesBody):
        """Returns bytes from the kernel's buffer after its socket was shut."""

        def readinto(self, buffer):
            asked.set()
            assert let_go.wait(20)
            buffer[:] = b"s" * len(buffer)
            return len(buffer)

    stale = InThread(lambda: site.put(upload, 0, b"", stop=1000, body=ReadsOnLate(b"")))
    assert asked.wait(10)
    site.put(upload, 0, b"n" * 1000)

    let_go.set()

    with pytest.raises(Refused, match="superseded"):
        stale.join()
    assert site.stored(upload) == b"n" * 1000
    site.complete(upload, b"n" * 1000)


@on_all_stores
def test_a_request_with_a_digest_that_is_taken_over_leaves_nothing_recorded(site):
    upload = site.create(length=1000)
    body = HangingBody(b"a" * 400)
    dead = InThread(
        lambda: site.put(upload, 0, b"", stop=1000, body=body, digest=Digest.of(b"a" * 1000))
    )
    assert body.silent.wait(10)

    site.put(upload, 900, b"b" * 100)

    with pytest.raises(Refused, match="superseded"):
        dead.join(10)
    assert site.received(upload) == [[900, 1000]]


@on_all_stores
def test_what_a_superseded_request_hashed_but_did_not_seal_is_not_in_the_digest(site):
    upload = site.create(length=1000)
    site.put(upload, 0, b"0" * 100)
    calls = []

    def fail_once():
        calls.append(1)
        if len(calls) == 1:
            raise OSError(5, "the dying request's seal fails")

    dead = begun(site, upload, 100, b"a" * 400, 1000)
    site.blobs.fail["sync"] = fail_once

    site.put(upload, 100, b"b" * 900)

    with pytest.raises(Refused, match="superseded"):
        dead.join(10)
    site.complete(upload, b"0" * 100 + b"b" * 900)


@on_all_stores
def test_of_many_newcomers_at_once_one_has_the_last_word_and_the_file_is_whole(site):
    upload = site.create(length=200_000)
    bodies = [bytes([65 + n]) * 200_000 for n in range(6)]

    requests = [
        InThread(partial(site.put, upload, 0, data, body=BytesBody(data, step=5000)))
        for data in bodies
    ]
    for request in requests:
        with suppress(Refused):
            request.join()
    site.put(upload, 0, b"z" * 200_000)

    site.complete(upload, b"z" * 200_000)


@on_disk
def test_an_abort_ends_a_running_request(site):
    upload = site.create(length=1000)
    dead = begun(site, upload, 0, b"a" * 400, 1000)

    assert site.receiver.abort("cam", upload).state == "aborted"

    with pytest.raises(Refused, match="upload-aborted"):
        dead.join(10)
    assert site.receiver.abort("cam", upload).state == "aborted"
    with pytest.raises(Refused, match="upload-aborted"):
        site.put(upload, 0, b"x")
    assert not list((site.data_dir / "parts").iterdir())


@on_all_stores
def test_complete_closes_to_running_requests_and_opens_again_when_bytes_are_missing(site):
    upload = site.create(length=1000)
    dead = begun(site, upload, 0, b"a" * 400, 1000)

    with pytest.raises(Refused, match="ranges-missing") as caught:
        site.receiver.complete("cam", upload, CompleteRequest(1000, None))

    assert present(caught.value.missing).to_pairs() == [[400, 1000]]
    with pytest.raises(Refused, match="not-open"):
        dead.join(10)
    site.put(upload, 400, b"b" * 600)


@on_all_stores
def test_while_an_upload_is_closed_nobody_comes_in(site):
    upload = site.create(length=1000)

    with (
        site.store.live.hold(upload) as live,
        live.closed(Refused("not-open", "closed")),
        pytest.raises(Refused, match="not-open"),
    ):
        site.put(upload, 0, b"x" * 1000)

    assert live.writers() == []
    site.put(upload, 0, b"x" * 1000)


def test_what_is_in_use_is_never_forgotten():
    live = LiveUploads(idle=2)
    with live.hold("used") as used:
        for n in range(10):
            with live.hold(f"idle-{n}"):
                pass
        with live.hold("used") as again:
            assert again is used

    assert len(live.all()) == 2


def test_a_request_that_was_superseded_before_it_began_takes_no_claim_from_the_newer_one():
    class Claimed:
        def begin(self):
            raise AssertionError("it took a claim")

        def end(self):
            """Nothing was taken."""

    claimed: Any = Claimed()
    writer = Writer(ByteRange(0, 10), BytesBody(b""), claimed, RunningHash(), is_held=False)
    writer.cancel(Refused("superseded", "a newer request sends these bytes"))

    with pytest.raises(Refused, match="superseded"):
        writer.begin()
    writer.close()
