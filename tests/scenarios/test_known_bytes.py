"""What the server has already is not sent again, whatever the device has forgotten of it."""

import json
import os
from dataclasses import replace

import pytest

from edge_agent.core.upload import State
from edge_agent.media.source import Source
from edge_agent.send.digest_first import IN_VAIN, SMALL_BYTES, DigestFirst
from tests.support import readings
from tests.support.lane import scene
from tests.support.link import Fault
from upload_protocol.headers import UPLOADS_PATH

MIB = 1 << 20
DATA = os.urandom(2 * MIB + 17)


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path) as made:
        yield made


class CountingSource(Source):
    """Counts what is read of any recording."""

    read_bytes = 0

    def read(self, offset: int, length: int) -> bytes:
        CountingSource.read_bytes += length
        return super().read(offset, length)


def forget(stage) -> None:
    """Lose the device's state, as a new image does."""
    stage.lane.close()
    for path in stage.lane.base.glob("agent.db*"):
        path.unlink()
    stage.lane.open()


def test_a_device_that_lost_its_state_sends_no_byte_again(stage):
    contents = {f"{number}.mp4": os.urandom(100_000 + number) for number in range(5)}
    for name, data in contents.items():
        stage.lane.record(name, data)
    stage.lane.run()
    sent = stage.link.body_bytes
    forget(stage)

    again = [stage.lane.record(name, data) for name, data in contents.items()]
    stage.lane.run()

    assert stage.link.body_bytes == sent
    assert stage.published() == contents
    for recording in again:
        now = stage.lane.now(recording)
        assert now.state is State.VERIFIED
        assert now.receipt.verified_against == "client"


def test_the_same_bytes_under_another_name_are_published_there_and_not_sent(stage):
    stage.lane.record("a.mp4", DATA)
    stage.lane.run()
    sent = stage.link.body_bytes

    copy = stage.lane.record("copy.mp4", DATA)
    stage.lane.run()

    assert stage.link.body_bytes == sent
    assert stage.published() == {"a.mp4": DATA, "copy.mp4": DATA}
    assert stage.lane.now(copy).receipt.name == "copy.mp4"


def test_other_bytes_of_a_known_name_and_length_are_sent(stage):
    stage.lane.record("a.mp4", DATA)
    stage.lane.run()
    other = DATA[::-1]
    forget(stage)

    changed = stage.lane.record("a.mp4", other)
    stage.lane.run()

    assert stage.link.body_bytes == 2 * len(DATA)
    assert stage.published() == {"a.mp4": DATA, "a-2.mp4": other}
    assert stage.lane.now(changed).receipt.published_as.endswith("a-2.mp4")


def test_a_file_damaged_at_the_server_is_sent_again(stage):
    stage.lane.record("a.mp4", DATA)
    stage.lane.run()
    (path,) = [one for one in stage.server.data_dir.rglob("a.mp4") if one.is_file()]
    path.write_bytes(b"?" + DATA[1:])
    forget(stage)

    stage.lane.record("a.mp4", DATA)
    stage.lane.run()

    assert stage.published()["a-2.mp4"] == DATA


@pytest.mark.parametrize("other_length", [False, True])
def test_only_what_the_server_may_have_is_read_before_it_is_sent(stage, other_length, monkeypatch):
    stage.lane.record("a.mp4", DATA)
    stage.lane.run()
    monkeypatch.setattr(CountingSource, "read_bytes", 0)
    stage.lane.open_source = CountingSource.open
    new = os.urandom(len(DATA) + other_length)

    stage.lane.record("b.mp4", new)
    stage.lane.run()

    assert stage.published()["b.mp4"] == new
    assert CountingSource.read_bytes == len(new) * (1 if other_length else 2)


