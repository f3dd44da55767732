"""Priorities are for the journal alone, and for each line of what is said."""

import os

import pytest

from edge_host import journal


def test_only_a_stream_that_systemd_has_connected_leads_to_the_journal(monkeypatch, tmp_path):
    with (tmp_path / "a").open("w") as ours, (tmp_path / "b").open("w") as other:
        found = os.fstat(ours.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")

        assert journal.is_behind(ours)
        assert not journal.is_behind(other)
    assert not journal.is_behind(ours)  # it is closed
    assert not journal.is_behind(None)
    monkeypatch.delenv("JOURNAL_STREAM")
    with (tmp_path / "a").open("w") as ours:
        assert not journal.is_behind(ours)


@pytest.mark.parametrize(
    ("level", "priority"),
    [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2), ("loud", 6)],
)
def test_each_line_has_the_priority_in_front(level, priority):
    assert journal.marked("one\ntwo", level) == f"<{priority}>one\n<{priority}>two"
