"""A data folder that is held open, and what the service does without a housekeeper."""

import pytest

from ingest_server.base.settings import ReceiverSettings
from ingest_server.core.errors import Refused, StorageError
from ingest_server.storage.files.parts import FileBlobs
from ingest_server.storage.sqlite.transactions import SqliteState
from ingest_server.uploads.service import UploadService
from ingest_server.uploads.store import UploadStore
from tests.support.core_site import BytesBody, HandClock, new_key
from upload_protocol.headers import ContentRange
from upload_protocol.messages import CompleteRequest, CreateRequest, Receipt
from upload_protocol.ranges import ByteRange


def opened(folder, clock=None) -> UploadStore:
    state = SqliteState.open(folder / "state.db")
    return UploadStore.open(state, FileBlobs(folder), clock or HandClock())


class ClosingState(SqliteState):
    """Says whether it was closed: SQLite itself keeps descriptors while others have locks."""

    is_closed = False

    def close(self) -> None:
        super().close()
        self.is_closed = True


@pytest.fixture
def store(tmp_path):
    made = opened(tmp_path)
    yield made
    made.close()


def test_a_service_takes_a_whole_upload_as_soon_as_it_is_made(store, tmp_path):
    uploads = UploadService(store, ReceiverSettings(min_free_bytes=0))

    status, _ = uploads.creation.create("cam", new_key(), CreateRequest("a.mp4", length=5))
    uploads.receive("cam", status.id, ContentRange(ByteRange(0, 5), 5), BytesBody(b"hello"))
    receipt = uploads.complete("cam", status.id, CompleteRequest(5, None))

    assert isinstance(receipt, Receipt)
    assert (tmp_path / "published" / receipt.published_as).read_bytes() == b"hello"
    uploads.stop()


def test_a_folder_that_another_has_is_refused_and_its_database_let_go(store, tmp_path):
    state = ClosingState.open(tmp_path / "state.db")

    with pytest.raises(StorageError, match="another ingest-server"):
        UploadStore.open(state, FileBlobs(tmp_path), HandClock())

    assert isinstance(state, ClosingState)
    assert state.is_closed


def test_a_closed_folder_can_be_opened_again_and_has_kept_its_uptime(tmp_path):
    clock = HandClock()
    first = opened(tmp_path, clock)
    clock.seconds += 60
    first.close()
    first.close()

    second = opened(tmp_path, clock)

    assert second.uptime.now_s() == 60
    second.close()


def test_another_device_s_upload_is_as_unknown_as_none_at_all(store):
    uploads = UploadService(store, ReceiverSettings(min_free_bytes=0))
    mine = uploads.creation.create("cam", new_key(), CreateRequest("a.mp4", length=5))[0].id

    for device, upload_id in (("other", mine), ("cam", "0" * 32), ("cam", "../x\udc80")):
        for ask in (store.find, store.refuse_unless_of):
            with pytest.raises(Refused) as caught:
                ask(device, upload_id)
            assert str(caught.value) == "upload-not-found: no such upload"
    store.refuse_unless_of("cam", mine)
    store.refuse_unless_of(None, mine)
    uploads.stop()
