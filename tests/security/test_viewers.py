"""Many pages that are open in browsers: they ask again and again, and no upload waits for one of them."""

from contextlib import ExitStack

from tests.support.raw_http import Peer
from tests.support.secured import DATA, complete, create, peer, secured

TABS = 200
RECORDING = DATA * 64
"""Too much to be received before it takes a thread."""
ASK = b"GET /v1/fleet HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n\r\n"


def test_two_hundred_tabs_take_no_thread_from_an_upload(tmp_path):
    with (
        secured(tmp_path, auth={"mode": "open"}, server={"threads": 1}) as site,
        ExitStack() as stack,
    ):

        def opened() -> Peer:
            return stack.enter_context(peer(site))

        upload_id = create(site.client(), length=len(RECORDING)).json()["id"]
        head = (
            f"PUT /v1/uploads/{upload_id}/content HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Range: bytes 0-{len(RECORDING) - 1}/*\r\nContent-Length: {len(RECORDING)}\r\n\r\n"
        )
        sender = opened()
        sender.send(head.encode() + RECORDING[:100])  # the only place of an upload is taken

        tabs = [opened() for _ in range(TABS)]
        for tab in tabs:
            tab.send(ASK)
        assert [tab.answer().status for tab in tabs] == [200] * TABS

        for tab in tabs:
            tab.send(ASK)  # and nobody reads what is answered
        sender.send(RECORDING[100:])

        assert sender.answer().status == 200
        assert complete(site.client(), upload_id, RECORDING).status_code == 200
        assert list(site.published().values()) == [RECORDING]
        assert [tab.answer().status for tab in tabs] == [200] * TABS
