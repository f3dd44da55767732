"""What setup makes: noted first, never over somebody's file, and taken back unless somebody changed it."""

import pytest

from edge_host.setup.errors import SetupError
from edge_host.setup.journal import Journal
from edge_host.setup.machine import Machine
from edge_host.setup.undo import undo
from tests.support.requirements import require_root


@pytest.fixture
def place(tmp_path):
    require_root()
    (tmp_path / "machine").mkdir()
    return tmp_path / "machine"


def machine(place, said=None, *, rehearses=False):
    lines = [] if said is None else said
    return Machine(
        Journal(place.parent / "of" / "setup" / "list.json"), rehearses=rehearses, say=lines.append
    )


def take_back(one):
    undo(one, {}, keeps=lambda _: None)


def test_what_is_made_is_taken_back_with_its_folders(place):
    machine(place).file(place / "etc" / "deep" / "a.conf", "a", "a file")
    assert (place / "etc" / "deep" / "a.conf").read_text() == "a"

    take_back(machine(place))

    assert list(place.iterdir()) == []


def test_the_same_again_makes_nothing(place):
    machine(place).file(place / "a.conf", "a", "a file")
    said: list[str] = []

    is_new = machine(place, said).file(place / "a.conf", "a", "a file")

    assert not is_new
    assert said == [f"  is there  {place / 'a.conf'} (a file)"]


def test_somebodys_file_is_not_replaced_and_not_removed(place):
    (place / "a.conf").write_text("mine")

    with pytest.raises(SetupError, match="setup has not written it"):
        machine(place).file(place / "a.conf", "a", "a file")
    take_back(machine(place))

    assert (place / "a.conf").read_text() == "mine"


def test_the_same_words_of_somebody_are_left_at_an_undo(place):
    (place / "a.conf").write_text("a")

    machine(place).file(place / "a.conf", "a", "a file")
    take_back(machine(place))

    assert (place / "a.conf").read_text() == "a"


def test_what_was_changed_since_is_left_and_named(place):
    machine(place).file(place / "a.conf", "a", "a file")
    (place / "a.conf").write_text("a, and more")
    said: list[str] = []

    take_back(machine(place, said))

    assert said == [f"   left  file {place / 'a.conf'}: it was changed since"]
    assert (place / "a.conf").read_text() == "a, and more"


def test_a_file_of_ours_takes_new_words_and_a_wrong_mode_is_mended(place):
    machine(place).file(place / "a.conf", "a", "a file", mode=0o600)
    (place / "a.conf").chmod(0o644)

    machine(place).file(place / "a.conf", "a", "a file", mode=0o600)
    machine(place).file(place / "a.conf", "b", "a file", mode=0o600)

    assert (place / "a.conf").read_text() == "b"
    assert (place / "a.conf").stat().st_mode & 0o777 == 0o600
    take_back(machine(place))
    assert not (place / "a.conf").exists()


def test_what_is_no_longer_to_be_there_goes_unless_somebody_has_changed_it_or_put_it_there(place):
    ours, changed, theirs = (place / one for one in ("a.conf", "b.conf", "c.conf"))
    for one in (ours, changed):
        machine(place).file(one, "a", "a file")
    for one in (changed, theirs):
        one.write_text("mine")
    said: list[str] = []

    machine(place, said, rehearses=True).no_file(ours, "a file")
    assert ours.exists()
    assert machine(place, said).no_file(ours, "a file")
    assert not machine(place, said).no_file(ours, "a file")
    assert not machine(place, said).no_file(theirs, "a file")
    with pytest.raises(
        SetupError, match=r"b.conf \(a file\) is there, and setup has not written it"
    ):
        machine(place).no_file(changed, "a file")

    assert said == [f"would remove  {ours} (a file)", f"   removed  {ours} (a file)"]
    assert sorted(place.iterdir()) == [changed, theirs]


def test_a_run_that_was_cut_off_is_known_to_the_next_one_until_the_service_knows_all(place):
    machine(place).file(place / "a.conf", "a", "a file")

    assert machine(place).was_cut_off
    machine(place, rehearses=True).file(place / "b.conf", "b", "a file")
    machine(place).finish()

    assert not machine(place).was_cut_off
    machine(place, rehearses=True).file(place / "b.conf", "b", "a file")
    assert not machine(place).was_cut_off


def test_a_rehearsal_says_the_same_and_makes_nothing(place):
    rehearsed: list[str] = []
    done: list[str] = []

    machine(place, rehearsed, rehearses=True).file(place / "etc" / "a.conf", "a", "a file")
    assert list(place.iterdir()) == []
    machine(place, done).file(place / "etc" / "a.conf", "a", "a file")

    assert [one.replace("would make", "      made") for one in rehearsed] == done


def test_what_was_noted_and_never_made_is_no_trouble_at_an_undo(place):
    one = machine(place)
    one.journal.note("file", str(place / "never" / "a.conf"), "0" * 64)
    one.journal.note("folder", str(place / "never"))

    take_back(machine(place))

    assert list(place.iterdir()) == []


def test_a_folder_with_something_in_it_stays(place):
    machine(place).folder(place / "etc", mode=0o755)
    (place / "etc" / "mine").write_text("mine")
    said: list[str] = []

    take_back(machine(place, said))

    assert said == [f"   left  folder {place / 'etc'}: something is in it"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '[{"kind": "file"}]', "\0\0"])
def test_a_list_that_cannot_be_read_is_a_sentence(place, content):
    (place / "list.json").write_text(content)

    with pytest.raises(SetupError, match="Move it away"):
        Journal(place / "list.json")


def test_what_cannot_be_made_is_noted_all_the_same(place):
    (place / "full").write_text("")
    one = machine(place)

    with pytest.raises(SetupError, match=r"Not made: .* Mend that and run this again"):
        one.file(place / "full" / "a.conf", "a", "a file")

    assert one.journal.find("folder", str(place / "full")) is not None
    take_back(machine(place))
    assert (place / "full").read_text() == ""
