"""One store, open, for each test that wants it."""

import pytest

from tests.support.agent_store import CLOCK, store_over


@pytest.fixture
def path(tmp_path):
    return tmp_path / "agent.db"


@pytest.fixture
def opened(path):
    store, database = store_over(path, CLOCK)
    yield store, database
    store.close()


@pytest.fixture
def store(opened):
    return opened[0]


@pytest.fixture
def database(opened):
    return opened[1]
