"""A webhook's target that takes connections and says nothing."""

import socket

from edge_host.clock import SystemClock
from ingest_server.notify.webhooks import Webhook, WebhookSettings
from tests.support.delivery_desk import Desk


def test_a_target_that_hangs_costs_a_timeout_for_a_round_and_not_one_for_each_event(
    tmp_path,
):
    """It takes connections, so nothing says at once that nobody is there."""
    secret_file = tmp_path / "secret"
    secret_file.write_bytes(b"a secret of more than 24 bytes")
    with socket.create_server(("127.0.0.1", 0), backlog=64) as hangs:
        hangs.setblocking(False)
        url = f"http://127.0.0.1:{hangs.getsockname()[1]}/"
        settings = WebhookSettings(url, secret_file, allow_private=True)
        desk = Desk(tmp_path / "data", Webhook(settings, SystemClock(), timeout_s=0.1))
        rounds = []
        try:
            for number in range(10):
                desk.site.create(f"{number}.mp4")
            for _ in range(3):
                desk.settle()
                rounds.append(_connections(hangs))
                desk.site.clock.seconds += 400
            waiting = desk.outbox.listing("pending")
        finally:
            desk.site.stop()

    assert rounds == [2, 1, 1]
    assert len(waiting) == 10
    # Only of what was tried is there anything to say.
    assert (
        sorted(str(one.error) for one in waiting) == ["None"] * 6 + ["no answer within 0.1 s"] * 4
    )


def _connections(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1
