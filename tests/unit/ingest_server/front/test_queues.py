"""What a request took counts for its device before the next of it goes on."""

import io

from ingest_server.front.admission import LIGHT_OF_ONE_DEVICE
from ingest_server.front.pacing import AHEAD_S, SHARE
from ingest_server.front.queues import Queues
from ingest_server.front.request_head import read_head


def head(device):
    text = f"GET /v1/uploads/1 HTTP/1.1\r\nHost: ingest\r\nAuthorization: Bearer {device}\r\n\r\n"
    found = read_head(io.BytesIO(text.encode()).readline)
    assert found is not None
    return found


def test_who_waits_behind_a_request_that_used_up_the_share_goes_on_at_the_pace_and_not_at_once():
    now_s = 1000.0
    went: list[str] = []
    queues: Queues[str] = Queues(went.append, lambda: now_s)

    def asked(device):
        return queues.asked(head(device), "192.0.2.1", None)

    for device in ("greedy", "modest"):
        first = asked(device)
        assert first.may_begin(None)
        first.is_of(device)
        first.end()
    running = [asked("greedy") for _ in range(LIGHT_OF_ONE_DEVICE)]
    assert all(one.may_begin(None) for one in running)
    for name in ("one more", "and one"):
        waiting = asked("greedy")
        assert not waiting.may_begin(None)
        waiting.wait(name)
    modest = asked("modest")
    assert modest.may_begin(None)

    running[0].end(AHEAD_S / 2)
    assert went == ["one more"]
    running[1].end(AHEAD_S)
    assert went == ["one more"]

    now_s += AHEAD_S / 2 / SHARE + 0.001
    queues.look()
    assert went == ["one more", "and one"]