def test_a_server_that_does_not_know_the_question_gets_the_bytes(stage):
    app = stage.link.app

    def older(environ, start_response):
        """Answer as a server of before."""
        heads = []
        document = json.loads(b"".join(app(environ, lambda *head: heads.append(head))))
        document.pop("ask_by_digest", None)
        content = json.dumps(document).encode()
        status, fields = heads[0][:2]
        fields = [one for one in fields if one[0].lower() != "content-length"]
        start_response(status, [*fields, ("Content-Length", str(len(content)))])
        return [content]

    stage.link.app = older
    stage.lane.record("a.mp4", DATA)
    stage.lane.run()
    forget(stage)
    stage.lane.record("a.mp4", DATA)
    stage.lane.run()

    assert stage.published() == {"a.mp4": DATA}
    assert stage.link.body_bytes == 2 * len(DATA)
    created = [one for one in stage.link.requests if one.path == UPLOADS_PATH]
    assert len(created) == 2


def test_a_lost_answer_to_the_question_is_asked_again_and_costs_no_byte(stage):
    stage.lane.record("a.mp4", DATA)
    stage.lane.run()
    sent = stage.link.body_bytes
    forget(stage)
    recording = stage.lane.record("a.mp4", DATA)

    stage.link.script(Fault(), Fault(lose_answer=True), only="POST")
    stage.lane.run()

    assert stage.link.body_bytes == sent
    assert stage.lane.now(recording).state is State.VERIFIED


def test_a_restart_between_hashing_and_asking_costs_no_byte(stage):
    stage.lane.record("a.mp4", DATA)
    stage.lane.run()
    sent = stage.link.body_bytes
    forget(stage)
    recording = stage.lane.record("a.mp4", DATA)
    stage.lane.step()
    stage.lane.step()

    stage.lane.restart()
    stage.lane.run()

    assert stage.link.body_bytes == sent
    assert stage.lane.now(recording).state is State.VERIFIED


def test_while_the_server_reads_its_file_the_recording_waits_with_that_reason(stage):
    stage.lane.record("a.mp4", DATA)
    stage.lane.run()
    sent, receiver = stage.link.body_bytes, stage.server.receiver
    readings.forget(receiver.standings)
    receiver.settings = replace(receiver.settings, verify_wait_s=0.01)
    forget(stage)
    recording = stage.lane.record("a.mp4", DATA)

    def is_told() -> bool:
        wait = stage.lane.activity.waits.get(recording.id)
        return wait is not None and "reads a file" in wait.detail

    with readings.taking_its_time(receiver.standings):
        stage.lane.run(until=is_told)
    receiver.settings = replace(receiver.settings, verify_wait_s=20.0)
    stage.lane.run()

    assert stage.link.body_bytes == sent
    assert stage.lane.now(recording).state is State.VERIFIED


@pytest.mark.slow
def test_what_was_just_recorded_does_not_wait_until_a_large_file_is_hashed(stage):
    large = bytes(SMALL_BYTES + MIB)
    stage.lane.record("large.mp4", large)
    stage.lane.run()
    sent = stage.link.body_bytes
    forget(stage)
    known = stage.lane.record("large.mp4", large)
    stage.lane.step()  # created
    stage.lane.step()  # the first part is hashed

    fresh = stage.lane.record("fresh.mp4", b"fresh")
    stage.lane.run(until=lambda: stage.link.body_bytes > sent)

    assert stage.link.body_bytes == sent + len(b"fresh")
    assert stage.lane.now(known).state is State.SENDING
    stage.lane.run()
    assert stage.link.body_bytes == sent + len(b"fresh")
    assert {stage.lane.now(one).state for one in (known, fresh)} == {State.VERIFIED}


def test_large_files_are_hashed_for_nothing_a_few_times_and_no_more():
    choice = DigestFirst()
    large = SMALL_BYTES + 1

    for _ in range(IN_VAIN):
        assert choice.is_worth(large)
        choice.was_not_there(large)
    assert not choice.is_worth(large)
    assert choice.is_worth(SMALL_BYTES)

    choice.was_there()
    assert choice.is_worth(large)
