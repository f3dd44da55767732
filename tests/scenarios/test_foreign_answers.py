"""What a network, a server or a dead link answers lets nothing go, and is not hammered."""

import httpx
import pytest

from edge_agent.base.reasons import ProblemCode
from edge_agent.core.upload import State
from edge_agent.send.clients.answers import ABOUT, About
from edge_agent.send.rules.link_policy import WORK
from tests.support.lane import scene
from tests.support.link import FINE, LOGIN_PAGE, Fault, problem
from upload_protocol.problems import PROBLEMS

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


@pytest.mark.slow
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


OF_OTHERS = (
    200,
    204,
    302,
    400,
    401,
    403,
    404,
    405,
    406,
    408,
    409,
    410,
    411,
    413,
    414,
    421,
    425,
    429,
)
OF_OTHERS += (431, 451, *range(500, 512), *range(520, 531))
JSON = {"Content-Type": "application/json"}
AT_THE_STATUS = {
    **{f"page-{one}": Fault(answer=(one, {}, b"<html>nobody of ours</html>")) for one in OF_OTHERS},
    **{code: problem(kind.status, code) for code, kind in PROBLEMS.items()},
    **{f"later-{one}": problem(one, "of-a-later-version") for one in OF_OTHERS if one >= 400},
    "empty": Fault(answer=(200, JSON, b"")),
    "cut": Fault(answer=(200, JSON, b'{"id": "0123", "state": "op')),
    "of another form": Fault(answer=(200, JSON, b"[]")),
}
LOST = {code for code, about in ABOUT.items() if about in {About.UPLOAD, About.UPLOAD_GONE}}
LOST |= {"later-409", "later-410"}
FEW = {
    "too-large",
    "invalid-name",
    "upload-refused",
    "upload-not-found",
    "page-200",
    "page-404",
    "cut",
}


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    with scene(tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest.mark.parametrize(
    "what",
    [one if one in FEW else pytest.param(one, marks=pytest.mark.nightly) for one in AT_THE_STATUS],
)
def test_whatever_is_answered_to_the_question_what_arrived_the_recording_does_in_the_end(
    stages, what
):
    recording = stages.lane.record(f"{what}.mp4", what.encode() * 20_000)
    begun = len(stages.lane.events("file.started"))
    answers = [Fault(cut_after=1000), *[AT_THE_STATUS[what]] * 3]

    def fault(request):
        is_next = request.path.endswith("/content") if len(answers) > 3 else asks(request)
        return answers.pop(0) if answers and is_next else FINE

    stages.link.schedule = fault
    reasons = set()
    while stages.lane.now(recording).state in WORK:
        stages.lane.step()
        if (wait := stages.lane.activity.blocked_by) is not None:
            reasons.add(wait.reason)

    assert stages.lane.now(recording).state is State.VERIFIED
    assert reasons
    assert len(stages.lane.events("file.started")) - begun == (2 if what in LOST else 1)


def asks(request):
    return request.method == "GET" and request.path.startswith("/v1/uploads/")
