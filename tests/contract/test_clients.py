"""What every client of a server does, whatever it speaks: one suite for all implementations."""

import os
import time
from contextlib import contextmanager

import pytest

from edge_agent.base.errors import (
    AbortedError,
    ConflictError,
    LinkDownError,
    NotDirectError,
    SourceChangedError,
    TransportError,
    UploadLostError,
)
from edge_agent.core.plan import within_borders
from edge_agent.net.endpoint import Endpoint
from edge_agent.send.clients.interface import CanAbort, CanEnrol, LaneClient, Pending
from edge_agent.send.clients.native import NativeClient
from edge_agent.send.clients.straight import ToStore
from ingest_server.storage.memory.state import MemoryState
from ingest_server.storage.s3.blobs import S3Blobs
from ingest_server.storage.s3.places import S3Places
from tests.support.clock import VirtualClock
from tests.support.ingest import ingest
from tests.support.link import Fault, Link
from tests.support.memory_server import MemoryClient, MemoryServer
from tests.support.seaweed import seaweed
from upload_protocol.digests import Digest
from upload_protocol.direct import Part
from upload_protocol.messages import CompleteRequest, CreateRequest
from upload_protocol.ranges import ByteRange, RangeSet

KIB = 1024
KEY, OTHER_KEY = "a" * 32, "b" * 32


class Native:
    """Over the real application; `lose_answer` loses the next one."""

    @staticmethod
    @contextmanager
    def made(base):
        with ingest(base / "server") as server:
            link = Link(server.app, VirtualClock())
            with NativeClient(
                Endpoint(url="http://127.0.0.1"),
                token=lambda: None,
                utc=link.clock.now_utc,
                via=link,
            ) as client:
                yield client, lambda: link.script(Fault(lose_answer=True))


