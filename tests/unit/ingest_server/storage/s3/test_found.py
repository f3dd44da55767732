"""What was found a moment ago is asked for again only later, and not when it has gone."""

import pytest

from ingest_server.storage.s3 import found
from ingest_server.storage.s3.found import RECENT_S, RecentlyFound


class Site:
    def __init__(self):
        self.s = 1000.0
        self.found = RecentlyFound(lambda: self.s)


@pytest.fixture
def site():
    return Site()


def test_what_was_found_is_recent_for_a_while(site):
    before = site.found.is_recent("a")
    site.found.note("a")
    site.s += RECENT_S - 0.1
    now = site.found.is_recent("a")
    site.s += 0.2

    assert (before, now, site.found.is_recent("a")) == (False, True, False)


def test_what_has_gone_is_not(site):
    site.found.note("a")
    site.found.forget("a")
    site.found.forget("b")

    assert not site.found.is_recent("a")


def test_of_many_the_oldest_are_forgotten(site, monkeypatch):
    monkeypatch.setattr(found, "MOST", 2)
    for name in ("a", "b", "a", "c"):
        site.found.note(name)

    assert [site.found.is_recent(name) for name in ("a", "b", "c")] == [True, False, True]
