import io
import itertools
import threading

import pytest

from ingest_server.front.body import (
    CONTINUE,
    BodyInterruptedError,
    BodyTruncatedError,
    Patience,
    SocketBody,
    StreamBody,
    body_of,
    read_all,
)
from tests.support.came_early import Buffered


def socket_body(ours, length, *, early=b"", patience=None, now_s=lambda: 0.0, **more):
    patience = patience or Patience(read_timeout_s=5.0)
    return SocketBody(ours, Buffered(early), length, patience=patience, now_s=now_s, **more)


def read_piece(body, size=1024):
    buffer = bytearray(size)
    return bytes(buffer[: body.readinto(memoryview(buffer))])


def test_bytes_are_returned_as_they_arrive(pair):
    ours, theirs = pair
    body = socket_body(ours, 10)

    theirs.sendall(b"abc")
    assert read_piece(body) == b"abc"
    theirs.sendall(b"def")
    assert read_piece(body) == b"def"
    assert body.remaining == 4


def test_what_came_with_the_head_and_what_is_here_behind_it_are_one_piece(pair):
    ours, theirs = pair
    body = socket_body(ours, 10, early=b"abc")
    theirs.sendall(b"def")

    assert read_piece(body) == b"abcdef"
    assert body.remaining == 4


def test_what_came_with_the_head_is_not_held_back_for_more(pair):
    ours, _ = pair
    body = socket_body(ours, 10, early=b"abc", patience=Patience(read_timeout_s=0.2))

    assert read_piece(body) == b"abc"
    with pytest.raises(TimeoutError):
        read_piece(body)


def test_what_came_with_the_head_is_returned_where_the_peer_has_gone_since(pair):
    ours, theirs = pair
    body = socket_body(ours, 10, early=b"abc")
    theirs.close()

    assert read_piece(body) == b"abc"
    with pytest.raises(BodyTruncatedError):
        read_piece(body)


def test_the_next_request_on_the_connection_is_left_alone(pair):
    ours, _ = pair
    buffered = Buffered(b"abPUT /next")
    body = SocketBody(ours, buffered, 2, patience=Patience(), now_s=lambda: 0.0)

    assert read_piece(body) == b"ab"
    assert read_piece(body) == b""
    assert buffered.data == b"PUT /next"


def test_a_peer_that_closes_early_is_an_error_and_no_end(pair):
    ours, theirs = pair
    body = socket_body(ours, 10)
    theirs.sendall(b"abc")
    theirs.close()

    assert read_piece(body) == b"abc"
    with pytest.raises(BodyTruncatedError, match="7 bytes"):
        read_piece(body)


def test_a_stall_ends_after_the_read_timeout(pair):
    ours, _ = pair
    body = socket_body(ours, 10, patience=Patience(read_timeout_s=0.05))

    with pytest.raises(TimeoutError, match="10 still due"):
        read_piece(body)


class Ticking:
    """A clock that goes on by so much each time it is read."""

    def __init__(self, step_s: float) -> None:
        self._ticks = itertools.count()
        self._step_s = step_s

    def __call__(self) -> float:
        return next(self._ticks) * self._step_s


def test_a_trickle_below_the_least_rate_ends_and_loses_nothing(pair):
    ours, theirs = pair
    # Each read waits 25 s: 100 bytes in 75 s is below 2 bytes per second.
    patience = Patience(read_timeout_s=5, min_rate=2, min_rate_window_s=60)
    body = socket_body(ours, 1000, patience=patience, now_s=Ticking(25.0))
    theirs.sendall(b"x" * 100)

    assert [len(read_piece(body, 33)) for _ in range(3)] == [33, 33, 33]
    with pytest.raises(TimeoutError, match="at least 2"):
        read_piece(body)


def test_slow_but_moving_is_never_ended(pair):
    ours, theirs = pair
    patience = Patience(read_timeout_s=5, min_rate=1, min_rate_window_s=60)
    body = socket_body(ours, 10_000, patience=patience, now_s=Ticking(25.0))

    for _ in range(200):  # 5000 s
        theirs.sendall(b"x" * 26)
        assert len(read_piece(body)) == 26


