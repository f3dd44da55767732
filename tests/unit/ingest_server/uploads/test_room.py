import threading
from functools import partial
from typing import Any

import pytest

from ingest_server.auth import admitted
from ingest_server.core.errors import Refused
from ingest_server.uploads import copying
from ingest_server.uploads.concatenation import MAX_COPIES
from tests.support.core_site import BytesBody, CoreSite, HangingBody, InThread, Memory
from tests.support.faulty_blobs import FaultyMemory, failing


class Small(CoreSite):
    """A site whose disk takes *room* bytes."""

    def __init__(self, room: int, **settings: Any) -> None:
        self.disk = FaultyMemory()
        self.disk.room = room
        super().__init__(Memory(self.disk), **{"min_free_bytes": 100, "seal_bytes": 10, **settings})


class AllAtOnce(BytesBody):
    """Begins once all have been let in; a seal or less at a time."""

    def __init__(self, data: bytes, gate: threading.Barrier) -> None:
        super().__init__(data, 7)
        self._gate = gate
        self._is_let_in = False

    def readinto(self, buffer: memoryview) -> int:
        if not self._is_let_in:
            self._is_let_in = True
            self._gate.wait(10)
        return super().readinto(buffer)


def put(site: CoreSite, upload: str, body: BytesBody, length: int) -> str:
    try:
        site.put(upload, 0, b"", stop=length, body=body)
    except Refused as refused:
        return refused.code
    return "stored"


def test_bodies_that_were_let_in_together_leave_the_reserve_free():
    site = Small(room=300)
    gate = threading.Barrier(4)
    uploads = [site.create(f"{number}.mp4", 150) for number in range(4)]
    running = [
        InThread(partial(put, site, upload, AllAtOnce(b"x" * 150, gate), 150)) for upload in uploads
    ]

    told = [one.join() for one in running]

    assert told.count("stored") <= 1
    assert set(told) <= {"stored", "storage-full"}
    assert site.blobs.free_bytes() >= 100
    kept = sum(stop - start for one in uploads for start, stop in site.received(one))
    assert site.blobs.free_bytes() == 300 - kept
    site.stop()


def test_a_slow_request_holds_what_it_may_write_next_and_not_what_it_declares():
    site = Small(room=300)
    slow, fast = site.create("slow.mp4", 150), site.create("fast.mp4", 150)
    body = HangingBody(b"x" * 20)
    request = InThread(lambda: put(site, slow, body, 150))
    body.silent.wait(10)

    # 280 are free, 100 of them reserved and 10 the slow one's.
    assert put(site, fast, BytesBody(b"x" * 150), 150) == "stored"
    with pytest.raises(Refused, match="running requests may write 10"):
        site.create("more.mp4", 21)

    site.receiver.abort("cam", slow)
    assert request.join() == "upload-aborted"
    site.create("more.mp4", 21)
    site.stop()


def test_what_is_stored_already_needs_no_room():
    site = Small(room=300)
    upload = site.create(length=150)
    site.put(upload, 0, b"x" * 150)
    site.disk.room = 150

    site.put(upload, 0, b"x" * 150)

    assert site.received(upload) == [[0, 150]]
    site.stop()


def test_a_concatenation_leaves_the_reserve_free():
    site = Small(room=1000)
    source, target = site.create("part", 150), site.create("whole", 300)
    site.put(source, 0, b"x" * 150)
    site.disk.room = 400

    with pytest.raises(Refused, match="storage-full"):
        site.receiver.concatenation.fill("cam", target, [source, source])

    assert site.blobs.free_bytes() >= 100
    site.stop()


def test_a_copy_for_which_there_was_no_room_counts_for_none():
    site = Small(room=1000)
    source = site.create("part", 150)
    site.put(source, 0, b"x" * 150)
    for number in range(MAX_COPIES + 1):
        site.disk.room = 1000
        whole = site.create(f"{number}", 150)
        site.disk.room = 300
        with pytest.raises(Refused, match="storage-full"):
            site.receiver.concatenation.fill("cam", whole, [source])
    site.disk.room = 1000

    again = site.create("again", 150 * MAX_COPIES)
    site.receiver.concatenation.fill("cam", again, [source] * MAX_COPIES)

    assert site.received(again) == [[0, 150 * MAX_COPIES]]
    with pytest.raises(Refused, match=r"too-large: .* would be copied 5 times"):
        site.receiver.concatenation.fill("cam", site.create("more", 150), [source])
    site.stop()


