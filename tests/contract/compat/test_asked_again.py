"""What ends an upload is asked again while the file is being published, and the last bytes come again: no verdict."""

import os
import threading

import pytest

from ingest_server.core.record import State
from ingest_server.storage.interface import Blobs, StateStore
from ingest_server.storage.memory.overwriting import OverwritingBlobs
from ingest_server.storage.memory.state import MemoryState
from tests.support.compat_site import DIALECTS, compat_site
from tests.support.core_site import new_key
from tests.support.ingest import ingest
from tests.support.persistent_camera import AGAIN, GOOD
from tests.support.plain import wsgi_client
from tests.support.processes import wait_for
from tests.support.tongues import TONGUES, File
from upload_protocol.ranges import ByteRange

LENGTH, STEP = 50_000, 30_000
OTHERS = {name: tongue for name, tongue in TONGUES.items() if name != "native"}


@pytest.mark.parametrize("tongue", OTHERS.values(), ids=OTHERS)
def test_who_asks_again_while_a_file_is_published_is_told_to_wait_or_how_it_ended(
    tmp_path, monkeypatch, tongue
):
    may_go_on = threading.Event()
    with compat_site(tmp_path, verify_wait_s=0.05) as site:
        blobs, client = site.server.store.blobs, site.client
        publish = blobs.publish
        monkeypatch.setattr(blobs, "publish", lambda *told: may_go_on.wait(30) and publish(*told))
        file = File("clip.mp4", os.urandom(LENGTH), new_key(), STEP)
        answer, begun = tongue.begin(client, file)
        upload = tongue.id_in(answer)

        def record():
            return site.server.receiver.records.find(None, upload)

        def end():
            if begun < LENGTH and record().state is State.OPEN:
                for start in (0, STEP)[1 if begun else 0 :]:
                    where = ByteRange(start, min(start + STEP, LENGTH))
                    tongue.send(client, upload, file, where)
            return tongue.finish(client, upload, file)

        first = threading.Thread(target=end)
        first.start()
        wait_for(lambda: record().state is State.PUBLISHING, "it is being published")
        answers = [end().status_code for _ in range(3)]
        may_go_on.set()
        first.join()
        last = wait_for(lambda: [one for one in [end()] if one.status_code in GOOD - {202}], "done")

        assert set(answers) <= GOOD | AGAIN
        assert last[0].status_code in GOOD
        assert list(site.published().values()) == [file.data]


@pytest.mark.parametrize("tongue", OTHERS.values(), ids=OTHERS)
def test_whose_upload_another_server_ends_in_mid_finish_is_told_how_it_ended(monkeypatch, tongue):
    """Two servers over one store: before the first reads what it finishes by, the second has published it."""
    stores: tuple[StateStore, Blobs] = (MemoryState(), OverwritingBlobs())
    with (
        ingest(stores=stores, compat=DIALECTS) as one,
        ingest(stores=stores, compat=DIALECTS) as other,
        wsgi_client(one.app) as client,
        wsgi_client(other.app) as second,
    ):
        file = File("clip.mp4", os.urandom(LENGTH), new_key(), STEP)
        answer, begun = tongue.begin(client, file)
        upload = tongue.id_in(answer)
        if not begun:
            tongue.send(client, upload, file, ByteRange(0, STEP))
        records, its_end = one.receiver.records, [tongue]
        reading = records.reading

        def read(upload_id: str):
            while its_end:
                its_end.pop()
                assert tongue.finish(second, upload, file).status_code in GOOD
            return reading(upload_id)

        monkeypatch.setattr(records, "reading", read)
        last = tongue.send(client, upload, file, ByteRange(STEP, LENGTH))
        ended = tongue.finish(client, upload, file)

        assert {last.status_code, ended.status_code} <= GOOD
        assert list(one.published().values()) == [file.data]
