"""Files that people name: a folder that does not answer holds up no other."""

import os
import threading

import pytest

from edge_agent.base.patience import Patience, SilentError
from edge_agent.media.answers import real_path_of
from edge_agent.media.beneath import real_path
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


def test_where_no_link_is_on_the_way_nothing_that_hangs_elsewhere_is_in_it(tmp_path, hung, ask):
    hands, there = Patience(0.05), os.fsencode(tmp_path)
    for one in range(8):
        with pytest.raises(SilentError):
            real_path_of(b"/hung%d/a.mp4" % one, hands=hands, look=lambda _: hung.wait())
    (tmp_path / "link").symlink_to(tmp_path)

    assert real_path(there + b"/a.mp4", hands=hands) == there + b"/a.mp4"
    with pytest.raises(SilentError):
        real_path(there + b"/link/a.mp4", hands=hands)

    hung.set()
    hands.rest()


@pytest.mark.parametrize("name", [b"/link/a.mp4", b"/link/../b/a.mp4", b"/./a.mp4", b"/linked.mp4"])
def test_where_a_link_or_a_dot_is_on_the_way_it_is_followed(tmp_path, name):
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    (tmp_path / "linked.mp4").symlink_to(tmp_path / "b" / "a.mp4")
    path = os.fsencode(tmp_path) + name

    assert real_path(path) == os.path.realpath(path)
