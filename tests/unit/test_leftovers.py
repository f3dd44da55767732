"""What a test leaves behind is noticed."""

import socket
import threading

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
