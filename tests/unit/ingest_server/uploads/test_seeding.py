"""An upload that begins with what its device has published of the file before it was written on."""

import errno
import os
import threading
from dataclasses import replace

import pytest

from ingest_server.base.observer import Observer
from ingest_server.core.errors import Refused
from ingest_server.core.record import SUPERSEDES
from ingest_server.uploads import copying, seeding
from ingest_server.uploads.copying import copy_into
from ingest_server.uploads.pending import Pending
from tests.support.core_site import STORES, CoreSite, InThread, new_key
from tests.support.faulty_blobs import failing
from upload_protocol.digests import Digest
from upload_protocol.messages import CompleteRequest, CreateRequest, Extends
from upload_protocol.ranges import ByteRange

BEFORE = os.urandom(1000)
DAMAGED = BEFORE[:10] + b"damage" + BEFORE[16:]
TAIL = os.urandom(100)


@pytest.fixture(params=list(STORES))
def site(request, tmp_path):
    made = CoreSite(STORES[request.param](tmp_path / "data"))
    yield made
    made.stop()


@pytest.fixture
def quick(tmp_path):
    made = CoreSite(STORES["memory"](tmp_path / "data"))
    yield made
    made.stop()


def extending(data=BEFORE, *, name="log.csv", length=None, said=None, **more):
    extends = Extends(Digest.of(data), len(data) if said is None else said)
    return CreateRequest(name, length=length, extends=extends, **more)


def begin(site, request=None, *, device="cam", key=None, **more):
    status, is_new, pending = site.receiver.creation.claim(
        device, key or new_key(), request or extending(), **more
    )
    return status, is_new, pending


def append(site, before, tail, name="log.csv"):
    """Send *before* and *tail* as an agent does; return how many bytes went."""
    status, _, _ = begin(site, extending(before, name=name))
    data = before + tail
    sent = 0
    for gap in status.received.missing(len(data)):
        site.put(status.id, gap.start, data[gap.start : gap.stop])
        sent += gap.length
    site.complete(status.id, data)
    return sent


def test_only_the_tail_is_sent_and_both_contents_are_published(site):
    first = site.upload(BEFORE, "log.csv")

    status, is_new, pending = begin(site)
    site.put(status.id, len(BEFORE), TAIL)
    receipt = site.complete(status.id, BEFORE + TAIL)

    assert (is_new, pending, status.received.to_pairs()) == (True, None, [[0, len(BEFORE)]])
    assert site.published() == {
        first.published_as: BEFORE,
        first.published_as.replace("log.csv", "log-2.csv"): BEFORE + TAIL,
    }
    assert receipt.verified_against == "client"
    assert site.state.get(status.id).metadata[SUPERSEDES] == first.published_as


def test_what_a_client_says_that_it_supersedes_counts_for_nothing(quick):
    request = CreateRequest("log.csv", metadata={SUPERSEDES: "another's.csv", "flight": "7"})
    upload = begin(quick, request)[0].id
    quick.put(upload, 0, BEFORE)
    told = CompleteRequest(len(BEFORE), Digest.of(BEFORE), metadata={SUPERSEDES: "another's.csv"})
    quick.receiver.complete("cam", upload, told)

    assert quick.state.get(upload).metadata == {"flight": "7"}


def test_what_is_copied_is_not_counted_as_received(tmp_path):
    class Counting(Observer):
        received = 0

        def bytes_received(self, count: int) -> None:
            self.received += count

    counting = Counting()
    site = CoreSite(tmp_path / "data", observer=counting)
    site.upload(BEFORE, "log.csv")
    append(site, BEFORE, TAIL)
    site.stop()

    assert counting.received == len(BEFORE + TAIL)


def test_the_copy_is_durable_before_it_is_told(site):
    site.upload(BEFORE, "log.csv")
    status, _, _ = begin(site)

    site.restart()

    assert site.received(status.id) == [[0, len(BEFORE)]]
    assert site.stored(status.id) == BEFORE


def test_a_copy_that_cannot_be_made_durable_counts_for_nothing(site):
    site.upload(BEFORE, "log.csv")
    site.blobs.fail["sync"] = failing(OSError(errno.EIO, "Input/output error"))
    status, _, _ = begin(site)
    site.blobs.fail.clear()

    assert status.received.to_pairs() == []
    site.put(status.id, 0, BEFORE + TAIL)
    assert site.complete(status.id, BEFORE + TAIL).length == len(BEFORE + TAIL)


def test_what_another_device_has_is_as_unknown_as_what_nobody_has(site):
    site.upload(BEFORE, "log.csv")

    others, _, pending = begin(site, device="thief")
    unknown, _, _ = begin(site, extending(b"nobody has this"), device="thief")

    assert (others.received.to_pairs(), pending) == ([], None)
    assert unknown.received.to_pairs() == []
    assert site.state.get(others.id).metadata == site.state.get(unknown.id).metadata == {}


def test_the_digest_of_one_file_with_the_length_of_another_copies_nothing(site):
    site.upload(BEFORE, "log.csv")
    site.upload(b"short", "b.csv")

    status, _, _ = begin(site, extending(said=5))

    assert status.received.to_pairs() == []


