"""What clients of each protocol are told while the database does not answer: to come back, and nothing else."""

import os

import pytest

from ingest_server.core.errors import StateFailed
from ingest_server.storage.memory.overwriting import OverwritingBlobs
from ingest_server.storage.memory.state import MemoryState
from tests.support.compat_site import DIALECTS
from tests.support.core_site import new_key
from tests.support.ingest import ingest
from tests.support.plain import wsgi_client
from tests.support.secured import put
from tests.support.tongues import TONGUES, File
from tests.support.tus_client import TUS
from upload_protocol.digests import Digest
from upload_protocol.ranges import ByteRange, RangeSet


class MemoryThatIsAway(MemoryState):
    """Facts in memory that are not found while nobody answers."""

    is_away = False

    def find(self, upload_id):
        if self.is_away:
            raise StateFailed("server-busy", "the database does not answer", retry_after_s=5)
        return super().find(upload_id)


@pytest.fixture
def state():
    return MemoryThatIsAway()


@pytest.fixture
def client(state):
    with (
        ingest(stores=(state, OverwritingBlobs()), compat=DIALECTS) as server,
        wsgi_client(server.app) as found,
    ):
        yield found


@pytest.mark.parametrize("tongue", TONGUES.values(), ids=TONGUES)
def test_who_goes_on_while_the_database_is_away_is_told_to_come_back(client, state, tongue):
    file = File("a.mp4", os.urandom(3000), new_key(), 1000)
    upload_id = tongue.id_in(tongue.begin(client, file)[0])
    status = client.get(f"/v1/uploads/{upload_id}").json()
    held = RangeSet(ByteRange(*one) for one in status["received"])
    where = tongue.next_range(file, held.missing(len(file.data)))

    state.is_away = True
    away = tongue.send(client, upload_id, file, where)
    state.is_away = False
    back = tongue.send(client, upload_id, file, where)

    assert (away.status_code, away.headers["Retry-After"]) == (503, "5")
    assert back.is_success, back.text


@pytest.mark.parametrize("tongue", TONGUES.values(), ids=TONGUES)
def test_bytes_that_are_there_and_were_not_acknowledged_hold_no_client_up(client, tongue):
    """As a database leaves it that fails between the bytes of a chunk and what is noted of it."""
    file = File("a.mp4", os.urandom(3000), new_key(), 1000)
    upload_id = tongue.id_in(tongue.begin(client, file)[0])
    assert put(client, upload_id, file.data).status_code == 200

    tongue.finish(client, upload_id, file)

    status = client.get(f"/v1/uploads/{upload_id}").json()
    assert status["state"] == "complete"
    assert status["receipt"]["digest"] == str(Digest.of(file.data))


def test_parts_that_nobody_can_look_for_are_not_called_missing(client, state):
    part = client.post("/files/", headers={**TUS, "Upload-Length": "0", "Upload-Concat": "partial"})
    final = {**TUS, "Upload-Concat": f"final;{part.headers['Location']}"}

    state.is_away = True
    away = client.post("/files/", headers=final)
    state.is_away = False

    assert (away.status_code, away.headers["Retry-After"]) == (503, "5")
    assert client.post("/files/", headers=final).status_code == 201
