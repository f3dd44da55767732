"""Who may log in, and who has: the same of every store of facts."""

from dataclasses import replace

import pytest

from ingest_server.storage.interface import SessionRecord, UserRecord
from ingest_server.storage.interface.users import MOST_SESSIONS

ANNA = UserRecord("anna", "operator", "$scrypt$1", "2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z")
BEN = UserRecord("ben", "viewer", "$scrypt$2", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z")


def session(number: int, user: UserRecord = ANNA, at: str | None = None) -> SessionRecord:
    at = at or f"2026-11-23T10:{number:02}:00Z"
    return SessionRecord(b"%032d" % number, user.name, user.role, at, 1.0, at, 1.0)


@pytest.fixture
def users(state):
    state.users.add(BEN)
    state.users.add(ANNA)
    return state.users


def begin(users, one: SessionRecord, password=ANNA.password) -> bool:
    return users.begin_session(one, password=password)


def test_users_are_found_by_name_and_each_is_there_once(users):
    assert not users.add(replace(ANNA, role="viewer", password="other"))

    assert users.user("anna") == ANNA
    assert users.user("carl") is None
    assert users.users() == [ANNA, BEN]


def test_a_session_is_found_by_what_it_shows_with_the_role_that_its_user_has(users):
    assert begin(users, session(1))
    assert begin(users, session(2, BEN), BEN.password)

    assert users.session(session(1).session_hash) == session(1)
    assert users.session(session(2).session_hash).role == "viewer"
    assert users.session(b"other") is None


def test_a_session_ends_and_no_other_with_it(users):
    begin(users, session(1))
    begin(users, session(2))

    users.end_session(session(1).session_hash)
    users.end_session(session(1).session_hash)

    assert users.session(session(1).session_hash) is None
    assert users.session(session(2).session_hash) == session(2)


def test_sessions_end_with_their_user(users):
    begin(users, session(1))
    begin(users, session(2, BEN), BEN.password)

    assert users.remove("anna")

    assert not users.remove("anna")
    assert users.session(session(1).session_hash) is None
    assert users.session(session(2).session_hash) is not None
    users.add(ANNA)  # a namesake has none of them
    assert users.session(session(1).session_hash) is None


def test_sessions_end_with_the_password_that_they_began_with(users):
    begin(users, session(1))

    assert users.set_password("anna", "$scrypt$3", "2026-11-24T10:00:00Z")

    assert users.session(session(1).session_hash) is None
    changed = replace(ANNA, password="$scrypt$3", changed_at="2026-11-24T10:00:00Z")
    assert users.user("anna") == changed
    assert not users.set_password("carl", "$scrypt$3", "2026-11-24T10:00:00Z")


def test_a_login_that_was_overtaken_by_another_password_or_the_end_of_the_user_begins_nothing(
    users,
):
    users.set_password("anna", "$scrypt$3", "2026-11-24T10:00:00Z")

    assert not begin(users, session(1))
    assert not begin(users, session(2, replace(ANNA, name="carl")))

    assert users.session(session(1).session_hash) is None
    assert users.session(session(2).session_hash) is None


def test_one_session_more_than_are_kept_ends_the_oldest_and_never_the_new_one(users):
    for number in range(MOST_SESSIONS):
        begin(users, session(number))
    begin(users, session(50, BEN), BEN.password)

    begin(users, session(60, at="1970-01-01T00:00:07Z"))  # the clock has lost its battery

    left = [one for one in range(61) if users.session(session(one).session_hash) is not None]
    assert left == [*range(1, MOST_SESSIONS), 50, 60]


def test_a_use_is_noted_along_with_what_comes_next(users, state):
    begin(users, session(1))

    users.touch_session(session(1).session_hash, "2026-11-23T12:00:00Z", 7.0)
    users.touch_session(b"other", "2026-11-23T12:00:00Z", 7.0)
    state.run(lambda rows: rows.set_uptime(1.0))

    found = users.session(session(1).session_hash)
    assert found == replace(session(1), used_at="2026-11-23T12:00:00Z", used_s=7.0)
