"""When a session ends, and who is held back from guessing: by clocks that a test moves."""

from datetime import UTC, datetime
from functools import partial

import pytest

from ingest_server.auth.audit import Unaudited
from ingest_server.auth.sessions import (
    ADDRESS_BURST,
    MOST_KNOWN,
    USER_BURST,
    Sessions,
    csrf_token,
    is_user_name,
)
from ingest_server.core.errors import Refused
from ingest_server.storage.memory.state import MemoryState
from tests.support.clock import VirtualClock
from tests.support.visitors import PASSWORD, add_user

HOUR_S = 3600.0


class Clock(VirtualClock):
    """As a board's without a battery that has been off."""

    def set_wall_back(self) -> None:
        self._wall = datetime(1970, 1, 1, tzinfo=UTC)


class Server:
    """The sessions of a server, over all its runs."""

    def __init__(self) -> None:
        self.clock = Clock(wall=datetime(2026, 11, 21, tzinfo=UTC))
        self.state = MemoryState()
        self.off_s = 0.0
        add_user(self.state)
        self.start()

    def start(self) -> None:
        uptime = lambda: self.clock.now_s() - self.off_s  # noqa: E731
        self.sessions = Sessions(self.state.users, self.clock, uptime, Unaudited())

    def log_in(
        self, password: str = PASSWORD, remote: str = "192.0.2.1", name: str = "anna"
    ) -> str:
        return self.sessions.log_in(name, password, remote)

    def is_in(self, secret: str | None) -> bool:
        return self.sessions.find(secret) is not None


@pytest.fixture
def server():
    found = Server()
    yield found
    found.state.close()


def test_a_session_that_is_left_for_long_ends(server):
    secret = server.log_in()
    server.clock.pass_s(11.9 * HOUR_S)
    assert server.is_in(secret)
    server.clock.pass_s(12.1 * HOUR_S)

    assert not server.is_in(secret)


def test_a_session_in_use_ends_after_a_month(server):
    secret = server.log_in()
    for _ in range(59):
        server.clock.pass_s(12 * HOUR_S)
        assert server.is_in(secret)

    server.clock.pass_s(12 * HOUR_S + 1)

    assert not server.is_in(secret)


def test_what_is_in_use_outlives_a_restart(server):
    secret = server.log_in()
    for _ in range(20):
        server.clock.pass_s(0.9 * HOUR_S)
        assert server.is_in(secret)
    server.state.run(lambda rows: rows.set_uptime(1.0))

    server.start()
    server.clock.pass_s(10 * HOUR_S)

    assert server.is_in(secret)


def test_a_clock_that_is_set_back_prolongs_nothing(server):
    left, used = server.log_in(), server.log_in()
    server.clock.set_wall_back()
    for _ in range(60):
        server.clock.pass_s(11.9 * HOUR_S)
        assert server.is_in(used)
    server.clock.pass_s(8 * HOUR_S)

    assert not server.is_in(used)
    assert not server.is_in(left)


def test_while_the_server_is_off_the_wall_clock_counts(server):
    secret = server.log_in()
    server.clock.pass_s(13 * HOUR_S)
    server.off_s = 13 * HOUR_S
    server.start()

    assert not server.is_in(secret)


@pytest.mark.parametrize("secret", [None, "", "A" * 43, "A" * 42, "\u00e9" * 43, "A" * 43 + "\n"])
def test_what_is_no_secret_of_ours_is_nobodys(server, secret):
    server.log_in()

    assert not server.is_in(secret)


def test_guesses_from_many_addresses_lock_out_newcomers_and_not_whom_one_knows(server):
    server.log_in(remote="192.0.2.1")
    for number in range(USER_BURST):
        with pytest.raises(Refused, match="unauthorized"):
            server.log_in("a wrong password", remote=f"198.51.100.{number}")

    with pytest.raises(Refused, match="too-many-requests"):
        server.log_in(remote="203.0.113.1")
    assert server.is_in(server.log_in(remote="192.0.2.1"))
    server.clock.pass_s(30.0)
    assert server.is_in(server.log_in(remote="203.0.113.1"))


@pytest.mark.slow
def test_guesses_at_a_name_that_nobody_has_end_as_those_at_a_user_do(server):
    guess = partial(server.log_in, "a wrong password", name="bert")
    for _ in range(USER_BURST - 1):  # as a guess does, which costs a whole hash each
        server.sessions._by_stranger.failed(server.sessions._shadow("bert"))

    with pytest.raises(Refused, match="unauthorized"):
        guess(remote="198.51.100.1")
    with pytest.raises(Refused, match="too-many-requests") as told:
        guess(remote="198.51.100.2")
    assert told.value.retry_after_s == 30.0
    assert server.is_in(server.log_in(remote="198.51.100.2"))


def test_one_network_of_ipv6_is_one_address(server):
    for number in range(ADDRESS_BURST):
        with pytest.raises(Refused, match="unauthorized"):
            server.log_in("a wrong password", remote=f"2001:db8::{number}")

    with pytest.raises(Refused, match="too-many-requests"):
        server.log_in(remote="2001:db8::ffff:1")


def test_no_more_is_remembered_than_is_of_use(server):
    for number in range(MOST_KNOWN + 10):
        server.log_in(remote=f"10.0.{number // 256}.{number % 256}")

    assert len(server.sessions._known) == MOST_KNOWN


def test_the_token_of_a_page_is_its_sessions_and_tells_nothing_of_it():
    assert csrf_token("A" * 43) == csrf_token("A" * 43) != csrf_token("B" * 43)
    assert "A" * 43 not in csrf_token("A" * 43)


@pytest.mark.parametrize("name", ["anna", "a", "7up", "anna@example.org", "x" * 64])
def test_names_of_users(name):
    assert is_user_name(name)


@pytest.mark.parametrize("name", ["", "Anna", "-a", ".a", "a b", "a\n", "x" * 65, "\u0627", "a/b"])
def test_names_that_nobody_may_have(name):
    assert not is_user_name(name)