def test_an_upload_that_turned_out_to_be_shorter_begins_with_nothing(site):
    site.upload(BEFORE, "log.csv")
    key = new_key()
    status, _, _ = begin(site, CreateRequest("log.csv"), key=key)
    site.put(status.id, 0, b"short", total=5)

    with pytest.raises(Refused) as refused:
        begin(site, key=key, request=extending())

    assert refused.value.code == "inconsistent-length"
    assert site.received(status.id) == [[0, 5]]


def test_the_same_request_again_is_the_same_upload_and_copies_nothing_again(site):
    site.upload(BEFORE, "log.csv")
    key = new_key()
    first, _, _ = begin(site, key=key)
    copies = site.blobs.seen.count("copy")

    again, is_new, _ = begin(site, key=key)

    assert (again.id, is_new, again.received) == (first.id, False, first.received)
    assert site.blobs.seen.count("copy") == copies == 1


def test_a_published_file_that_is_gone_is_sent_whole_and_what_it_was_is_told(site):
    first = site.upload(BEFORE, "log.csv")
    identity = site.blobs.identity(first.published_as)
    site.blobs.remove_published(first.published_as, identity)

    status, _, _ = begin(site)

    assert status.received.to_pairs() == []
    assert site.state.get(status.id).metadata[SUPERSEDES] == first.published_as


def test_a_published_file_that_goes_before_it_is_read_is_sent_whole(site):
    site.upload(BEFORE, "log.csv")
    site.blobs.fail["read published"] = failing(FileNotFoundError(errno.ENOENT, "gone"))

    status, _, _ = begin(site)

    assert status.received.to_pairs() == []


def test_of_a_published_file_that_cannot_be_read_the_rest_is_sent(site, monkeypatch):
    monkeypatch.setattr(copying, "COPY_BYTES", 300)
    site.upload(BEFORE, "log.csv")
    site.blobs.fail["copy"] = failing(OSError(errno.EIO, "Input/output error"), after=2)

    status, _, pending = begin(site)

    assert (status.received.to_pairs(), pending) == ([[0, 600]], None)


def test_l8_who_takes_over_from_a_copy_waits_for_no_more_than_is_sealed_at_once(quick):
    before = os.urandom(2**20) * 17
    quick.upload(before, "log.csv")
    quick.blobs.seen.clear()

    begin(quick, extending(before))

    steps = [one for one in quick.blobs.seen if one in {"copy", "sync"}]
    assert steps == ["copy", "sync"] * 3, "each of 8 MiB, or what is left"


@pytest.fixture
def damaged(tmp_path):
    """A server whose published file somebody has written into."""
    made = CoreSite(tmp_path / "data")
    receipt = made.upload(BEFORE, "log.csv")
    path = made.data_dir / "published" / receipt.published_as
    path.chmod(0o600)
    path.write_bytes(DAMAGED)
    yield made, receipt
    made.stop()


def test_damage_in_the_published_file_is_told_by_its_blocks_and_never_published_again(damaged):
    site, _ = damaged

    status, _, _ = begin(site)
    blocks = site.receiver.blocks.read("cam", status.id, size=4096, start=0, limit=10).blocks
    site.put(status.id, len(BEFORE), TAIL)
    with pytest.raises(Refused) as refused:
        site.complete(status.id, BEFORE + TAIL)
    site.put(status.id, 0, BEFORE)
    site.complete(status.id, BEFORE + TAIL)

    assert blocks[0] == Digest.of(DAMAGED)
    assert refused.value.code == "digest-mismatch"
    assert sorted(site.published().values()) == sorted([DAMAGED, BEFORE + TAIL])


def test_a_published_file_that_is_known_to_be_damaged_is_not_copied(damaged):
    site, receipt = damaged
    site.receiver.standings.check(receipt)

    status, _, _ = begin(site)

    assert status.received.to_pairs() == []


def test_as_much_is_copied_as_sixteen_times_the_first_and_then_one_is_sent_whole(quick):
    site, data = quick, BEFORE
    site.upload(data, "log.csv")
    sent = []

    for number in range(40):
        sent.append(append(site, data, b"%04d" % number))
        data += b"%04d" % number

    whole = [number for number, count in enumerate(sent) if count > 4]
    assert whole == [15, 31]
    assert sum(sent) < 3 * len(data)


def test_as_much_as_may_be_copied_is_to_the_last_byte(quick):
    site, data = quick, BEFORE[:420]
    site.upload(data, "log.csv")
    sent = []

    for number in range(16):  # of 420, 424, ... bytes: fifteen of them are sixteen times the first
        sent.append(append(site, data, b"%04d" % number))
        data += b"%04d" % number

    assert sent == [4] * 15 + [len(data)]


