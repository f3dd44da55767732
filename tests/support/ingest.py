"""A real receiver over real stores behind the real application, for contract tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_host.clock import SystemClock
from ingest_server.app import AppSettings, make_app
from ingest_server.assembly.fleet import Fleet
from ingest_server.auth import authentication
from ingest_server.auth.audit import Audit, Unaudited
from ingest_server.auth.tokens import TokenIssuer, issue
from ingest_server.base.observer import NOBODY, Observer
from ingest_server.base.settings import ReceiverSettings
from ingest_server.core.routes import Route
from ingest_server.front.admission import Admission
from ingest_server.protocols.compat.dialect import CompatSettings
from ingest_server.storage.files.observed import ObservedDisk
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.interface import Blobs, StateStore
from ingest_server.storage.memory.overwriting import OverwritingBlobs
from ingest_server.storage.memory.state import MemoryState
from ingest_server.storage.sqlite.transactions import SqliteState
from ingest_server.upkeep.housekeeper import Housekeeper
from ingest_server.upkeep.readiness import Readiness
from ingest_server.uploads.service import UploadService
from ingest_server.uploads.store import UploadStore
from tests.support import engines

CREATED_AT = datetime(2026, 11, 21, 10, tzinfo=UTC)


@dataclass
class Ingest:
    app: Any
    state: StateStore
    store: UploadStore
    receiver: UploadService
    housekeeper: Housekeeper
    data_dir: Path | None
    fleet: Fleet
    is_stopping: bool = False

    def stop(self) -> None:
        self.fleet.stop()
        self.receiver.stop()
        self.housekeeper.stop()
        self.store.close()

    def readiness(self) -> list[str]:
        readiness = Readiness(self.state, self.store.blobs, self.store.clock)
        return readiness.codes(self.receiver.settings.min_free_bytes)

    def published(self) -> dict[str, bytes]:
        """Return target -> content of what is published."""
        found = {}
        for target in self.store.blobs.published_names():
            hand = self.store.blobs.open_published(target)
            found[target] = hand.pread(hand.length, 0)
            hand.close()
        return found

    def token(self, device: str, *, scopes=(authentication.SCOPE_UPLOAD,), expires_at=None) -> str:
        issued = issue(device, CREATED_AT, scopes=scopes, expires_at=expires_at)
        self.state.access.add_token(issued.record)
        return issued.token


@contextmanager
def ingest(
    data_dir: Path | None = None,
    *,
    stores: tuple[StateStore, Blobs] | None = None,
    mode: str = "open",
    hosts: tuple[str, ...] = (),
    public_url: str | None = None,
    compat: tuple[str, ...] = (),
    compat_settings: CompatSettings | None = None,
    observer: Observer = NOBODY,
    admission: Admission | None = None,
    routes: Sequence[Route] = (),
    direct: AbstractSet[str] = frozenset(),
    **settings: Any,
) -> Iterator[Ingest]:
    """A server over SQLite and files below *data_dir*; without one, over *stores*, what `engines` says, or memory."""
    clock = SystemClock()
    chosen = ReceiverSettings(
        **{"min_free_bytes": 0, "max_length": 1 << 30, "folder_lead_s": 0.0, **settings}
    )
    state: StateStore
    blobs: Blobs
    if data_dir is None:
        state, blobs = stores or engines.new_stores() or (MemoryState(), OverwritingBlobs())
    else:
        state = SqliteState.open(data_dir / "state.db")
        blobs = FileBlobs(data_dir, ObservedDisk(observer, clock.now_s))
    store = UploadStore.open(state, blobs, clock, observer=observer)
    receiver = UploadService(store, chosen, routes=routes, direct=direct)
    authenticator = (
        authentication.OpenAuth(hosts)
        if mode == "open"
        else authentication.TokenAuth(state.access, clock)
    )
    audit = Audit(None, clock.now_utc)
    housekeeper = Housekeeper(store, receiver, Unaudited())
    fleet = Fleet(data_dir, state, blobs, clock=clock, audit=audit)
    made = Ingest(None, state, store, receiver, housekeeper, data_dir, fleet)
    made.app = make_app(
        store,
        receiver,
        authenticator,
        AppSettings(public_url, compat=compat, compat_settings=compat_settings or CompatSettings()),
        readiness=made.readiness,
        is_stopping=lambda: made.is_stopping,
        admission=admission,
        audit=audit,
        desk=TokenIssuer(state.access, clock, audit) if mode == "token" else None,
    )
    fleet.add_routes(made.app)
    fleet.service.start()
    housekeeper.recover()
    housekeeper.start()
    try:
        yield made
    finally:
        made.stop()  # what a test may have put in its place, as after a restart, too
