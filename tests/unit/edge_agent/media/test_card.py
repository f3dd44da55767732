"""An empty mount point is told from an empty card."""

import pytest

from edge_agent.media.card import Card
from edge_agent.media.mounts import fstab_points
from edge_agent.store.recordings import Store
from tests.support.present import present
from tests.support.rim import StillClock
from tests.support.small_disk import small_disk


@pytest.fixture
def notes(tmp_path):
    store = Store.open(tmp_path / "agent.db", clock=StillClock(), boot_id="boot")
    yield store.notes
    store.close()


@pytest.fixture
def point(tmp_path):
    made = tmp_path / "card"
    (made / "DCIM").mkdir(parents=True)
    return made


def card(notes, folder, tmp_path):
    return Card(notes, folder, fstab=tmp_path / "fstab")


def test_a_card_that_was_mounted_is_missed_after_a_restart_too(notes, point, tmp_path):
    with small_disk(point, size="1m"):
        running = card(notes, point, tmp_path)
        assert running.absent(holds_files=False) is None

    assert running.absent(holds_files=True) == str(point)
    before: Card | None = None
    for folder in (point, point / "DCIM"):
        before = card(notes, point, tmp_path)
        assert before.absent(holds_files=False) == str(point), folder

    with small_disk(point, size="1m"):
        assert present(before).absent(holds_files=False) is None


def test_who_records_there_for_good_is_believed_after_a_restart(notes, point, tmp_path):
    with small_disk(point, size="1m"):
        assert card(notes, point, tmp_path).absent(holds_files=False) is None

    assert card(notes, point, tmp_path).absent(holds_files=True) is None
    assert card(notes, point, tmp_path).absent(holds_files=False) is None


def test_another_watched_folder_has_its_own_card(notes, point, tmp_path):
    with small_disk(point, size="1m"):
        assert card(notes, point, tmp_path).absent(holds_files=False) is None

    assert card(notes, tmp_path / "other", tmp_path).absent(holds_files=False) is None


def test_a_card_that_was_never_seen_is_missed_where_fstab_has_a_place_for_it(point, tmp_path):
    (tmp_path / "fstab").write_text(f"LABEL=CARD {point} vfat noauto,nofail 0 0\n")

    assert card(None, point / "DCIM", tmp_path).absent(holds_files=True) == str(point)
    with small_disk(point, size="1m"):
        assert card(None, point / "DCIM", tmp_path).absent(holds_files=True) is None


def test_fstab_is_read_as_it_may_be_written():
    text = rb"""# comment
/dev/sda1 / ext4 defaults 0 1
/dev/sdb1 /media/my\040card vfat defaults
UUID=1 none swap sw 0 0
broken
"""

    assert list(fstab_points(text)) == [b"/media/my card"]
