"""The link does to requests what its schedule says, and nothing else."""

import json

import httpx
import pytest

from tests.support.clock import VirtualClock
from tests.support.link import LOGIN_PAGE, Fault, Link, problem

PIECE = b"0123456789"


class Site:
    """An application that remembers what it was asked, and a client that asks it over a link."""

    def __init__(self, **kinds):
        self.heard = []
        self.clock = VirtualClock()
        self.link = Link(self._answer, self.clock, **kinds)
        self.client = httpx.Client(transport=self.link, base_url="http://server")

    def _answer(self, environ, start_response):
        body = environ["wsgi.input"].read()
        self.heard.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], body))
        start_response("201 Created", [("X-Query", environ["QUERY_STRING"])])
        return [environ.get("HTTP_X_ASK", "").encode()]

    def put(self, body=PIECE * 3):
        return self.client.put("/a", content=body)


@pytest.fixture
def site():
    made = Site()
    with made.client:
        yield made


def test_a_request_and_its_answer_pass_as_they_are(site):
    answer = site.client.put("/a?b=c", content=PIECE, headers={"X-Ask": "you"})

    assert (answer.status_code, answer.content, answer.headers["X-Query"]) == (201, b"you", "b=c")
    assert site.heard == [("PUT", "/a", PIECE)]
    assert site.clock.now_s() == VirtualClock().now_s()


def test_of_a_body_that_is_cut_the_server_sees_the_beginning(site):
    site.link.script(Fault(cut_after=12))

    with pytest.raises(httpx.ReadError):
        site.put()

    assert site.heard == [("PUT", "/a", b"012345678901")]


def test_a_cut_behind_the_end_of_a_body_harms_nothing(site):
    site.link.script(Fault(cut_after=30))

    assert site.put().status_code == 201


def test_of_a_lost_request_the_server_hears_nothing(site):
    site.link.script(Fault(lose_request=True))

    with pytest.raises(httpx.ConnectError):
        site.put()

    assert site.heard == []


def test_of_a_lost_answer_the_server_has_done_its_work(site):
    site.link.script(Fault(lose_answer=True))

    with pytest.raises(httpx.ReadError):
        site.put()

    assert site.heard == [("PUT", "/a", PIECE * 3)]


def test_a_repeated_request_arrives_twice_in_full(site):
    site.link.script(Fault(repeat=True))

    assert site.put().status_code == 201
    assert site.heard == [("PUT", "/a", PIECE * 3)] * 2


def test_somebody_else_may_answer_in_the_servers_place(site):
    site.link.script(LOGIN_PAGE, problem(429, "too-many-requests", **{"Retry-After": "7"}))

    portal, busy = site.put(), site.put()

    assert (portal.status_code, portal.headers["Content-Type"]) == (200, "text/html")
    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "7")
    assert json.loads(busy.content)["code"] == "too-many-requests"
    assert site.heard == []


def test_a_script_is_for_the_next_requests_of_its_method_and_then_all_is_fine(site):
    site.link.script(Fault(lose_request=True), only="PUT")

    assert site.client.get("/a").status_code == 201
    with pytest.raises(httpx.ConnectError):
        site.put()
    assert site.put().status_code == 201


def test_time_passes_for_a_delay_and_for_the_bytes_of_a_body():
    site = Site(bytes_per_s=10)
    start_s = site.clock.now_s()
    site.link.script(Fault(delay_s=5))

    with site.client:
        site.put()

    assert site.clock.now_s() - start_s == pytest.approx(5 + 3)


def test_what_was_put_on_the_wire_is_counted_whether_it_arrived_or_not(site):
    site.link.script(Fault(lose_request=True), Fault(lose_answer=True))
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            site.put()

    assert [(one.method, one.path, one.length) for one in site.link.requests] == [
        ("PUT", "/a", 30),
        ("PUT", "/a", 30),
    ]
    assert site.link.body_bytes == 30, "a lost request's body never left"
