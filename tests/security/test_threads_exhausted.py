"""A system that gives the server no thread more: uploads are refused for now, and go on once it does."""

import threading

from tests.support.secured import DATA, complete, create, put, secured


def test_an_upload_that_no_thread_can_finish_comes_back_and_is_finished_then(tmp_path, monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith("publish"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with secured(tmp_path) as site:
        client = site.device()
        upload_id = create(client).json()["id"]
        put(client, upload_id)
        with monkeypatch.context() as system:
            system.setattr(threading.Thread, "start", refuse)
            refused = [complete(client, upload_id) for _ in range(2)]

        finished = complete(client, upload_id)

        assert [one.json()["code"] for one in refused] == ["server-busy"] * 2
        assert finished.status_code == 200
        assert list(site.published().values()) == [DATA]
