"""A recording's way to the server, and what may befall it."""

import os
import struct

import pytest
from structlog.testing import capture_logs

from edge_agent.base.errors import SourceUnreadableError
from edge_agent.base.reasons import ProblemCode, Reason
from edge_agent.core.left_out import Cause
from edge_agent.core.upload import State
from edge_agent.media.source import Source
from tests.support.lane import scene
from tests.support.link import Fault, problem

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path) as made:
        yield made


@pytest.mark.parametrize("length", [0, 1, 64 * KIB, 3 * MIB + 17])
def test_a_recording_of_any_length_is_published_byte_for_byte(stage, length):
    data = os.urandom(length)
    recording = stage.lane.record("a.mp4", data)

    stage.lane.run()

    assert stage.published() == {"a.mp4": data}
    assert stage.lane.now(recording).state is State.VERIFIED
    assert stage.link.body_bytes == length


def test_a_lost_answer_to_create_makes_no_second_upload(stage):
    stage.link.script(Fault(lose_answer=True), only="POST")
    stage.lane.record("a.mp4", b"x" * 1000)

    stage.lane.run()

    assert stage.published() == {"a.mp4": b"x" * 1000}
    uploads, _ = stage.server.receiver.listing.page(None, state=None, after=None, limit=10)
    assert len(uploads) == 1


def test_a_lost_answer_to_content_costs_no_byte(stage):
    stage.link.script(Fault(lose_answer=True), only="PUT")
    stage.lane.record("a.mp4", b"x" * 1000)

    stage.lane.run()

    assert stage.link.body_bytes == 1000


def test_a_lost_answer_to_complete_publishes_once(stage):
    stage.link.script(Fault(), Fault(lose_answer=True), only="POST")
    stage.lane.record("a.mp4", b"x" * 1000)

    stage.lane.run()

    assert stage.published() == {"a.mp4": b"x" * 1000}
    assert len(stage.lane.events("file.completed")) == 1


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_request_that_arrives_twice_does_its_work_once(stage, method):
    stage.link.schedule = lambda request: Fault(repeat=request.method == method)
    data = os.urandom(300 * KIB)
    stage.lane.record("a.mp4", data)

    stage.lane.run()

    assert stage.published() == {"a.mp4": data}


def test_a_restart_goes_on_where_the_server_says(stage):
    data = os.urandom(MIB)
    recording = stage.lane.record("a.mp4", data)
    stage.lane.run(until=lambda: stage.link.body_bytes >= 128 * KIB)

    stage.lane.restart()
    stage.lane.run()

    assert stage.published() == {"a.mp4": data}
    assert stage.link.body_bytes == len(data)
    assert stage.lane.now(recording).resent_bytes == 0


def test_a_header_rewritten_after_it_was_sent_is_mended_by_its_blocks_only(stage):
    data = bytearray(os.urandom(4 * MIB))
    recording = stage.lane.record("a.mp4", bytes(data))
    stage.lane.run(until=lambda: stage.link.body_bytes >= 2 * MIB)
    data[40:44] = b"MOOV"
    with (stage.lane.media / "a.mp4").open("r+b") as file:
        file.seek(40)
        file.write(b"MOOV")

    stage.lane.run(until=lambda: stage.lane.now(recording).state is State.SEEN)
    stage.lane.settle(recording)
    stage.lane.run()

    assert stage.published() == {"a.mp4": bytes(data)}
    # All of it once, and again the one block that differs.
    assert stage.link.body_bytes == len(data) + MIB
    assert stage.lane.events("file.changed_during_upload")
    uploads, _ = stage.server.receiver.listing.page(None, state=None, after=None, limit=10)
    assert len(uploads) == 1


class OfASlowDisk:
    """The server's blocks, of which it reads one within the time of an answer."""

    def __init__(self, blocks):
        self._blocks = blocks

    def read(self, *args, **how):
        return self._blocks.read(*args, **{**how, "limit": 1})


def test_blocks_that_a_slow_disk_gives_a_few_at_a_time_are_all_compared(stage):
    stage.server.receiver.blocks = OfASlowDisk(stage.server.receiver.blocks)
    data = bytearray(os.urandom(4 * MIB))
    recording = stage.lane.record("a.mp4", bytes(data))
    stage.lane.run(until=lambda: stage.link.body_bytes >= 2 * MIB)
    sent = stage.link.body_bytes
    data[40:44] = b"MOOV"
    with (stage.lane.media / "a.mp4").open("r+b") as file:
        file.seek(40)
        file.write(b"MOOV")

    stage.lane.run(until=lambda: stage.lane.now(recording).state is State.SEEN)
    stage.lane.settle(recording)
    stage.lane.run()

    assert stage.published() == {"a.mp4": bytes(data)}
    assert sent >= 2 * MIB
    # All of it once, and again the one block that differs.
    assert stage.link.body_bytes == len(data) + MIB


