"""Hints that cannot be had: scans do without, and they come back when they can."""

import threading

import pytest
from watchdog.observers.inotify import InotifyObserver

from edge_agent.media import root_check
from edge_agent.media.root_check import RootCheck


class Hinted(RootCheck):
    def __init__(self, hinted: threading.Event) -> None:
        super().__init__(hinted.set)
        self.hinted = hinted


@pytest.fixture
def check():
    hinted = threading.Event()
    made = Hinted(hinted)
    yield made
    made.stop()


@pytest.mark.parametrize(
    "error",
    [OSError(24, "inotify instance limit reached"), RuntimeError("can't start new thread")],
    ids=["no instance", "no thread"],
)
@pytest.mark.parametrize("recursive", [True, False])
def test_without_hints_nothing_fails_and_they_are_taken_up_again(
    check, error, recursive, tmp_path, monkeypatch
):
    def refused(**_: object) -> None:
        raise error

    inodes = {tmp_path.stat().st_ino}
    monkeypatch.setattr("edge_agent.media.hints.InotifyObserver", refused)
    assert check.follow(tmp_path, recursive=recursive)
    assert not check.follow(tmp_path, recursive=recursive)  # not anew at each step
    assert not check.compare(inodes)
    assert check.is_limited

    monkeypatch.setattr("edge_agent.media.hints.InotifyObserver", InotifyObserver)
    assert check.compare(inodes)  # another scan follows: what happened meanwhile was not hinted
    assert not check.is_limited
    (tmp_path / "a.mp4").write_bytes(b"x")

    assert check.hinted.wait(10)


def test_where_the_kernel_does_not_tell_what_it_watches_nothing_is_compared(
    check, tmp_path, monkeypatch
):
    def gone() -> set[int]:
        raise FileNotFoundError(2, "no /proc here")

    assert check.follow(tmp_path, recursive=True)
    monkeypatch.setattr(root_check, "watched_inodes", gone)

    assert not check.compare({tmp_path.stat().st_ino})
    assert not check.is_limited
