"""A number for each change that somebody far away would want to hear of; it only rises."""

import sqlite3

from edge_agent.core.recording import Found, Identity
from edge_agent.core.upload import Event
from edge_agent.store import changes
from edge_agent.store.recordings import Store
from edge_agent.store.schema import MIGRATIONS
from tests.support.agent_store import another_program
from tests.support.clock import VirtualClock


def found(name):
    return Found(b"/m/" + name.encode(), "", name, Identity(1, 2, 3, 4, 5))


def opened(path):
    return Store.open(path, clock=VirtualClock(), boot_id="boot")


def told(store, after=0):
    return [(one.number, one.name, one.is_gone) for one in store.changes.after(after, 100)]


def test_each_recording_is_told_once_as_it_is_now_in_the_order_of_its_last_change(tmp_path):
    store = opened(tmp_path / "a.db")
    one, _ = store.add([found("1.mp4"), found("2.mp4")])
    assert told(store) == [(1, "1.mp4", False), (2, "2.mp4", False)]

    settled = store.advance(one, Event.SETTLED)
    assert told(store) == [(2, "2.mp4", False), (3, "1.mp4", False)]
    store.update(settled, failures=3)
    assert store.changes.latest() == 3
    store.update(settled, name="renamed.mp4")
    assert told(store, after=3) == [(4, "renamed.mp4", False)]
    store.close()


def test_no_number_comes_twice_though_the_newest_recording_is_forgotten(tmp_path):
    store = opened(tmp_path / "a.db")
    one, other = store.add([found("1.mp4"), found("2.mp4")])
    with another_program(tmp_path / "a.db") as run:
        run.execute("DELETE FROM recording WHERE id IN (?, ?)", (one.id, other.id))
    assert [one.is_gone for one in store.changes.after(0, 10)] == [True, True]
    before = store.changes.latest()
    store.add([found("3.mp4")])

    assert store.changes.latest() == before + 1
    assert told(store, after=before) == [(before + 1, "3.mp4", False)]
    store.close()


def test_what_an_older_version_remembered_is_told_from_the_first_on(tmp_path):
    path = tmp_path / "a.db"
    old = sqlite3.connect(path)
    before = MIGRATIONS.index(changes.SCHEMA)
    for step in MIGRATIONS[:before]:
        old.executescript(step)
    old.executemany(
        "INSERT INTO recording (id, path, folder, name, device, inode, length, mtime_ns, ctime_ns,"
        " state, origin, seen_at) VALUES (?, x'2f', '', ?, 1, '2', 3, 4, 5, 'seen', 'watch', '')",
        [(f"{number}", f"{number}.mp4") for number in range(3)],
    )
    old.execute(f"PRAGMA user_version={before}")
    old.commit()
    old.close()

    store = opened(path)

    assert told(store) == [(number + 1, f"{number}.mp4", False) for number in range(3)]
    store.close()


def test_what_is_known_to_be_gone_has_a_bound(tmp_path):
    store = opened(tmp_path / "a.db")
    with another_program(tmp_path / "a.db") as run:
        run.execute("INSERT INTO gone VALUES (1, 'long ago'), (150000, 'lately')")
    [one] = store.add([found("1.mp4")])
    with another_program(tmp_path / "a.db") as run:
        run.execute("DELETE FROM recording WHERE id = ?", (one.id,))

    assert [change.id for change in store.changes.after(0, 10)] == ["lately", one.id]
    store.close()