def test_100_continue_goes_out_at_the_first_read_and_once(pair):
    ours, theirs = pair
    body = socket_body(ours, 4, expects_continue=True)
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(100)
    theirs.sendall(b"abcd")

    assert read_piece(body, 2) + read_piece(body, 2) == b"abcd"
    assert theirs.recv(100) == CONTINUE


def test_an_interrupt_ends_a_read_that_waits(pair):
    ours, theirs = pair
    body = socket_body(ours, 10, patience=Patience(read_timeout_s=30))
    interrupter = threading.Timer(0.05, body.interrupt)
    interrupter.start()

    with pytest.raises(BodyInterruptedError):
        read_piece(body)

    interrupter.join()
    ours.sendall(b"409")  # the answer still gets out
    assert theirs.recv(10) == b"409"


def test_an_interrupt_ends_later_reads_too(pair):
    ours, theirs = pair
    theirs.sendall(b"abc")
    body = socket_body(ours, 10, early=b"x")
    body.interrupt()

    with pytest.raises(BodyInterruptedError):
        read_piece(body)


def test_a_late_interrupt_leaves_the_next_request_of_the_connection_alone(pair):
    ours, theirs = pair
    body = socket_body(ours, 3)
    theirs.sendall(b"abc")
    read_piece(body)
    body.finish()

    body.interrupt()

    theirs.sendall(b"next")
    assert ours.recv(10) == b"next"


def test_our_body_is_an_ordinary_wsgi_input_too(pair):
    ours, theirs = pair
    body = socket_body(ours, 20, early=b"one\ntw")
    theirs.sendall(b"o\nthree\nfour!!rest")

    assert body.readline() == b"one\n"
    assert body.read(2) == b"tw"
    assert body.readlines() == [b"o\n", b"three\n", b"four!!"]
    assert body.read() == b""


class Chopped(io.RawIOBase):
    """A wsgi.input that returns less than asked, and ends early without an error."""

    def __init__(self, data: bytes, piece: int) -> None:
        self._data, self._piece = data, piece

    def read(self, size: int = -1) -> bytes:
        count = min(size, self._piece)
        found, self._data = self._data[:count], self._data[count:]
        return found


def test_any_wsgi_input_is_read_to_its_length():
    body = StreamBody(Chopped(b"a" * 100_000 + b"next request", 30_000), 100_000)

    pieces = [len(read_piece(body, 1 << 20)) for _ in range(5)]

    assert pieces == [30_000, 30_000, 30_000, 10_000, 0]


def test_a_wsgi_input_that_ends_early_is_an_error():
    body = StreamBody(Chopped(b"abc", 10), 10)

    assert read_piece(body) == b"abc"
    with pytest.raises(BodyTruncatedError):
        read_piece(body)


class Breaks:
    def read(self, _size: int) -> bytes:
        raise ValueError("invalid chunk header")


def test_an_error_of_the_foreign_server_is_a_truncated_body():
    with pytest.raises(BodyTruncatedError):
        read_piece(StreamBody(Breaks(), 10))


def test_an_interrupted_stream_body_raises_at_its_next_read():
    body = StreamBody(Chopped(b"abc", 10), 10)
    body.interrupt()

    with pytest.raises(BodyInterruptedError):
        read_piece(body)


def test_the_best_way_to_read_is_found_by_what_the_server_offers(pair):
    ours, _ = pair
    own = socket_body(ours, 3)

    assert body_of({"wsgi.input": own}, 3) is own
    assert isinstance(body_of({"wsgi.input": io.BytesIO(b"abc")}, 3), StreamBody)


def test_a_small_body_is_read_in_full_and_a_large_one_not_at_all():
    stream = io.BytesIO(b"abc")

    assert read_all(StreamBody(stream, 3), 3) == b"abc"
    assert read_all(StreamBody(stream, 4), 3) is None
