"""What a server, or whoever stands before it, answers is an order: an hour of each of them.

The wait has its reason, nothing is hammered, nothing counts as sent, and the hour ends with the order.
"""

import json
from dataclasses import dataclass
from itertools import pairwise

import pytest

from edge_agent.base.reasons import Reason
from edge_agent.core.upload import State
from tests.support.lane import scene
from tests.support.link import FINE, Fault

KIB = 1024
HOUR_S = 3600.0
DATA = bytes(range(256)) * 2 * KIB
LETS_GO = {"delete": "after_verified"}
PORTAL = b"<html><body>Welcome to Harbour WiFi, please log in. 100 % uploaded.</body></html>"


@dataclass(frozen=True)
class Order:
    answer: Fault
    reason: Reason
    most: int
    """Requests in an hour."""
    least_gap_s: float = 0.2

    def __str__(self) -> str:
        assert self.answer.answer is not None
        status, head, body = self.answer.answer
        named = json.loads(body).get("code") if body.startswith(b"{") else body[:6].decode()
        return f"{status} {named} {head.get('Retry-After', '')}".strip()


def says(status, code=None, *, after=None, body=PORTAL, **head):
    fields = {"Content-Type": "text/html", **head}
    if code is not None:
        fields["Content-Type"] = "application/problem+json"
        body = json.dumps({"code": code, "status": status, "title": "t", "detail": "d"}).encode()
    if after is not None:
        fields["Retry-After"] = after
    return Fault(answer=(status, fields, body))


BUSY, FULL, LINK, AUTH = Reason.SERVER_BUSY, Reason.SERVER_FULL, Reason.LINK, Reason.AUTH
BY_BACKOFF = 150
"""Capped at 60 s, jitter at its mean: 30 s, and the first few tries."""

ORDERS = [
    Order(says(429), BUSY, BY_BACKOFF),
    Order(says(429, "too-many-requests", after="7"), BUSY, 520, 7),
    Order(says(503, "server-busy", after="120"), BUSY, 31, 120),
    Order(says(503, after="0"), BUSY, 3601, 1),
    # The wall clock of this device stands in 1970, so a date of today is as absurd as any.
    Order(says(503, after="Thu, 01 Jan 1970 00:00:00 GMT"), BUSY, 3601, 1),
    Order(says(503, "stopping", after="Sat, 21 Nov 2026 10:00:00 GMT"), BUSY, 2, HOUR_S),
    Order(says(503, "stopping", after="999999999999999999999"), BUSY, 2, HOUR_S),
    # A network left behind must not hold up the next one for an hour.
    Order(says(503, after="3600"), BUSY, 13, 300),
    Order(says(429, after="Sat, 21 Nov 2026 10:00:00 GMT"), BUSY, 13, 300),
    Order(says(503, after="Fri, 31 Dec 99999999999999999999 23:59:59 GMT"), BUSY, BY_BACKOFF),
    Order(says(503, after="-1"), BUSY, BY_BACKOFF),
    Order(says(503, after="soon"), BUSY, BY_BACKOFF),
    Order(says(502), BUSY, BY_BACKOFF),
    Order(says(504), BUSY, BY_BACKOFF),
    Order(says(500), LINK, BY_BACKOFF),
    Order(says(500, "internal-error"), BUSY, BY_BACKOFF),
    Order(says(505), LINK, BY_BACKOFF),
    Order(says(507), LINK, BY_BACKOFF),
    Order(says(520), LINK, BY_BACKOFF),
    Order(says(599), LINK, BY_BACKOFF),
    Order(says(507, "storage-full", after="60"), FULL, 62, 60),
    Order(says(507, "quota-exceeded", after="300"), Reason.QUOTA, 14, 300),
    Order(says(401, "unauthorized"), AUTH, 20, 30),
    Order(says(403, "forbidden"), AUTH, 20, 30),
    Order(says(401), LINK, BY_BACKOFF),
    Order(says(403), LINK, BY_BACKOFF),
    Order(says(404), LINK, BY_BACKOFF),
    Order(says(404, "not-found"), LINK, BY_BACKOFF),
    # What is begun anew sends everything anew: seldom, once it has been lost twice.
    Order(says(404, "upload-not-found"), Reason.BACKOFF, 20),
    Order(says(410, "upload-expired"), Reason.BACKOFF, 20),
    Order(says(407), LINK, BY_BACKOFF),
    Order(says(413), LINK, BY_BACKOFF),
    Order(says(451), LINK, BY_BACKOFF),
    # 511 is what a network says that wants a login first (RFC 6585).
    Order(says(511), LINK, BY_BACKOFF),
    Order(says(200), LINK, BY_BACKOFF),
    Order(says(200, body=b""), LINK, BY_BACKOFF),
    Order(says(200, body=b"{}", **{"Content-Type": "application/json"}), LINK, BY_BACKOFF),
    Order(says(204, body=b""), LINK, BY_BACKOFF),
    Order(says(302, body=b"", Location="http://portal.example/"), LINK, BY_BACKOFF),
    Order(says(307, body=b"", Location="https://127.0.0.1/"), LINK, BY_BACKOFF),
]

STAGES = {
    "everything": lambda _: True,
    "content": lambda request: request.path.endswith("/content"),  # by PUT or by what stands for it
    "complete": lambda request: request.path.endswith("/complete"),
}

_FIRST = {(order.reason, order.most): order for order in reversed(ORDERS)}
"""Of those that are kept to alike."""
PLAYED = [
    # One request in each second of the hour is too much for a fast test, too.
    pytest.param(
        order,
        "everything",
        marks=[pytest.mark.slow] * (order.most > HOUR_S or order not in _FIRST.values()),
    )
    for order in ORDERS
]
PLAYED += [
    pytest.param(order, stage, marks=pytest.mark.slow)
    for order in ORDERS
    for stage in ("content", "complete")
    if order.most < BY_BACKOFF or order.reason in {LINK, FULL, Reason.BACKOFF}
]


@pytest.mark.parametrize(("order", "stage"), PLAYED, ids=str)
def test_L5_an_order_is_kept_to_for_an_hour_and_not_a_minute_longer(tmp_path, order, stage):
    with scene(tmp_path, retention=LETS_GO) as here:
        recording = here.lane.record("a.mp4", DATA)
        asked_s = []

        def schedule(request):
            if not STAGES[stage](request):
                return FINE
            asked_s.append(here.clock.now_s())
            return order.answer

        here.link.schedule = schedule
        here.lane.run(until=lambda: asked_s != [] and here.lane.activity.blocked_by is not None)
        wait = here.lane.activity.blocked_by
        while here.clock.now_s() < asked_s[0] + HOUR_S - 1:
            here.lane.step()
            here.lane.janitor.step(here.clock.now_s())
        gaps = [late - early for early, late in pairwise(asked_s)]

        assert wait is not None
        assert (wait.reason, bool(wait.detail)) == (order.reason, True)
        assert len(asked_s) <= order.most
        assert len(here.link.requests) <= 3 * order.most + 10
        assert min(gaps, default=HOUR_S) >= order.least_gap_s
        assert here.lane.now(recording).state not in {State.VERIFIED, State.RELEASED}
        assert (here.lane.media / "a.mp4").read_bytes() == DATA
        assert here.published() == {}

        here.link.schedule = lambda _: FINE
        ended_s = here.clock.now_s()
        here.lane.run()

        assert here.published() == {"a.mp4": DATA}
        assert here.clock.now_s() - ended_s <= (HOUR_S if order.reason is Reason.BACKOFF else 310)