def test_a_recording_that_grew_while_it_was_sent_begins_a_new_upload(stage):
    recording = stage.lane.record("a.mp4", b"x" * MIB)
    stage.lane.run(until=lambda: stage.link.body_bytes >= 128 * KIB)
    with (stage.lane.media / "a.mp4").open("ab") as file:
        file.write(b"more")

    stage.lane.run(until=lambda: stage.lane.now(recording).state is State.SEEN)
    stage.lane.settle(recording)
    stage.lane.run()

    assert stage.published() == {"a.mp4": b"x" * MIB + b"more"}
    uploads, _ = stage.server.receiver.listing.page(None, state="open", after=None, limit=10)
    assert uploads == []


def test_a_file_that_becomes_shorter_in_the_middle_of_a_request_is_a_changed_file(stage):
    path = stage.lane.media / "a.mp4"
    recording = stage.lane.record("a.mp4", os.urandom(MIB))

    def shorten(request):
        if request.method == "PUT":
            os.truncate(path, 10)
        return Fault()

    stage.link.schedule = shorten
    stage.lane.run(until=lambda: stage.lane.now(recording).state is State.SEEN)

    assert stage.published() == {}


def test_what_the_server_alone_has_of_a_file_that_became_shorter_is_not_thrown_away(stage):
    data = os.urandom(MIB)
    recording = stage.lane.record("a.mp4", data)
    stage.lane.run(until=lambda: stage.link.body_bytes >= 512 * KIB)
    os.truncate(recording.path, 128 * KIB)

    stage.lane.run(until=lambda: stage.lane.now(recording).state is State.SEEN)
    stage.lane.settle(recording)
    stage.lane.run()

    assert stage.published() == {"a.mp4": data[: 128 * KIB]}
    [left], _ = stage.server.receiver.listing.page(None, state="open", after=None, limit=10)
    assert left.received.total >= 512 * KIB


def test_bytes_that_rotted_on_the_way_are_found_and_only_their_block_goes_again(stage):
    data = os.urandom(3 * MIB)
    recording = stage.lane.record("a.mp4", data)
    stage.lane.run(until=lambda: stage.lane.now(recording).state is State.SENT)
    (part,) = (stage.server.data_dir / "parts").glob("*.part")
    with part.open("r+b") as file:
        file.seek(MIB + 5)
        file.write(bytes([data[MIB + 5] ^ 1]))
    stage.server.stop()
    _restart_server(stage)

    stage.lane.run()

    assert stage.published() == {"a.mp4": data}
    assert stage.link.body_bytes == len(data) + MIB
    assert len(stage.lane.events("checksum.failed")) == 1


def _restart_server(stage):
    """A new process over the same folder: it has no running digest and reads what is stored."""
    from edge_host.clock import SystemClock
    from ingest_server.app import make_app
    from ingest_server.auth.audit import Unaudited
    from ingest_server.auth.authentication import OpenAuth
    from ingest_server.storage.files.parts import FileBlobs
    from ingest_server.storage.sqlite.transactions import SqliteState
    from ingest_server.upkeep.housekeeper import Housekeeper
    from ingest_server.uploads.service import UploadService
    from ingest_server.uploads.store import UploadStore

    old = stage.server
    state = SqliteState.open(old.data_dir / "state.db")
    clock = SystemClock()
    store = UploadStore.open(state, FileBlobs(old.data_dir), clock)
    receiver = UploadService(store, old.receiver.settings)
    housekeeper = Housekeeper(store, receiver, Unaudited())
    housekeeper.recover()
    housekeeper.start()
    old.store, old.receiver, old.housekeeper, old.state = store, receiver, housekeeper, state
    stage.link.app = make_app(store, receiver, OpenAuth(()), readiness=old.readiness)


def test_a_mismatch_that_no_repair_mends_keeps_the_file_for_a_person(stage):
    never = problem(409, "digest-mismatch")
    stage.link.schedule = lambda request: never if "complete" in request.path else Fault()
    recording = stage.lane.record("a.mp4", b"x" * 1000)

    stage.lane.run()

    now = stage.lane.now(recording)
    assert (now.state, now.problem) == (State.FAILED, "checksum")
    assert (stage.lane.media / "a.mp4").exists()
    (told,) = stage.lane.events("file.failed")
    assert told["code"] == "checksum"
    assert told["permanent"]


