from datetime import UTC, datetime, timedelta

import pytest

from edge_host.clock import rfc3339
from ingest_server.auth import authentication
from ingest_server.auth.tokens import issue
from ingest_server.core.errors import Refused, StateFailed
from ingest_server.storage.sql.access import SqlAccess
from ingest_server.storage.sqlite.transactions import SqliteState
from upload_protocol.headers import is_device_id


class Clock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 11, 21, 10, tzinfo=UTC)

    def now_utc(self) -> datetime:
        return self.moment

    def now_s(self) -> float:
        return self.moment.timestamp()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def state(tmp_path):
    found = SqliteState.open(tmp_path / "state.db")
    yield found
    found.close()


def add(state, device="drone-1") -> str:
    issued = issue(device, datetime(2026, 1, 1, tzinfo=UTC))
    state.access.add_token(issued.record)
    return f"Bearer {issued.token}"


def test_a_new_token_is_new_and_carries_its_device():
    tokens = {authentication.new_token("a_b-c")[0] for _ in range(50)}

    assert len(tokens) == 50
    for token in tokens:
        assert token.startswith("edt_a_b-c_")
        assert len(token) == len("edt_a_b-c_") + 43


@pytest.mark.parametrize("device", ["a", "a_b", "x" * 63, "0-_"])
def test_a_token_of_any_device_is_accepted(state, clock, device):
    assert is_device_id(device)
    bearer = add(state, device)

    assert authentication.TokenAuth(state.access, clock).authenticate(bearer, None).device == device


def test_the_scheme_is_matched_without_regard_to_case(state, clock):
    bearer = add(state)

    caller = authentication.TokenAuth(state.access, clock).authenticate(
        bearer.replace("Bearer", "bearer"), None
    )

    assert caller.device == "drone-1"


def test_use_is_noted_at_most_once_an_hour(state, clock):
    bearer, tokens = add(state), authentication.TokenAuth(state.access, clock)
    first = rfc3339(clock.moment)

    tokens.authenticate(bearer, None)
    clock.moment += timedelta(minutes=59)
    tokens.authenticate(bearer, None)
    assert state.access.tokens()[0].last_used_at == first

    clock.moment += timedelta(minutes=2)
    tokens.authenticate(bearer, None)
    assert state.access.tokens()[0].last_used_at == rfc3339(clock.moment)


class CannotWrite(SqlAccess):
    def touch_token(self, token_id: str, used_at: str) -> None:
        raise StateFailed("storage-full", "the disk is full")


def test_a_note_that_cannot_be_written_stops_no_upload(state, clock):
    bearer = add(state)

    caller = authentication.TokenAuth(CannotWrite(state), clock).authenticate(bearer, None)

    assert caller.device is not None


def test_a_first_use_that_was_not_noted_is_noted_with_the_next_request(state, clock):
    """It is what keeps a repeated claim from a token that its device uses."""
    bearer = add(state)
    tokens = authentication.TokenAuth(CannotWrite(state), clock)
    tokens.authenticate(bearer, None)

    tokens._tokens = state.access
    tokens.authenticate(bearer, None)

    assert state.access.tokens()[0].last_used_at is not None


def test_a_refusal_repeats_nothing_of_the_credential(state, clock):
    secret = "edt_drone-1_" + "s" * 43

    with pytest.raises(Refused) as refusal:
        authentication.TokenAuth(state.access, clock).authenticate(f"Bearer {secret}", None)

    assert "sss" not in str(refusal.value)


@pytest.mark.parametrize("host", ["box.local", "BOX.local:8080"])
def test_a_configured_name_is_answered_in_open_mode(host):
    assert authentication.OpenAuth(["Box.Local"]).authenticate(None, host).device is None


@pytest.mark.parametrize("host", ["", "box.local", "localhost@evil", "[::1", "x:y"])
def test_another_name_is_not(host):
    with pytest.raises(Refused) as refusal:
        authentication.OpenAuth().authenticate(None, host)

    assert refusal.value.code == "misdirected-request"


def test_who_sends_no_host_is_no_browser():
    assert authentication.OpenAuth().authenticate(None, None).device is None


def test_a_caller_is_admitted_until_its_token_is_revoked(state, clock):
    auth = authentication.TokenAuth(state.access, clock)
    caller = auth.authenticate(add(state), None)
    auth.ask_again(caller)

    state.access.revoke("drone-1")

    with pytest.raises(Refused, match="unauthorized: the token was revoked"):
        auth.ask_again(caller)


def test_a_caller_is_admitted_until_its_token_expires(state, clock):
    issued = issue("drone-1", clock.moment, expires_at=rfc3339(clock.moment + timedelta(hours=1)))
    state.access.add_token(issued.record)
    auth = authentication.TokenAuth(state.access, clock)
    caller = auth.authenticate(f"Bearer {issued.token}", None)
    auth.ask_again(caller)

    clock.moment += timedelta(hours=1)

    with pytest.raises(Refused, match="unauthorized: the token has expired"):
        auth.ask_again(caller)


def test_what_runs_under_a_token_that_gave_way_goes_on_until_its_successor_is_revoked(state, clock):
    auth = authentication.TokenAuth(state.access, clock)
    caller = auth.authenticate(add(state), None)
    old = state.access.token(caller.token_id)
    issued = issue("drone-1", clock.moment, replaces=old.token_id)
    assert state.access.succeed(old, issued.record)
    auth.authenticate(f"Bearer {issued.token}", None)
    assert state.access.token(caller.token_id) is None

    auth.ask_again(caller)
    state.access.revoke(issued.record.token_id)

    with pytest.raises(Refused, match="unauthorized: the token was revoked"):
        auth.ask_again(caller)


def test_a_certificate_and_open_mode_have_nothing_that_could_be_revoked(state, clock):
    authentication.TokenAuth(state.access, clock).ask_again(authentication.Caller("drone-1"))
    authentication.OpenAuth().ask_again(authentication.Caller(None))
