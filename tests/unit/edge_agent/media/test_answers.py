"""Files that people name: a folder that does not answer holds up no other."""

import threading

import pytest

from edge_agent.base.patience import Patience, SilentError
from edge_agent.media.answers import real_path_of
from tests.support.processes import wait_for


@pytest.fixture
def hung():
    """Whatever is asked for below /hung answers once this is set."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def ask(hung):
    hands = Patience(0.05)

    def look(path):
        if path.startswith(b"/hung"):
            hung.wait()
        return path

    yield lambda path: real_path_of(path, hands=hands, look=look)
    hung.set()
    hands.rest()


def test_a_named_folder_that_hangs_refuses_no_other(ask):
    with pytest.raises(SilentError):
        ask(b"/hung/a.mp4")

    assert [ask(b"/%d/a.mp4" % one) for one in range(64)] == [b"/%d/a.mp4" % n for n in range(64)]


def test_so_many_may_hang_as_threads_may_wait_for_them_and_then_none_is_asked_until_one_answers(
    ask, hung
):
    for one in range(8):
        with pytest.raises(SilentError):
            ask(b"/hung%d/a.mp4" % one)
    with pytest.raises(SilentError):
        ask(b"/well/a.mp4")

    hung.set()

    def answers():
        try:
            return ask(b"/well/a.mp4") == b"/well/a.mp4"
        except SilentError:
            return False

    wait_for(answers, "they have answered")
