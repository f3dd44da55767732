"""Which watched folder a recording is of: counted for each, and kept through an upgrade and a new name."""

import sqlite3

from edge_agent.core.recording import Share
from edge_agent.core.upload import Event, State
from edge_agent.store import changes
from edge_agent.store.schema import MIGRATIONS
from tests.support.agent_store import found, open_store
from tests.support.present import present

BEFORE_FOLDERS = MIGRATIONS.index(changes.SCHEMA) + 1
ADD = (
    "INSERT INTO recording (id, path, folder, name, device, inode, length, mtime_ns, ctime_ns, state,"
    " origin, seen_at) VALUES (?, ?, 'DCIM', 'A.MP4', 1, '7', ?, 2, 3, ?, 'watch', '')"
)


def of_an_older_version(path, *rows):
    old = sqlite3.connect(path)
    for step in MIGRATIONS[:BEFORE_FOLDERS]:
        old.executescript(step)
    old.executemany(ADD, rows)
    old.execute(f"PRAGMA user_version={BEFORE_FOLDERS}")
    old.commit()
    old.close()


def test_what_an_older_version_remembered_is_of_the_nameless_folder_and_counted_on(path):
    of_an_older_version(
        path, ("a", b"/m/a", 5, "stable"), ("b", b"/m/b", 7, "stable"), ("c", b"/m/c", 11, "failed")
    )

    store = open_store(path)

    assert store.counts.by_folder() == {"": {State.STABLE: (2, 12), State.FAILED: (1, 11)}}
    assert [(one.watch, one.folder, one.place) for one in store.in_states(State.STABLE)] == [
        ("", "DCIM", "DCIM/A.MP4")
    ] * 2
    store.advance(present(store.get("a")), Event.UPLOAD_CREATED)
    assert store.counts.by_state() == {
        State.STABLE: (1, 7),
        State.SENDING: (1, 5),
        State.FAILED: (1, 11),
    }
    assert path.with_name(f"{path.name}.v{BEFORE_FOLDERS}").exists()
    store.close()


def test_recordings_go_to_the_folder_that_they_lie_in_and_their_place_at_the_server_stays(path):
    of_an_older_version(
        path,
        ("front", b"/media/front/DCIM/A.MP4", 5, "stable"),
        ("rear", b"/media/rear/DCIM/A.MP4", 7, "stable"),
        ("beside", b"/media/front-of-house/A.MP4", 9, "stable"),
    )
    store = open_store(path)

    store.adopt("", "front", {b"/media/front"})
    store.adopt("", "rear", {b"/media/rear/", b"/elsewhere"})

    assert {one.id: (one.watch, one.folder) for one in store.in_states(State.STABLE)} == {
        "front": ("front", "DCIM"),
        "rear": ("rear", "DCIM"),
        "beside": ("", "DCIM"),
    }
    assert store.counts.by_folder() == {
        "front": {State.STABLE: (1, 5)},
        "rear": {State.STABLE: (1, 7)},
        "": {State.STABLE: (1, 9)},
    }
    store.close()


def test_each_folder_is_given_its_own_and_the_first_what_is_of_none(store):
    store.add(
        [
            found(b"1", watch="front"),
            found(b"2", watch="rear"),
            found(b"3"),
            found(b"4", watch="gone"),
        ]
    )
    first, second = Share("front", frozenset({"rear"})), Share("rear", None)

    assert [one.path[-1:] for one in store.in_states(State.SEEN, share=first)] == [b"1", b"3", b"4"]
    assert [one.path[-1:] for one in store.in_states(State.SEEN, share=second)] == [b"2"]
    assert [
        path[-1:] for _, path, *_ in store.places(State.SEEN, after_seq=0, limit=9, share=second)
    ] == [b"2"]
    assert len(store.in_states(State.SEEN, share=Share())) == 4
