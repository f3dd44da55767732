"""What something on the way refuses is learned, and recordings arrive all the same."""

import pytest

from edge_agent.base.errors import UploadLostError
from edge_agent.base.reasons import ProblemCode
from edge_agent.core.upload import State
from edge_agent.net.way import Learned
from tests.support.lane import scene
from tests.support.link import FINE, Fault, problem

KIB = 1024
MIB = 1024 * KIB
HTML = {"Content-Type": "text/html"}


def page(status):
    return Fault(answer=(status, HTML, b"<html>nginx</html>"))


@pytest.fixture
def stage(tmp_path):
    with scene(tmp_path, upload={"min_request": 256 * KIB}) as made:
        yield made


def bodies(stage):
    return [one for one in stage.link.requests if one.path.endswith("/content")]


def limit(stage, most):
    """Put a proxy before the server that refuses longer bodies than *most*."""
    stage.link.schedule = lambda request: page(413) if request.length > most else FINE


def test_a_limit_of_a_proxy_is_found_by_halving_and_kept(stage):
    limit(stage, 300 * KIB)
    recording = stage.lane.record("a.mp4", b"x" * 3 * MIB)

    stage.lane.run()

    lengths = [one.length for one in bodies(stage)]
    refused = [length for length in lengths if length > 300 * KIB]
    assert stage.lane.now(recording).state is State.VERIFIED
    assert refused == [MIB, 512 * KIB]
    assert max(lengths[2:]) == 256 * KIB == stage.lane.way.learned.max_request
    assert stage.lane.activity.problems == frozenset()


def test_a_limit_below_the_least_request_is_a_sentence_that_names_it(stage):
    limit(stage, 100 * KIB)
    stage.lane.record("a.mp4", b"x" * 3 * MIB)

    stage.lane.run(until=lambda: stage.lane.activity.problems != frozenset())

    assert stage.lane.activity.problems == {ProblemCode.SERVER_UNREACHABLE}
    detail = stage.lane.activity.blocked_by.detail
    assert "answer 413 without a problem document to a request with 262144 bytes" in detail
    assert "[upload] min_request is 262144 bytes: lower it" in detail


def test_a_lower_least_request_is_tried_after_a_reload(stage):
    limit(stage, 100 * KIB)
    recording = stage.lane.record("a.mp4", b"x" * 300 * KIB)
    stage.lane.run(until=lambda: stage.lane.activity.problems != frozenset())

    lower = stage.lane.upload.model_copy(update={"min_request": 64 * KIB})
    stage.lane.sender.reconfigure(lower)
    stage.lane.run()

    assert stage.lane.now(recording).state is State.VERIFIED
    assert stage.lane.activity.problems == frozenset()


def break_connections_after(stage, most):
    """Put something before the server that lets no more than *most* bytes through a connection."""
    carried = 0

    def fault(request):
        nonlocal carried
        before, carried = carried, carried + request.length
        if carried > most:
            carried = 0
            return Fault(cut_after=most - before)
        if request.is_last:
            carried = 0
        return FINE

    stage.link.schedule = fault


def test_connections_that_break_after_so_many_bytes_carry_less_from_then_on(stage):
    break_connections_after(stage, MIB)
    recording = stage.lane.record("a.mp4", b"x" * 16 * MIB)

    stage.lane.run()

    assert stage.lane.now(recording).state is State.VERIFIED
    assert stage.lane.way.learned == Learned(max_connection=896 * KIB)
    last = bodies(stage)[-1]
    assert last.is_last
    assert last.length <= 896 * KIB
    assert stage.link.body_bytes < 16 * MIB + 5 * MIB  # of five bodies what did not arrive
    assert stage.lane.activity.problems == frozenset()


@pytest.mark.parametrize("status", [403, 405, 501])
def test_where_put_is_refused_post_goes_in_its_place(stage, status):
    stage.link.schedule = lambda request: page(status) if request.method == "PUT" else FINE
    stage.link.app = translating(stage.link.app)
    recording = stage.lane.record("a.mp4", b"x" * 3 * MIB)

    stage.lane.run()

    methods = [one.method for one in bodies(stage)]
    assert stage.lane.now(recording).state is State.VERIFIED
    assert methods[0] == "PUT"
    assert set(methods[1:]) == {"POST"}
    assert stage.lane.way.learned == Learned(as_post=True)


def translating(app):
    """Do what a server does with the header."""

    def translated(environ, start_response):
        override = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE")
        if environ["REQUEST_METHOD"] == "POST" and override is not None:
            environ["REQUEST_METHOD"] = override
        return app(environ, start_response)

    return translated


def test_a_server_that_does_not_know_that_is_spoken_to_as_before(stage):
    once = [page(403)]
    method = problem(405, "method-not-allowed")

    def refuse(request):
        if request.method == "PUT" and once:
            return once.pop()
        return method if request.method == "POST" and "content" in request.path else FINE

    stage.link.schedule = refuse
    recording = stage.lane.record("a.mp4", b"x" * 1000)

    stage.lane.run()

    assert stage.lane.now(recording).state is State.VERIFIED
    assert [one.method for one in bodies(stage)] == ["PUT", "POST", "PUT"]
    assert stage.lane.way.learned == Learned(no_post=True)


def test_a_login_page_that_refuses_everything_is_asked_who_it_is(stage):
    recording = stage.lane.record("a.mp4", b"x" * 3 * MIB)
    stage.lane.run(until=lambda: bool(bodies(stage)))
    stage.link.schedule = lambda _: page(403)

    stage.lane.run(until=lambda: ProblemCode.SERVER_UNREACHABLE in stage.lane.activity.problems)
    stage.link.schedule = lambda _: FINE
    stage.link.app = translating(stage.link.app)
    stage.lane.run()

    assert stage.lane.now(recording).state is State.VERIFIED
    assert stage.lane.way.learned.max_request is None


def test_each_link_has_limits_of_its_own(stage):
    at = ["wlan0"]
    stage.lane.interface = lambda: at[0]
    limit(stage, 300 * KIB)
    stage.lane.record("a.mp4", b"x" * MIB)
    stage.lane.run()
    at[0] = "wwan0"
    other = stage.lane.way.learned

    at[0] = "wlan0"

    assert other == Learned()
    assert stage.lane.way.learned.max_request == 256 * KIB


def test_where_delete_is_refused_too_post_gives_an_upload_up(stage):
    upload_id = begun(stage)
    stage.link.schedule = lambda request: page(405) if request.method == "DELETE" else FINE
    stage.link.app = translating(stage.link.app)

    assert stage.lane.transport.abort_upload(upload_id)

    with pytest.raises(UploadLostError):
        stage.lane.transport.status(upload_id)


@pytest.mark.slow
@pytest.mark.parametrize("answer", [page(405), problem(405, "method-not-allowed")])
def test_an_upload_that_no_method_gives_up_is_left_to_expire(stage, answer):
    upload_id = begun(stage)
    stage.link.schedule = lambda request: {"DELETE": page(405), "POST": answer}.get(
        request.method, FINE
    )

    assert not stage.lane.transport.abort_upload(upload_id)

    assert stage.lane.transport.status(upload_id).state == "open"


def begun(stage):
    recording = stage.lane.record("a.mp4", b"x" * MIB)
    stage.lane.run(until=lambda: stage.lane.now(recording).upload_id is not None)
    return stage.lane.now(recording).upload_id
