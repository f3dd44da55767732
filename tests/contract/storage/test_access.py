"""What every store of facts has to do with tokens and claims of devices."""

from dataclasses import replace

import pytest

from ingest_server.core import events
from ingest_server.core.errors import StateFailed
from ingest_server.storage.interface import Claimed, ClaimRecord, TokenRecord
from tests.support.events import of_types
from tests.support.state_rows import TOKEN

CLAIM = ClaimRecord("c1", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", 2, 0, None)


class TestAccess:
    def add(self, state, token_id: str, device="cam", **more) -> TokenRecord:
        token = replace(
            TOKEN, token_id=token_id, device=device, token_hash=token_id.encode(), **more
        )
        state.access.add_token(token)
        return token

    def test_tokens_are_added_found_and_revoked(self, state):
        first = self.add(state, "t1")
        self.add(state, "t2", expires_at=None, scopes=())
        self.add(state, "t3", "dog")

        assert state.access.find_token(b"t1") == state.access.token("t1") == first
        assert state.access.find_token(b"nobody") is None
        assert state.access.token("nobody") is None
        assert [token.token_id for token in state.access.tokens()] == ["t1", "t2", "t3"]
        assert state.access.revoke("t3") == 1
        assert state.access.revoke("cam") == 2
        assert state.access.revoke("cam") == 0
        assert state.access.tokens() == []

    def test_a_use_is_noted(self, state):
        self.add(state, "t1")
        state.access.touch_token("t1", "2026-11-21T10:00:00Z")
        state.access.touch_token("nobody", "2026-11-21T10:00:00Z")

        assert state.access.token("t1").last_used_at == "2026-11-21T10:00:00Z"

    def test_a_token_is_there_once(self, state):
        self.add(state, "t1")

        with pytest.raises(StateFailed):
            self.add(state, "t1")

    def test_a_successor_takes_the_place_once_it_is_used(self, state):
        old = self.add(state, "t1")
        after = [
            replace(old, token_id=token_id, token_hash=token_id.encode(), replaces="t1")
            for token_id in ("t2", "t3")
        ]
        assert all(state.access.succeed(old, new) for new in after)
        assert [one.token_id for one in state.access.tokens()] == ["t1", "t3"]

        assert state.access.confirm_token("t3")

        assert [one.replaces for one in state.access.tokens()] == [None]
        assert not state.access.confirm_token("t1")
        assert not state.access.succeed(old, replace(after[-1], token_id="t4", token_hash=b"t4"))

    def test_a_revoked_token_takes_its_successor_with_it(self, state):
        old = self.add(state, "t1")
        state.access.succeed(
            old, replace(old, token_id="t2", device="x", token_hash=b"2", replaces="t1")
        )

        assert state.access.revoke("t1") == 2

    def claim(
        self, state, device: str, *, serial="s", token_id=None, since="2026-11-21", at="2026-11-22"
    ):
        token_id = token_id or f"token-{device}"
        token = replace(TOKEN, token_id=token_id, device=device, token_hash=token_id.encode())
        wanted = Claimed(device, "c1", serial, at, token_id)
        return state.access.claim(wanted, token, repeat_since=since)

    def test_a_claim_token_is_for_so_many_devices(self, state):
        state.access.add_claim(CLAIM, b"hash")
        state.outbox.register("ops")

        assert self.claim(state, "one") is None
        assert self.claim(state, "two") is None
        assert self.claim(state, "three") == "used-up"

        assert state.access.find_claim(b"hash") == replace(CLAIM, used=2)
        assert state.access.find_claim(b"other") is None
        assert state.access.token("token-one").device == "one"
        state.outbox.take_in("ops", of_types(events.TYPES))
        told = [one.event for one in state.outbox.listing()]
        assert [(one.type, one.device) for one in told] == [
            (events.CLAIMED, "one"), (events.CLAIMED, "two")
        ]  # fmt: skip
        assert told[0].data == {"device": "one", "claim_id": "c1", "serial": "s"}

    def test_a_device_is_claimed_once_unless_the_answer_was_lost(self, state):
        state.access.add_claim(CLAIM, b"hash")
        self.claim(state, "one")

        assert self.claim(state, "one", serial="other") == "claimed"
        assert self.claim(state, "one", since="2026-11-23") == "claimed"
        assert self.claim(state, "one", token_id="again") is None
        assert self.claim(state, "one", token_id="third") is None
        assert [one.token_id for one in state.access.tokens()] == ["third", "token-one"]
        assert state.access.confirm_token("third")  # used
        assert self.claim(state, "one", token_id="fourth") == "claimed"
        assert [one.token_id for one in state.access.tokens()] == ["third"]
        assert state.access.find_claim(b"hash").used == 1

    def test_a_repeated_claim_takes_nothing_from_a_token_in_use(self, state):
        state.access.add_claim(CLAIM, b"hash")
        self.claim(state, "one")
        self.claim(state, "one", token_id="thiefs")

        state.access.touch_token("token-one", "2026-11-22")

        assert [one.token_id for one in state.access.tokens()] == ["token-one"]
        assert not state.access.confirm_token("thiefs")
        assert self.claim(state, "one", token_id="later") == "claimed"

    def test_a_later_use_ends_no_rotation(self, state):
        old = self.add(state, "t1")
        state.access.touch_token("t1", "2026-11-21")
        new = replace(old, token_id="t2", token_hash=b"t2", replaces="t1")
        state.access.succeed(old, new)

        state.access.touch_token("t1", "2026-11-22")

        assert [one.token_id for one in state.access.tokens()] == ["t1", "t2"]

    def test_a_device_with_a_token_of_the_operators_is_not_claimed(self, state):
        state.access.add_claim(CLAIM, b"hash")
        self.add(state, "t1", "one")

        assert self.claim(state, "one") == "claimed"

    def test_a_claim_token_that_ended_is_good_for_nothing(self, state):
        state.access.add_claim(CLAIM, b"hash")

        assert state.access.revoke_claim("c1", "2026-12-01")
        assert not state.access.revoke_claim("c1", "2026-12-02")
        assert not state.access.revoke_claim("none", "2026-12-02")

        assert state.access.claims() == [replace(CLAIM, revoked_at="2026-12-01")]
        assert self.claim(state, "one") == "gone"
