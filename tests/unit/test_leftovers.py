"""What a test leaves behind is noticed."""

import socket
import threading
import time

import pytest

from tests.support import leftovers
from tests.support.leftovers import nothing_left


def test_a_socket_that_is_kept_is_told():
    with pytest.raises(AssertionError, match=r"it left open: \['socket:"), nothing_left("it"):
        kept = socket.socket()

    kept.close()


def test_a_thread_that_goes_on_is_told_by_its_name(monkeypatch):
    monkeypatch.setattr(leftovers, "ENDS_WITHIN_S", 0.01)
    may_end = threading.Event()
    thread = threading.Thread(target=may_end.wait, name="straggler")

    with pytest.raises(AssertionError, match="straggler"), nothing_left("it"):
        thread.start()

    may_end.set()
    thread.join()


def test_a_thread_that_was_told_to_stop_is_waited_for_with_what_it_holds():
    may_end = threading.Event()

    def hold():
        with socket.socket():
            may_end.wait()

    with nothing_left("it"):
        threading.Thread(target=hold).start()
        may_end.set()


class LateThread(threading.Thread):
    """One that the system begins only when it may."""

    def __init__(self) -> None:
        super().__init__(name="late")
        self.may_begin = threading.Event()

    def _bootstrap(self) -> None:
        self.may_begin.wait()
        super()._bootstrap()  # type: ignore[misc] # of the library, where all threads begin


def test_a_thread_that_another_one_is_just_about_to_start_is_waited_for():
    late, may_start = LateThread(), threading.Event()

    def start():
        may_start.wait()
        late.start()

    def let_it_begin():
        while late not in threading.enumerate():
            pass
        time.sleep(0.05)  # so long it is being started, and is looked at meanwhile
        late.may_begin.set()

    others = [threading.Thread(target=start), threading.Thread(target=let_it_begin)]
    for one in others:
        one.start()
    with nothing_left("it"):
        may_start.set()
        while late not in threading.enumerate():
            pass

    assert not late.is_alive()
    for one in others:
        one.join()
