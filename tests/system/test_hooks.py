"""What an operator's own Python may do with an upload, and what its bugs cannot."""

import importlib

import pytest

from ingest_server.hooks import RefuseUpload
from ingest_server.notify import deliveries
from tests.support.processes import wait_for
from tests.support.secured import DATA, complete, create, put, secured, upload


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """A worker without work looks for some soon."""
    monkeypatch.setattr(deliveries, "IDLE_S", 0.02)


HOOKS = """
from pathlib import Path
from ingest_server.notify.hooks import RefuseUpload

seen = []
broken = [False]

def completed(event):
    seen.append(event["data"]["name"])
    raise RuntimeError("a bug of the operator's")

def check(upload, path):
    assert Path(path).stat().st_size == upload["length"]
    if broken[0]:
        raise OSError("the scanner is down")
    if upload["name"].endswith(".exe"):
        raise RefuseUpload("no programs, please")
"""


@pytest.fixture
def my_hooks(tmp_path, monkeypatch):
    (tmp_path / "hooks_of_test.py").write_text(HOOKS)
    monkeypatch.syspath_prepend(tmp_path)
    hooks_of_test = importlib.import_module("hooks_of_test")
    hooks_of_test.seen.clear()
    hooks_of_test.broken[0] = False
    return hooks_of_test


def test_a_failing_hook_loses_no_upload(tmp_path, my_hooks):
    with secured(tmp_path / "site", hooks={"completed": "hooks_of_test:completed"}) as site:
        upload(site.device(), name="a.mp4")
        wait_for(lambda: my_hooks.seen, "the hook is called")
        waiting = wait_for(lambda: site.state.outbox.listing("pending"), "it waits")

    assert waiting[0].target == "hook:completed"
    assert list(site.published().values()) == [DATA]


def test_a_hook_may_refuse_before_anything_is_published(tmp_path, my_hooks):
    assert issubclass(RefuseUpload, Exception)
    with secured(tmp_path / "site", hooks={"before_publish": "hooks_of_test:check"}) as site:
        client = site.device()
        upload_id = create(client, name="a.exe").json()["id"]
        put(client, upload_id)

        refused = complete(client, upload_id)

        assert (refused.status_code, refused.json()["code"]) == (422, "upload-refused")
        assert "no programs" in refused.json()["detail"]
        assert client.get(f"/v1/uploads/{upload_id}").json()["state"] == "open"
        assert site.published() == {}
        upload(client, name="b.mp4")
    assert list(site.published().values()) == [DATA]


def test_a_check_that_fails_lets_nothing_through_and_is_tried_again(tmp_path, my_hooks):
    my_hooks.broken[0] = True
    with secured(tmp_path / "site", hooks={"before_publish": "hooks_of_test:check"}) as site:
        client = site.device()
        upload_id = create(client).json()["id"]
        put(client, upload_id)

        busy = complete(client, upload_id)
        assert (busy.status_code, site.published()) == (503, {})
        my_hooks.broken[0] = False

        assert complete(client, upload_id).status_code == 200
