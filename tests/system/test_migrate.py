"""A server moves from one machine to PostgreSQL and S3, real ones, while its devices go on uploading."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from tests.support.core_site import new_key
from tests.support.moving import Move
from tests.support.postgres import postgres
from tests.support.processes import Agent, wait_for
from tests.support.seaweed import seaweed
from tests.support.secured import complete, create, put, upload

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def store():
    with seaweed() as found:
        yield found


@pytest.fixture(scope="module")
def database():
    with postgres() as found:
        yield found


def asked_again(camera, data: bytes, key: str) -> dict:
    """Return the receipt that a device gets which lost it."""
    known = create(camera, name="large.mp4", length=len(data), key=key).json()["id"]
    return complete(camera, known, data).json()


def test_devices_go_on_uploading_across_the_whole_move(tmp_path, store, database):
    with closing(Move(tmp_path, store, database)) as move:
        move.old.start()
        token = move.old.new_token()
        agent = Agent(tmp_path / "device", url=f"http://127.0.0.1:{move.old.port}", token=token)
        with closing(agent), move.camera(move.old.new_token("other")) as camera:
            agent.start()
            (agent.media / "first.mp4").write_bytes(os.urandom(MIB))
            wait_for(lambda: len(move.files()) == 1, "the first recording is published")
            large, rest, key = os.urandom(9 * MIB), os.urandom(2 * MIB), new_key()
            receipt = upload(camera, large, name="large.mp4", key=key)
            begun = create(camera, name="rest.mp4", length=len(rest)).json()["id"]
            assert put(camera, begun, rest[:MIB]).status_code == 200

            assert "1 upload, of which 1.0 MB arrived" in move.migrate("--dry-run").stdout
            move.old.stop()
            (agent.media / "meanwhile.mp4").write_bytes(os.urandom(MIB))
            facts = move.migrate()
            assert facts.returncode == 0, facts.stderr
            move.new.start()
            copied = move.migrate()
            assert copied.returncode == 1, copied.stderr
            assert "1 upload still arriving" in copied.stdout

            assert asked_again(camera, large, key) == receipt
            assert put(camera, begun, rest[MIB:], start=MIB).status_code == 200
            assert complete(camera, begun, rest).status_code == 200
            wait_for(lambda: "meanwhile.mp4" in str(move.objects()), "what came meanwhile is there")
            over = move.migrate()
            assert over.returncode == 0, over.stderr
            move.new.stop()
            move.after.start()
            (agent.media / "last.mp4").write_bytes(os.urandom(MIB))
            wait_for(lambda: len(move.objects()) == 5, "the last recording is in the bucket")

            assert asked_again(camera, large, key) == receipt
            assert sorted(name.split("/")[-1] for name in move.files()) == [
                "first.mp4",
                "large.mp4",
                "rest.mp4",
            ]
            recordings = {path.name: path.read_bytes() for path in agent.media.iterdir()}
            made = {name.split("/")[-1]: content for name, content in move.objects().items()}
            assert made == {**recordings, "large.mp4": large, "rest.mp4": rest}