def test_a_server_without_block_digests_gets_everything_again(stage):
    data = os.urandom(MIB)
    recording = stage.lane.record("a.mp4", data)
    faults = [problem(409, "digest-mismatch")]

    def schedule(request):
        if "complete" in request.path and faults:
            return faults.pop()
        return problem(404, "not-found") if "blocks" in request.path else Fault()

    stage.link.schedule = schedule
    stage.lane.run()

    assert stage.lane.now(recording).state is State.VERIFIED
    assert stage.link.body_bytes == 2 * len(data)
    totals = stage.lane.store.notes.totals()
    assert (totals.bytes_sent, totals.bytes_resent) == (2 * len(data), len(data))


@pytest.mark.parametrize("status", [404, 410])
def test_an_upload_that_the_server_forgot_is_created_anew_with_a_new_key(stage, status):
    code = {404: "upload-not-found", 410: "upload-expired"}[status]
    recording = stage.lane.record("a.mp4", b"x" * 1000)
    stage.lane.run(until=lambda: stage.lane.now(recording).state is State.SENDING)
    first = stage.lane.now(recording)
    stage.link.script(problem(status, code))

    stage.lane.run()

    second = stage.lane.now(recording)
    assert stage.published() == {"a.mp4": b"x" * 1000}
    assert second.upload_id != first.upload_id
    assert second.idempotency_key != first.idempotency_key


def test_a_key_that_belongs_to_other_bytes_is_replaced(stage):
    stage.link.script(problem(422, "idempotency-key-reused"))
    recording = stage.lane.record("a.mp4", b"x")

    stage.lane.run()

    assert stage.lane.now(recording).state is State.VERIFIED


def test_a_refusal_for_good_keeps_the_file_and_lets_the_next_one_go(tmp_path):
    with scene(tmp_path, max_length=1000) as stage:
        large = stage.lane.record("large.mp4", b"x" * 2000)
        small = stage.lane.record("small.mp4", b"x" * 10)

        stage.lane.run()

        assert stage.lane.now(large).problem == "too-large"
        assert stage.lane.now(large).state is State.FAILED
        assert stage.lane.now(small).state is State.VERIFIED


def test_a_recording_that_fails_lets_the_next_one_go(stage):
    poison = problem(500, "internal")
    first = stage.lane.record("poison.mp4", b"x" * 10)
    stage.lane.run(until=lambda: stage.lane.now(first).upload_id is not None)
    bad = stage.lane.now(first).upload_id
    stage.link.schedule = lambda request: poison if bad in request.path else Fault()
    good = stage.lane.record("good.mp4", b"y" * 10)

    stage.lane.run(until=lambda: stage.lane.now(good).state is State.VERIFIED)

    assert stage.lane.now(first).state is State.SENDING
    assert Reason.SERVER_BUSY in stage.lane.reasons


@pytest.mark.parametrize("status", [500, 505, 520])
def test_a_recording_that_something_on_the_way_fails_on_lets_the_next_one_go(stage, status):
    page = Fault(answer=(status, {"Content-Type": "text/html"}, b"<html>error</html>"))
    first = stage.lane.record("poison.mp4", b"x" * 10)
    stage.lane.run(until=lambda: stage.lane.now(first).upload_id is not None)
    bad = stage.lane.now(first).upload_id
    stage.link.schedule = lambda request: page if bad in request.path else Fault()
    good = stage.lane.record("good.mp4", b"y" * 10)

    stage.lane.run(until=lambda: stage.lane.now(good).state is State.VERIFIED)

    assert stage.lane.now(first).state is State.SENDING
    assert Reason.LINK in stage.lane.reasons


def test_a_server_that_is_away_behind_its_proxy_is_a_problem_after_three_tries_until_it_is_back(
    stage,
):
    page = Fault(answer=(502, {"Content-Type": "text/html"}, b"<html>nginx</html>"))
    stage.link.schedule = lambda _: page
    stage.lane.record("a.mp4", b"x" * 10)

    stage.lane.run(until=lambda: ProblemCode.SERVER_UNREACHABLE in stage.lane.activity.problems)
    tries = len(stage.link.requests)
    stage.link.schedule = lambda _: Fault()
    stage.lane.run()

    assert tries >= 3
    assert stage.lane.activity.problems == set()


