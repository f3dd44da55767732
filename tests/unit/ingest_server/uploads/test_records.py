"""Uploads as records, and the notes beside them."""

import pytest

from ingest_server.core.errors import Refused
from tests.support.core_site import CoreSite

DAY_S = 86400.0


def test_notes_survive_a_restart(site: CoreSite):
    upload_id = site.create()
    site.receiver.records.write_note(upload_id, "chunk:0", "10")
    site.receiver.records.write_note(upload_id, "chunk:0", "20")
    site.receiver.records.write_note(upload_id, "chunk:20", "5")

    site.restart()

    assert site.receiver.records.notes(upload_id) == {"chunk:0": "20", "chunk:20": "5"}
    assert site.receiver.records.note(upload_id, "chunk:40") is None


def test_a_note_is_changed_by_one_at_a_time(site: CoreSite):
    upload_id = site.create()
    change = site.receiver.records.change_note

    values = [change(upload_id, "count", lambda value: str(int(value or 0) + 1)) for _ in range(3)]

    assert values == ["1", "2", "3"]


def test_several_notes_are_changed_together_or_not_at_all(site: CoreSite):
    records, upload_id = site.receiver.records, site.create()
    records.write_note(upload_id, "count", "1")

    def add(notes) -> dict[str, str]:
        notes.set("chunk:0", "10")
        notes.set("count", str(int(notes.get("count")) + 1))
        return notes.all()

    def break_off(notes) -> None:
        notes.set("count", "9")
        raise ZeroDivisionError

    seen = records.change_notes(upload_id, add)
    with pytest.raises(ZeroDivisionError):
        records.change_notes(upload_id, break_off)

    assert seen == records.notes(upload_id) == {"chunk:0": "10", "count": "2"}


def test_notes_go_with_the_upload_s_row(site: CoreSite):
    ended, kept = site.create("a"), site.create("b")
    for upload_id in (ended, kept):
        site.receiver.records.write_note(upload_id, "key", "value")
    site.receiver.abort("cam", ended)

    site.clock.seconds += 31 * DAY_S
    site.put(kept, 0, b"alive")
    site.receiver.expiry.sweep()

    assert site.receiver.records.notes(ended) == {}
    assert site.receiver.records.notes(kept) == {"key": "value"}
    with pytest.raises(Refused, match="upload-not-found"):
        site.receiver.records.find("cam", ended)


def test_a_record_is_found_by_its_own_device_only(site: CoreSite):
    upload_id = site.create()

    assert site.receiver.records.find("cam", upload_id).id == upload_id
    assert site.receiver.records.find(None, upload_id).id == upload_id
    with pytest.raises(Refused, match="upload-not-found"):
        site.receiver.records.find("other", upload_id)
    with pytest.raises(Refused, match="upload-not-found"):
        site.receiver.records.find("cam", "../../etc/passwd")


def test_all_uploads_of_a_device_are_listed(site: CoreSite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ingest_server.uploads.records.PAGE", 2)
    made = {site.create(str(number)) for number in range(5)}

    assert {record.id for record in site.receiver.records.of_device("cam")} == made
    assert list(site.receiver.records.of_device("other")) == []


def test_stored_bytes_are_read_until_they_are_published(site: CoreSite):
    upload_id = site.create(length=4)
    site.put(upload_id, 0, b"data")

    with site.receiver.records.reading(upload_id) as part:
        assert part.pread(10, 1) == b"ata"
    site.complete(upload_id, b"data")

    with (
        pytest.raises(Refused, match="upload-not-found"),
        site.receiver.records.reading(upload_id),
    ):
        pass
