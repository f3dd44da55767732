"""What a network, a server or a dead link answers lets nothing go, and is not hammered."""

import httpx

from edge_agent.base.reasons import ProblemCode
from edge_agent.core.upload import State
from tests.support.lane import scene
from tests.support.link import FINE, LOGIN_PAGE, Fault, problem

LETS_GO = {"delete": "after_verified"}

CONNECT = Fault(lose_request=True)


def test_a_login_page_is_no_server_and_nothing_counts_as_sent(tmp_path):
    with scene(tmp_path, retention=LETS_GO) as stage:
        recording = stage.lane.record("a.mp4", b"x" * 1000)
        stage.link.schedule = lambda _: LOGIN_PAGE

        for _ in range(50):
            stage.lane.step()

        assert stage.lane.now(recording).state is State.STABLE
        assert ProblemCode.SERVER_UNREACHABLE in stage.lane.activity.problems
        asked = {(one.method, one.path) for one in stage.link.requests[1:]}
        assert asked == {("GET", "/v1")}, "only the probe, which gives nothing away"

        stage.link.script()
        stage.lane.run()
        assert stage.lane.now(recording).state is State.VERIFIED


def test_a_refused_token_is_never_hammered_and_never_counts_as_sent(tmp_path):
    with scene(tmp_path) as stage:
        recording = stage.lane.record("a.mp4", b"x")
        stage.link.schedule = lambda _: problem(401, "unauthorized")
        began_s = stage.clock.now_s()

        while stage.clock.now_s() - began_s < 3600:
            stage.lane.step()

        assert len(stage.link.requests) <= 17
        assert stage.lane.now(recording).state is State.STABLE
        assert len(stage.lane.events("auth.failed")) == 1


def test_a_new_token_is_used_at_once(tmp_path):
    with scene(tmp_path, mode="token") as stage:
        recording = stage.lane.record("a.mp4", b"x")
        stage.lane.token = lambda: "wrong"
        stage.lane.run(until=lambda: stage.lane.activity.blocked_by is not None)
        token = stage.server.token("cam")

        stage.lane.token = lambda: token
        began_s = stage.clock.now_s()
        stage.lane.run()

        assert stage.lane.now(recording).state is State.VERIFIED
        assert stage.clock.now_s() - began_s <= 6
        assert len(stage.lane.events("auth.ok")) == 1


def test_files_for_tls_that_were_replaced_are_used_without_waiting_to_the_end(tmp_path):
    """The token stands for them: they are one credential."""
    with scene(tmp_path, mode="token") as stage:
        recording = stage.lane.record("a.mp4", b"x")
        token, stage.lane.token = stage.server.token("cam"), lambda: "old"
        stage.link.schedule = untrusted
        began_s = stage.clock.now_s()
        while stage.clock.now_s() - began_s < 3600:
            stage.lane.step()
        asked = len(stage.link.requests)
        while left_to_wait_s(stage) < 20:
            stage.lane.step()
        replaced_s = stage.clock.now_s()

        stage.lane.token, stage.link.schedule = lambda: token, lambda _: FINE
        stage.lane.run()

        assert asked < 200, "in an hour"
        assert stage.lane.now(recording).state is State.VERIFIED
        assert stage.clock.now_s() - replaced_s <= 6


def left_to_wait_s(stage):
    wait = stage.lane.activity.blocked_by
    return 0 if wait is None or wait.until_s is None else wait.until_s - stage.clock.now_s()


def untrusted(_):
    raise httpx.ConnectError(
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unknown CA"
    )


def test_a_reboot_loop_on_a_dead_link_still_backs_off(tmp_path):
    with scene(tmp_path) as stage:
        stage.lane.record("a.mp4", b"x")
        stage.link.schedule = lambda _: CONNECT
        waits = []
        for _ in range(6):
            waits.append(stage.lane.step())
            stage.lane.restart()

        assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]


def test_a_long_outage_writes_the_card_a_few_times_and_no_more(tmp_path):
    with scene(tmp_path) as stage:
        recording = stage.lane.record("a.mp4", b"x")
        stage.link.schedule = lambda _: CONNECT

        for _ in range(200):
            stage.lane.step()

        assert stage.lane.now(recording).failures <= 7