class StraightClient(NativeClient):
    """Sends to the store what the server signs, and the rest through the server, as a lane does."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._store = ToStore(
            Endpoint(url="http://127.0.0.1")
        )  # over the network, unlike the server
        self.went_straight = 0

    def send(self, upload_id, where, length, body):
        data = b"".join(body)
        parts = [
            Part(one, Digest.of(data[one.start - where.start : one.stop - where.start]))
            for one in within_borders(where, S3Blobs.border_bytes)
        ]
        try:
            signed = self.sign_parts(upload_id, parts)
            for part in signed:
                piece = data[part.range.start - where.start : part.range.stop - where.start]
                self.put_part(part, iter([piece]))
            status = self.report_parts(upload_id, [part.sent for part in signed])
        except NotDirectError:
            return super().send(upload_id, where, length, iter([data]))
        self.went_straight += len(data)
        return status

    def complete(self, upload_id, request):
        while isinstance(outcome := super().complete(upload_id, request), Pending):
            time.sleep(0.1)
        return outcome


class Straight:
    """Bytes go to a real SeaweedFS by signed requests."""

    @staticmethod
    @contextmanager
    def made(base, store):
        del base
        state = MemoryState()
        blobs = S3Places(S3Blobs(store.place()), (), state)
        with ingest(stores=(state, blobs), direct={""}) as server:
            link = Link(server.app, VirtualClock())
            with StraightClient(
                Endpoint(url="http://127.0.0.1"),
                token=lambda: None,
                utc=link.clock.now_utc,
                via=link,
            ) as client:
                yield client, lambda: link.script(Fault(lose_answer=True))


class InMemory:
    @staticmethod
    @contextmanager
    def made(base):
        del base
        losses: list[LinkDownError] = []

        def befall(duty):
            return losses.pop() if losses and duty == "answer" else None

        with MemoryClient(MemoryServer(), befall=befall) as client:
            yield client, lambda: losses.append(LinkDownError("the link broke"))


@pytest.fixture(scope="module")
def store():
    with seaweed() as found:
        yield found


@pytest.fixture(
    params=[Native, InMemory, pytest.param(Straight, marks=pytest.mark.slow)],
    ids=["native", "memory", "straight"],
)
def made(request, tmp_path):
    more = [request.getfixturevalue("store")] if request.param is Straight else []
    with request.param.made(tmp_path, *more) as both:
        yield both


@pytest.fixture
def client(made) -> LaneClient:
    return made[0]


@pytest.fixture
def lose_answer(made):
    return made[1]


def wanted(length, name="a.mp4"):
    return CreateRequest(name=name, length=length, device="cam")


def pieces(data, size=64 * KIB):
    return (data[at : at + size] for at in range(0, len(data), size))


def sent(client, data, name="a.mp4", key=KEY):
    upload_id = client.create(wanted(len(data), name), key).id
    if data:
        client.send(upload_id, ByteRange(0, len(data)), len(data), pieces(data))
    return upload_id


def claim_of(data):
    return CompleteRequest(len(data), Digest.of(data))


def test_a_probe_comes_back_with_its_nonce(client):
    assert client.probe("n0nce").nonce == "n0nce"


def test_a_new_upload_is_open_and_empty(client):
    status = client.create(wanted(10), KEY)

    assert (status.state, status.length, status.received) == ("open", 10, RangeSet())
    assert client.status(status.id) == status


def test_a_key_finds_its_upload_again(client, lose_answer):
    lose_answer()
    with pytest.raises(LinkDownError):
        client.create(wanted(10), KEY)

    first = client.create(wanted(10), KEY)

    assert client.create(wanted(10), KEY).id == first.id
    assert client.create(wanted(10), OTHER_KEY).id != first.id


def test_a_key_of_another_file_is_refused(client):
    client.create(wanted(10), KEY)

    with pytest.raises(UploadLostError, match="idempotency-key-reused"):
        client.create(wanted(11), KEY)


def test_an_unknown_upload_is_lost(client):
    for ask in (
        lambda: client.status("f" * 32),
        lambda: client.send("f" * 32, ByteRange(0, 1), 1, iter([b"x"])),
        lambda: client.complete("f" * 32, claim_of(b"x")),
    ):
        with pytest.raises(UploadLostError):
            ask()


def test_what_was_sent_is_held_whatever_the_order(client):
    data = os.urandom(300 * KIB)
    upload_id = client.create(wanted(len(data)), KEY).id

    client.send(upload_id, ByteRange(200 * KIB, 300 * KIB), len(data), pieces(data[200 * KIB :]))
    status = client.send(upload_id, ByteRange(0, 100 * KIB), len(data), pieces(data[: 100 * KIB]))

    assert status.received.to_pairs() == [[0, 100 * KIB], [200 * KIB, 300 * KIB]]
    assert client.status(upload_id).received == status.received
    if isinstance(client, StraightClient):
        assert client.went_straight == 200 * KIB


def test_bytes_that_are_sent_again_change_nothing(client, lose_answer):
    data = os.urandom(100 * KIB)
    upload_id = sent(client, data)
    lose_answer()
    with pytest.raises(LinkDownError):
        client.send(upload_id, ByteRange(0, len(data)), len(data), pieces(data))

    status = client.send(upload_id, ByteRange(0, len(data)), len(data), pieces(data))

    assert status.received.total == len(data)
    assert client.complete(upload_id, claim_of(data)).digest == Digest.of(data)


def test_a_body_whose_source_fails_says_why_and_what_had_gone_may_stay(client):
    upload_id = client.create(wanted(200 * KIB), KEY).id

    def body():
        yield bytes(64 * KIB)
        raise SourceChangedError("a.mp4 was changed")

    with pytest.raises(SourceChangedError, match=r"a\.mp4"):
        client.send(upload_id, ByteRange(0, 200 * KIB), 200 * KIB, body())

    assert client.status(upload_id).received.total in {0, 64 * KIB}


def test_another_length_than_the_uploads_is_refused(client):
    if isinstance(client, StraightClient):
        pytest.skip("a signed part says nothing of the file's length")
    upload_id = client.create(wanted(10), KEY).id

    with pytest.raises(UploadLostError, match="inconsistent-length"):
        client.send(upload_id, ByteRange(0, 3), 11, iter([b"abc"]))


def test_blocks_are_told_of_what_is_whole(client):
    data = os.urandom(5 * 64 * KIB + 7)
    upload_id = client.create(wanted(len(data)), KEY).id
    client.send(upload_id, ByteRange(0, 100 * KIB), len(data), pieces(data[: 100 * KIB]))
    client.send(
        upload_id, ByteRange(5 * 64 * KIB, len(data)), len(data), iter([data[5 * 64 * KIB :]])
    )

    told = client.blocks(upload_id, block_bytes=64 * KIB, start=0, limit=100)

    assert told.size == 64 * KIB
    assert dict(told.blocks) == {
        0: Digest.of(data[: 64 * KIB]),
        5: Digest.of(data[5 * 64 * KIB :]),
    }


def test_blocks_are_told_a_page_at_a_time(client):
    data = os.urandom(4 * 64 * KIB)
    upload_id = sent(client, data)

    first = client.blocks(upload_id, block_bytes=64 * KIB, start=0, limit=3)
    rest = client.blocks(upload_id, block_bytes=64 * KIB, start=first.next, limit=3)

    assert [*first.blocks, *rest.blocks] == [0, 1, 2, 3]
    assert rest.next is None


def test_other_bytes_are_told_and_can_be_replaced(client):
    data = os.urandom(100 * KIB)
    upload_id = sent(client, bytes(len(data)))
    with pytest.raises(ConflictError) as refusal:
        client.complete(upload_id, claim_of(data))
    assert refusal.value.code == "digest-mismatch"

    client.send(upload_id, ByteRange(0, len(data)), len(data), pieces(data))

    assert client.complete(upload_id, claim_of(data)).digest == Digest.of(data)


@pytest.mark.parametrize("length", [0, 1, 100 * KIB])
def test_a_receipt_is_for_the_bytes_and_comes_again(client, lose_answer, length):
    data = os.urandom(length)
    upload_id = sent(client, data)
    lose_answer()
    with pytest.raises(LinkDownError):
        client.complete(upload_id, claim_of(data))

    receipt = client.complete(upload_id, claim_of(data))

    assert (receipt.upload_id, receipt.device, receipt.name) == (upload_id, "cam", "a.mp4")
    assert (receipt.length, receipt.digest) == (length, Digest.of(data))
    assert receipt.verified_against == "client"
    assert client.complete(upload_id, claim_of(data)) == receipt
    assert client.status(upload_id).state == "complete"


def test_what_is_missing_is_named(client):
    upload_id = client.create(wanted(10), KEY).id
    client.send(upload_id, ByteRange(2, 4), 10, iter([b"xx"]))

    with pytest.raises(ConflictError) as refusal:
        client.complete(upload_id, claim_of(bytes(10)))

    assert refusal.value.code == "ranges-missing"
    assert refusal.value.missing is not None
    assert refusal.value.missing.to_pairs() == [[0, 2], [4, 10]]


def test_a_complete_upload_takes_no_bytes(client):
    upload_id = sent(client, b"x" * 10)
    client.complete(upload_id, claim_of(b"x" * 10))

    with pytest.raises(ConflictError) as refusal:
        client.send(upload_id, ByteRange(0, 10), 10, iter([b"y" * 10]))

    assert refusal.value.code == "not-open"


def test_the_same_recording_a_second_time_has_the_receipt_of_the_first(client):
    first = client.complete(sent(client, b"same"), claim_of(b"same"))

    second = client.complete(sent(client, b"same", key=OTHER_KEY), claim_of(b"same"))

    assert second == first


def test_an_aborted_client_refuses_until_it_is_resumed(client):
    client.abort()
    with pytest.raises(AbortedError):
        client.probe("n")

    client.resume()

    assert client.probe("n").nonce == "n"


def test_an_abort_in_the_middle_of_a_body_is_told_as_that(client):
    upload_id = client.create(wanted(200 * KIB), KEY).id

    def body():
        yield bytes(64 * KIB)
        client.abort()
        # As a lane's body does: what is not on the wire yet stays here.
        raise AbortedError("stopped while sending")

    with pytest.raises(AbortedError):
        client.send(upload_id, ByteRange(0, 200 * KIB), 200 * KIB, body())


def test_a_cut_while_nothing_runs_breaks_nothing(client):
    client.cut()

    assert client.probe("n").nonce == "n"


def test_a_login_that_stays_the_same_is_the_same(client):
    assert client.credential() == client.credential()


def test_who_sends_straight_is_told_what_goes_through_the_server(client):
    if not isinstance(client, StraightClient):
        pytest.skip("cannot send straight to a store")
    data = os.urandom(100)
    upload_id = client.create(wanted(len(data)), KEY).id
    part = Part(ByteRange(0, 100), Digest.of(data))
    [signed] = client.sign_parts(upload_id, [part])

    with pytest.raises(NotDirectError):
        client.report_parts(upload_id, [signed.sent])  # the store has nothing
    client.put_part(signed, iter([data]))
    client.put_part(signed, iter([data]))  # its answer was lost
    status = client.report_parts(upload_id, [signed.sent])
    with pytest.raises(NotDirectError):
        client.sign_parts(upload_id, [part])

    assert status.received.to_pairs() == [[0, 100]]
    assert client.complete(upload_id, claim_of(data)).digest == Digest.of(data)


def test_who_can_abort_gives_an_upload_up_as_often_as_it_is_asked(client):
    aborting = client
    if not isinstance(aborting, CanAbort):
        pytest.skip("cannot abort")
    upload_id = client.create(wanted(10), KEY).id

    aborting.abort_upload(upload_id)
    aborting.abort_upload(upload_id)

    with pytest.raises(UploadLostError):
        client.status(upload_id)


def test_who_can_enrol_is_refused_where_tokens_are_not_given(client):
    if not isinstance(client, CanEnrol):
        pytest.skip("cannot enrol")

    with pytest.raises(TransportError):
        client.claim("t" * 32, "cam", "serial")
