"""What an upload counts as sent, and as sent again."""

from edge_agent.core.recording import Identity
from edge_agent.send.upload_progress import Kind, Task, UploadProgress
from upload_protocol.ranges import ByteRange, RangeSet

_ALL = ByteRange(0, 1000)


def progress() -> UploadProgress:
    made = UploadProgress("r", Identity(1, 2, 1000, 3, 4), 0.0)
    made.learn(RangeSet())
    return made


def send(one: UploadProgress, where: ByteRange, *, sent: int | None = None) -> None:
    """Send *where*, or as much of it as gets onto the wire before the request breaks."""
    flight = one.begin(1, Task(Kind.SEND, where))
    flight.sent = where.length if sent is None else sent
    one.end(1)


def test_bytes_that_went_once_are_not_resent_whatever_became_of_them():
    one = progress()

    send(one, _ALL, sent=600)

    assert one.take_counts() == (600, 0)


def test_bytes_that_were_lost_count_as_resent_when_they_go_again():
    one = progress()
    send(one, _ALL, sent=600)
    one.learn(RangeSet([ByteRange(0, 100)]))

    send(one, ByteRange(100, 1000))

    assert one.take_counts() == (1500, 500)
    assert one.take_counts() == (0, 0)


def test_counting_between_an_answer_and_the_end_of_its_task_does_not_make_the_bytes_resent():
    one = progress()
    flight = one.begin(1, Task(Kind.SEND, _ALL))
    flight.sent = 1000
    one.learn(RangeSet([_ALL]), flight)
    before = one.take_counts()
    one.end(1)

    assert (before, one.take_counts()) == ((0, 0), (1000, 0))


def test_what_a_repair_replaces_counts_as_resent():
    one = progress()
    one.learn(RangeSet([_ALL]))

    send(one, ByteRange(200, 300))

    assert one.take_counts() == (100, 100)
