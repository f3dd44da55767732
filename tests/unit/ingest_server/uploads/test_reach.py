"""What lies on the disk and is not recorded counts, whatever else fails."""

import pytest

from ingest_server.core.errors import StateFailed
from ingest_server.uploads.reach import Reaches


class Departing:
    """A database that can be away."""

    def __init__(self, state):
        self.is_away = False
        self._state = state

    def __getattr__(self, name):
        if self.is_away:
            raise StateFailed("server-busy", "the database is away")
        return getattr(self._state, name)


@pytest.fixture
def database(site):
    return Departing(site.state)


def test_it_counts_on_where_the_database_is_away_when_its_request_ends(site, database):
    reaches = Reaches(database)
    one, other = (site.state.get(site.create(length=None)) for _ in range(2))
    assert reaches.allow("request", one, 100, 1000, least=100) == 100

    database.is_away = True
    reaches.leave("request", one.id, 60)
    with pytest.raises(StateFailed):
        reaches.unrecorded_beside(other)
    database.is_away = False

    assert reaches.unrecorded_beside(other) == 60
    site.receiver.abort("cam", one.id)
    assert reaches.unrecorded_beside(other) == 0


def test_who_was_refused_or_left_twice_takes_nothing_away_from_what_counts(site, database):
    reaches = Reaches(database)
    one, other = (site.state.get(site.create(length=None)) for _ in range(2))
    reaches.allow("request", one, 100, 1000, least=100)

    reaches.leave("refused", one.id, 0)
    assert reaches.unrecorded_beside(other) == 100
    reaches.leave("request", one.id, 60)
    reaches.leave("request", one.id, 0)

    assert reaches.unrecorded_beside(other) == 60