def test_recordings_go_oldest_first(stage):
    for name in ("c.mp4", "a.mp4", "b.mp4"):
        stage.lane.record(name, name.encode())

    stage.lane.run()

    assert [one["name"] for one in stage.lane.events("file.completed")] == [
        "c.mp4",
        "a.mp4",
        "b.mp4",
    ]


def test_the_same_recording_under_a_new_key_is_published_once(stage):
    data = os.urandom(1000)
    stage.lane.record("a.mp4", data)
    stage.lane.run()
    again = stage.lane.record("a.mp4", data)

    stage.lane.run()

    assert stage.published() == {"a.mp4": data}
    assert stage.lane.now(again).state is State.VERIFIED


def test_a_name_that_is_no_utf8_arrives_escaped(stage):
    name = os.fsdecode(b"caf\xe9 100%.mp4")
    stage.lane.record(name, b"x")

    stage.lane.run()

    (receipt,) = stage.lane.events("file.completed")
    assert receipt["name"] == "caf%E9 100%25.mp4"


def test_requests_grow_to_what_the_link_moves_in_eight_seconds(stage):
    stage.link.bytes_per_s = 50 * KIB
    stage.lane.record("a.mp4", b"x" * 2 * MIB)

    stage.lane.run()

    lengths = [one.length for one in stage.link.requests if one.method == "PUT"]
    assert lengths[0] == MIB
    assert max(lengths[2:-1]) == pytest.approx(400 * KIB, rel=0.05)


def test_a_rate_limit_is_kept_over_the_whole_upload(tmp_path):
    with scene(tmp_path, upload={"max_rate": "100KiB"}) as stage:
        stage.lane.record("a.mp4", b"x" * MIB)
        began_s = stage.clock.now_s()

        stage.lane.run()

        took_s = stage.clock.now_s() - began_s
        assert took_s == pytest.approx(MIB / (100 * KIB), rel=0.05)


def test_a_stop_in_the_middle_of_a_body_ends_it_and_nothing_is_lost(stage):
    data = os.urandom(MIB)
    recording = stage.lane.record("a.mp4", data)

    def stop(request):
        if request.method == "PUT":
            stage.lane.sender.abort()
        return Fault()

    stage.link.schedule = stop
    stage.lane.run(until=lambda: any(one.method == "PUT" for one in stage.link.requests))
    assert stage.link.body_bytes == 0

    stage.link.script()
    stage.lane.restart()
    stage.lane.run()

    assert stage.published() == {"a.mp4": data}
    assert stage.lane.now(recording).state is State.VERIFIED


def test_why_everything_waits_is_one_line_in_the_log_until_something_gets_through(stage):
    full = problem(507, "storage-full", **{"Retry-After": "10"})
    stage.link.script(*[full] * 5, only="POST")
    stage.lane.record("a.mp4", b"x" * 1000)

    with capture_logs() as lines:
        stage.lane.run()

    told = [one for one in lines if one["event"] == "upload.waiting"]
    assert [(one["log_level"], one["reason"]) for one in told] == [("warning", "server_full")]


def test_a_file_that_cannot_be_read_is_one_line_in_the_log_and_goes_when_it_can_be(stage):
    def refuse(path):
        raise SourceUnreadableError(
            f"{path.rpartition(b'/')[2].decode()} cannot be read: why", Cause.SOURCE_IO
        )

    recording = stage.lane.record("a.mp4", b"x" * 1000)
    stage.lane.open_source = refuse
    with capture_logs() as lines:
        stage.lane.run(until=lambda: stage.lane.now(recording).failures >= 3)
    stage.lane.open_source = Source.open

    stage.lane.run()

    told = [one for one in lines if one["event"] == "upload.waiting"]
    assert [(one["reason"], one["detail"]) for one in told] == [
        ("source_io", "a.mp4 cannot be read: why")
    ]
    assert stage.published() == {"a.mp4": b"x" * 1000}


def test_what_a_recording_says_of_itself_is_told_with_its_completion(stage):
    header = struct.pack(">IIIII", 0, 0, 0, 1000, 5250) + bytes(80)
    movie = struct.pack(">I4s", 8 + len(header), b"mvhd") + header
    data = struct.pack(">I4s4sI4s", 12, b"ftyp", b"isom", 8 + len(movie), b"moov") + movie
    stage.lane.record("a.mp4", data)
    stage.lane.record("b.csv", b"nothing of the kind")
    stage.lane.run()

    told = {one["name"]: one["facts"] for one in stage.lane.events("file.completed")}
    assert told == {"a.mp4": {"duration_s": "5.250"}, "b.csv": {}}
