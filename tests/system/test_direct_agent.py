"""A running agent that sends straight to the bucket, and through the server where it cannot: real engines."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest

from tests.support.certificates import Authority
from tests.support.counting_link import CountingLink
from tests.support.other_stores import JuiceFs, Rclone, running
from tests.support.postgres import postgres
from tests.support.processes import DEVICE, Agent, Server, wait_for
from tests.support.s3_keys import content_of, keys_below
from tests.support.s3_proxy import Standstill, answer, flip_sent, lose_answer, proxy_to
from tests.support.seaweed import Seaweed, seaweed
from tests.support.site import site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
MIB = 1024 * 1024
LENGTH = 24 * MIB


@pytest.fixture(scope="module")
def store():
    with seaweed() as found:
        yield found


@pytest.fixture(scope="module")
def database():
    with postgres() as found:
        yield found


class Field:
    """A device, a server, and the way of the device to the store."""

    def __init__(self, found, place):
        self.site, self.place = found, place
        self.agent, self.server, self.link = found.agent, found.server, found.link
        self.data = os.urandom(LENGTH)

    def record(self):
        (self.agent.media / "clip.mp4").write_bytes(self.data)

    def published(self):
        keys = [one for one in keys_below(self.place, "") if not one.startswith(".ingest-server/")]
        return [content_of(self.place, self.place.prefix + one) for one in keys]

    def wait_until_verified(self):
        def is_verified():
            for program in (self.server, self.agent):
                assert program.child.ended() is None, f"it ended:\n{program.end_of_log()}"
            return self.agent.state_if_any().get("totals", {}).get("files_done") == 1

        try:
            wait_for(is_verified, "the recording is verified", 90)
        except TimeoutError as error:
            error.add_note(f"{self.agent.state()}\n{self.agent.end_of_log()}")
            raise
        assert self.published() == [self.data]


def has_sent_one(agent: Agent) -> bool:
    return bool(agent.state_if_any().get("totals", {}).get("files_done") == 1)


@contextmanager
def field_of(folder, store, endpoint, *, state=None):
    """Run them; *endpoint*: where the device finds the store."""
    place = store.place()
    storage = {**store.settings(place), "presigned_endpoint": endpoint}
    if state is not None:
        storage["state"] = state
    route = [{"match": "*", "prefix": "straight", "direct": True}]
    with site(folder, server={"storage": storage, "route": route}) as found:
        if state is not None:
            token = found.server.run("token", "add", DEVICE).splitlines()[-1]
            (folder / "device" / "token").write_text(token)
        yield Field(found, place)


@pytest.fixture
def proxy(store):
    with proxy_to(store.endpoint) as found:
        yield found


def test_the_bytes_go_to_the_store_once_and_not_through_the_server(tmp_path, store):
    with CountingLink(store.port) as way, field_of(tmp_path, store, way.url) as field:
        field.record()
        field.agent.start()
        field.wait_until_verified()
        state = field.agent.state()

        assert way.sent < 1.02 * LENGTH
        assert field.link.sent < 0.1 * LENGTH
        assert way.sent + field.link.sent < 1.02 * LENGTH
        assert "direct_unreachable" not in state["problems"]


def test_a_device_that_does_not_reach_the_store_says_so_and_sends_through_the_server(
    tmp_path, store
):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with field_of(tmp_path, store, nobody) as field:
        field.record()
        field.agent.start()
        field.wait_until_verified()
        state = field.agent.state()

        assert LENGTH <= field.link.sent < 1.02 * LENGTH
        assert "direct_unreachable" in state["problems"]
        [note] = [one for one in state["notes"] if "straight to its store" in one]
        assert nobody.removeprefix("http://") in note
        assert f"note: {note}"[:60] in field.agent.run("status")


def test_a_check_tries_the_way_straight_to_the_store_and_leaves_nothing_there(
    tmp_path, store, proxy
):
    with field_of(tmp_path, store, proxy.endpoint) as field:
        good = field.agent.run("check")
        proxy.on("put", answer(503, "SlowDown"), times=100)
        bad = field.agent.run("check")

        assert "OK    direct: the server's store takes recordings straight from this device" in good
        assert proxy.count("put") == 2
        [why] = [one for one in bad.splitlines() if one.startswith("WARN  direct: ")]
        assert "go through the server, and not straight to its store" in why
        assert "503 (SlowDown" in why
        assert field.server.open_uploads(field.agent.token) == {}
        assert keys_below(field.place, ".ingest-server/parts/") == []


@pytest.mark.nightly
@pytest.mark.parametrize("kind", [Seaweed, JuiceFs, Rclone])
def test_a_store_that_is_killed_in_mid_upload_and_comes_back_has_the_recording(tmp_path, kind):
    with (
        running(kind) as store,
        CountingLink(store.port) as way,
        field_of(tmp_path, store, way.url) as field,
    ):
        field.record()
        field.agent.start()
        # One of them does not say what it has of a part: then the bytes go through the server.
        wait_for(lambda: way.sent + field.link.sent > LENGTH // 4, "some of it is on its way")
        store.kill()
        store.start()
        field.wait_until_verified()
        notes = " ".join(field.agent.state()["notes"])

        assert kind is not JuiceFs or "as they were signed: send them to the server" in notes


@pytest.mark.nightly
def test_over_tls_it_goes_to_the_store_by_the_same_authority_and_not_to_one_without(
    tmp_path, monkeypatch
):
    authority = Authority(tmp_path / "ca")
    pair = authority.server()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.cert))  # the server's way to the store
    with seaweed(tls=(pair.cert, pair.key)) as store, CountingLink(store.tls_port) as way:
        secure = way.url.replace("http:", "https:")
        for shown, is_straight in ((secure, True), (store.endpoint, False)):
            folder = tmp_path / str(is_straight)
            place = replace(store.place(endpoint=secure), shown_endpoint=shown)
            server = Server(
                folder / "server",
                storage=store.settings(place),
                route=[{"match": "*", "prefix": "straight", "direct": True}],
                tls={"cert_file": pair.cert, "key_file": pair.key},
            )
            server.tls = authority.client_context()
            agent = Agent(
                folder / "device",
                url=f"https://127.0.0.1:{server.port}",
                token=None,
                server={"ca_file": authority.cert, "token_file": folder / "device" / "token"},
            )
            data = os.urandom(LENGTH)
            try:
                server.start()
                (folder / "device" / "token").write_text(server.new_token())
                (folder / "device" / "token").chmod(0o600)
                (agent.media / "clip.mp4").write_bytes(data)
                agent.start()
                wait_for(
                    partial(has_sent_one, agent),
                    "the recording is verified",
                    90,
                )
                state = agent.state()
            finally:
                agent.close()
                server.close()
            [key] = keys_below(store.of(place.prefix), "straight/drone-1")
            assert content_of(store.of(place.prefix), place.prefix + key) == data
            assert ("direct_unreachable" in state["problems"]) is not is_straight
            assert any("without TLS" in one for one in state["notes"]) is not is_straight


@pytest.mark.parametrize(
    ("deed", "why"),
    [
        pytest.param(flip_sent, "400 (BadDigest", id="other bytes arrive"),
        pytest.param(lose_answer, "the connection ended before an answer came", id="cut"),
        pytest.param(
            answer(403, "RequestTimeTooSkewed"),
            "403 (RequestTimeTooSkewed",
            id="clock",
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            answer(503, "SlowDown"), "503 (SlowDown", id="busy", marks=pytest.mark.nightly
        ),
    ],
)
def test_what_the_store_does_not_take_goes_through_the_server(tmp_path, store, proxy, deed, why):
    proxy.on("put", deed, times=1000)
    with field_of(tmp_path, store, proxy.endpoint) as field:
        field.record()
        field.agent.start()
        field.wait_until_verified()

        [note] = [one for one in field.agent.state()["notes"] if "straight to its store" in one]
        assert why in note
        assert proxy.count("put") == 1


def test_a_part_that_the_server_was_not_told_of_before_it_died_is_not_sent_again(
    tmp_path, store, database, proxy
):
    step = Standstill(is_done=True)
    with field_of(tmp_path, store, proxy.endpoint, state=database.database()) as field:
        proxy.on("put", step)
        field.record()
        field.agent.start()
        assert step.reached.wait(60)
        field.server.kill()
        step.go_on.set()
        wait_for(lambda: "server_unreachable" in field.agent.state_if_any().get("problems", ()),
                 "it knows that the server is away")  # fmt: skip
        field.server.start()
        field.wait_until_verified()

        assert proxy.bytes_sent() + field.link.sent < 1.02 * LENGTH


@pytest.mark.nightly
def test_an_agent_that_is_killed_sends_no_acknowledged_part_again(tmp_path, store, proxy):
    with field_of(tmp_path, store, proxy.endpoint) as field:
        step = Standstill(is_done=True)
        proxy.on("put", lambda request, forward: forward(request), times=2)
        proxy.on("put", step)
        field.record()
        field.agent.start()
        assert step.reached.wait(60)
        in_flight = len([one for one in proxy.seen if one.kind == "put"][-1].body)
        field.agent.kill()
        step.go_on.set()
        field.agent.start()
        field.wait_until_verified()

        assert proxy.bytes_sent() + field.link.sent < 1.02 * LENGTH + in_flight
