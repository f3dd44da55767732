"""Every implementation of the two seams; each contract test runs on each of them."""

import pytest

from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.interface import Blobs, StateStore
from ingest_server.storage.memory.fleet import MemoryFleet
from ingest_server.storage.memory.overwriting import OverwritingBlobs
from ingest_server.storage.memory.state import MemoryState
from ingest_server.storage.memory.write_once import WriteOnceBlobs
from ingest_server.storage.moving import MovingBlobs
from ingest_server.storage.postgres.fleet import PostgresFleet
from ingest_server.storage.postgres.transactions import PostgresState
from ingest_server.storage.s3.blobs import S3Blobs
from ingest_server.storage.s3.places import S3Places
from ingest_server.storage.sqlite.fleet import SqliteFleet
from ingest_server.storage.sqlite.transactions import SqliteState
from tests.support.faulty_blobs import FaultyCopies
from tests.support.postgres import postgres
from tests.support.seaweed import seaweed

STATES = {
    "sqlite": lambda folder: SqliteState.open(folder / "state.db"),
    "memory": lambda folder: MemoryState(),
}
FLEETS = {
    "sqlite": lambda folder: SqliteFleet(folder / "fleet.db"),
    "memory": lambda folder: MemoryFleet(),
}
BLOBS = {
    "files": lambda folder: FileBlobs(folder / "data"),
    "copied": lambda folder: FaultyCopies(folder / "data"),
    "memory": lambda folder: OverwritingBlobs(),
    "write-once": lambda folder: WriteOnceBlobs(part_bytes=4),
    "moving": lambda folder: MovingBlobs(
        FileBlobs(folder / "before"), WriteOnceBlobs(part_bytes=4)
    ),
}


@pytest.fixture(scope="session")
def database_server():
    with postgres() as found:
        yield found


@pytest.fixture(params=[*STATES, pytest.param("postgres", marks=pytest.mark.slow)])
def state(request, tmp_path):
    if request.param == "postgres":
        server = request.getfixturevalue("database_server")
        found: StateStore = PostgresState.open(server.database())
    else:
        found = STATES[request.param](tmp_path)
    yield found
    found.close()


@pytest.fixture(scope="session")
def store():
    with seaweed() as found:
        yield found


@pytest.fixture(params=[*BLOBS, pytest.param("s3", marks=pytest.mark.slow)])
def blobs(request, tmp_path):
    if request.param == "s3":
        own = S3Blobs(request.getfixturevalue("store").place())
        found: Blobs = S3Places(own, (), MemoryState())
    else:
        found = BLOBS[request.param](tmp_path)
    found.prepare()
    yield found
    found.close()


@pytest.fixture(params=[*FLEETS, pytest.param("postgres", marks=pytest.mark.slow)])
def fleet(request, tmp_path):
    if request.param == "postgres":
        state = PostgresState.open(request.getfixturevalue("database_server").database())
        yield PostgresFleet(state)
        state.close()
        return
    found = FLEETS[request.param](tmp_path)
    yield found
    found.close()