@pytest.mark.parametrize("begun", [True, False])
def test_a_copy_of_which_a_byte_was_written_counts_however_it_ended(monkeypatch, begun):
    monkeypatch.setattr(copying, "COPY_BYTES", 100)
    site = Small(room=10_000)
    source = site.create("part", 150)
    site.put(source, 0, b"x" * 150)
    upload = site.create("whole", 600)
    # Room for the first part, and for a piece of the second or not.
    site.disk.room = 500 if begun else 400
    with pytest.raises(Refused, match="storage-full"):
        site.receiver.concatenation.fill("cam", upload, [source] * 4)
    assert site.blobs.free_bytes() == 100
    with pytest.raises(Refused, match="storage-full"):  # before a byte is written, this time
        site.receiver.concatenation.fill("cam", upload, [source] * 4)
    site.disk.room = 10_000

    more = [source] * (2 if begun else 3)
    site.receiver.concatenation.fill("cam", site.create("other", 150 * len(more)), more)
    with pytest.raises(Refused, match=r"too-large: .* would be copied"):
        site.receiver.concatenation.fill("cam", site.create("more", 150), [source])
    site.stop()


def test_what_another_service_goes_on_to_copy_stays_counted():
    site = Small(room=10_000)
    first, second = (site.create(name, 150) for name in ("first", "second"))
    for source in (first, second):
        site.put(source, 0, b"x" * 150)
    site.disk.fail["copy"] = failing(Refused("superseded", "another replica copies these bytes"))
    with pytest.raises(Refused, match="superseded"):
        site.receiver.concatenation.fill("cam", site.create("whole", 300), [first, second])
    del site.disk.fail["copy"]

    site.receiver.concatenation.fill("cam", site.create("more", 450), [second] * 3)

    with pytest.raises(Refused, match=r"too-large: .* would be copied 5 times"):
        site.receiver.concatenation.fill("cam", site.create("another", 150), [second])
    site.stop()


def test_a_stop_ends_a_concatenation_before_its_next_piece(monkeypatch):
    monkeypatch.setattr(copying, "COPY_BYTES", 100)
    site = Small(room=10_000)
    source, upload = site.create("part", 150), site.create("whole", 600)
    site.put(source, 0, b"x" * 150)
    site.disk.fail["copy"] = site.store.stopping.set

    with pytest.raises(Refused, match="stopping"):
        site.receiver.concatenation.fill("cam", upload, [source] * 4)

    assert site.received(upload) == [[0, 100]]
    site.stop()


def test_what_failed_is_counted_once_when_it_is_asked_for_again():
    site = Small(room=1000)
    source, upload = site.create("part", 150), site.create("whole", 300)
    site.put(source, 0, b"x" * 150)
    site.disk.room = 200
    with pytest.raises(Refused, match="storage-full"):
        site.receiver.concatenation.fill("cam", upload, [source] * 2)
    site.disk.room = 10_000
    for _ in range(3):
        site.receiver.concatenation.fill("cam", upload, [source] * 2)

    site.receiver.concatenation.fill("cam", site.create("other", 300), [source] * 2)

    with pytest.raises(Refused, match="too-large"):
        site.receiver.concatenation.fill("cam", site.create("third", 150), [source])
    site.stop()


def test_a_quota_that_is_lowered_holds_for_a_body_of_unknown_length_that_runs():
    site = Small(room=1000)
    upload = site.create()

    class Lowers(BytesBody):
        def at_end(self) -> int:
            raise AssertionError("it is refused before its end")

        def readinto(self, buffer: memoryview) -> int:
            if self.at == 20:
                site.receiver.settings = type(site.settings)(
                    min_free_bytes=0, seal_bytes=10, quota_bytes=25
                )
            return super().readinto(buffer)

    assert put(site, upload, Lowers(b"x" * 60, 10), 60) == "quota-exceeded"
    assert site.received(upload) == [[0, 20]]
    site.stop()


def test_a_caller_who_is_not_admitted_any_more_has_nothing_sealed_and_completes_nothing():
    site = Small(room=1000)
    upload, whole = site.create(length=50), site.create("whole.mp4", 5)
    site.put(whole, 0, b"whole")
    answers = [None, None, Refused("unauthorized", "the token was revoked")]

    def question() -> None:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is not None:
            raise answer

    admitted.now_for(question)
    try:
        assert put(site, upload, BytesBody(b"x" * 50, 10), 50) == "unauthorized"
        with pytest.raises(Refused, match="unauthorized"):
            site.complete(whole, b"whole")
    finally:
        admitted.now_for(admitted.for_itself)

    assert site.received(upload) == [[0, 10]]
    assert site.published() == {}
    site.stop()