def test_other_names_of_the_same_bytes_are_no_other_first(quick):
    site, data = quick, BEFORE
    site.upload(data, "log.csv")
    sent = 0

    for number in range(32):
        sent += append(site, data, b"%04d" % number)
        data += b"%04d" % number
        linked, _, _ = site.receiver.creation.claim(
            "cam", new_key(), CreateRequest("b.csv", length=len(data), digest=Digest.of(data))
        )
        assert linked.state == "complete"

    assert sent > 2 * len(BEFORE)


def test_a_copy_ends_when_its_caller_leaves_and_the_next_request_goes_on_with_it(site, monkeypatch):
    monkeypatch.setattr(copying, "COPY_BYTES", 300)
    site.upload(BEFORE, "log.csv")
    key, asked = new_key(), []

    def has_left() -> bool:
        asked.append(1)
        return len(asked) > 2

    with pytest.raises(Refused) as refused:
        begin(site, key=key, has_left=has_left)
    [upload] = site.state.open_uploads("cam")
    kept = site.received(upload.id)
    status, is_new, _ = begin(site, key=key)

    assert refused.value.code == "request-timeout"
    assert kept == [[0, 600]]
    assert (status.id, is_new, status.received.to_pairs()) == (upload.id, False, [[0, 1000]])


def test_a_long_copy_is_pending_after_a_while_and_goes_on_when_it_is_asked_for(site, monkeypatch):
    monkeypatch.setattr(copying, "COPY_BYTES", 300)
    site.upload(BEFORE, "log.csv")
    key = new_key()
    site.blobs.fail["copy"] = lambda: setattr(site.clock, "seconds", site.clock.seconds + 100)

    answers = [begin(site, key=key) for _ in range(4)]

    assert [pending is not None for _, _, pending in answers] == [True, True, True, False]
    assert isinstance(answers[0][2], Pending)
    assert [status.received.total for status, _, _ in answers] == [300, 600, 900, 1000]


def test_a_copy_waits_for_another_of_its_device_and_is_pending_meanwhile(site):
    site.upload(BEFORE, "log.csv")
    site.receiver.settings = replace(site.settings, verify_wait_s=0.01)
    key, is_free = new_key(), threading.Event()
    reading = site.receiver._seeding._turns.submit("cam", is_free.wait)

    status, _, pending = begin(site, key=key)
    is_free.set()
    reading.result(20)
    site.receiver.settings = replace(site.settings, verify_wait_s=20)

    assert (pending is not None, status.received.to_pairs()) == (True, [])
    assert begin(site, key=key)[0].received.to_pairs() == [[0, len(BEFORE)]]


def test_a_full_disk_in_the_middle_keeps_what_is_there_and_the_same_request_goes_on(
    site, monkeypatch
):
    monkeypatch.setattr(copying, "COPY_BYTES", 300)
    site.upload(BEFORE, "log.csv")
    key = new_key()
    site.blobs.fail["copy"] = failing(OSError(errno.ENOSPC, "No space left on device"), after=1)

    with pytest.raises(Refused) as refused:
        begin(site, key=key)
    site.blobs.fail.clear()
    status, _, _ = begin(site, key=key)

    assert refused.value.code == "storage-full"
    assert status.received.to_pairs() == [[0, len(BEFORE)]]


def test_no_more_is_copied_than_the_quota_of_the_device_allows(site):
    site.upload(BEFORE, "log.csv")
    site.receiver.settings = replace(site.settings, quota_bytes=len(BEFORE) - 1)

    with pytest.raises(Refused) as refused:
        begin(site)

    assert refused.value.code == "quota-exceeded"


def test_bytes_that_the_client_sends_meanwhile_take_over(site, monkeypatch):
    monkeypatch.setattr(copying, "COPY_BYTES", 300)
    site.upload(BEFORE, "log.csv")
    key = new_key()
    status, _, _ = begin(site, CreateRequest("log.csv"), key=key)
    changed = b"new" + BEFORE[3:500]
    calls = []

    def send() -> None:
        calls.append(1)
        if len(calls) == 2:
            InThread(lambda: site.put(status.id, 0, changed)).join()

    def watched(*args, go_on, **more):
        def also() -> None:
            go_on()
            send()

        copy_into(*args, go_on=also, **more)

    monkeypatch.setattr(seeding, "copy_into", watched)
    with pytest.raises(Refused) as refused:
        begin(site, extending(), key=key)

    assert refused.value.code == "superseded"
    assert site.stored(status.id)[:500] == changed
    assert site.receiver.status("cam", status.id).received.covers(ByteRange(0, 500))


@pytest.mark.parametrize("step", ["copy", "sync"])
def test_a_power_cut_at_any_step_leaves_what_was_told_and_the_same_request_goes_on(site, step):
    class PowerCut(BaseException):
        """Nothing catches this."""

    site.upload(BEFORE, "log.csv")
    key = new_key()
    site.blobs.fail[step] = failing(PowerCut())
    with pytest.raises(PowerCut):
        begin(site, key=key)
    site.blobs.fail.clear()

    site.restart()

    status, is_new, _ = begin(site, key=key)
    assert (is_new, status.received.to_pairs()) == (False, [[0, len(BEFORE)]])
    assert site.stored(status.id) == BEFORE
