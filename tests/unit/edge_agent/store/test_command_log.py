"""The table of commands, and the step of the schema that brings it."""

from contextlib import closing

from edge_agent.core.command import Command
from edge_agent.core.upload import State
from edge_agent.store.database import Database
from edge_agent.store.recordings import Store
from edge_agent.store.schema import MIGRATIONS
from tests.support.agent_store import CLOCK, found, open_store
from tests.support.present import present

BEFORE_COMMANDS = 7


def test_a_database_from_before_there_were_commands_keeps_its_recordings_and_takes_commands(path):
    old = Database.open(path, MIGRATIONS[:BEFORE_COMMANDS], now=CLOCK.now_utc())
    with old.transaction() as run:
        run.execute(
            "INSERT INTO recording (id, path, folder, name, device, inode, length, mtime_ns, ctime_ns,"
            " state, origin, seen_at) VALUES ('r', x'61', '', 'a.mp4', 1, '7', 1, 2, 3, 'seen',"
            " 'watch', '2026-01-01T00:00:00Z')"
        )
        run.execute("INSERT INTO setting VALUES ('paused', 'true')")
    old.close()

    store = open_store(path)

    assert [one.id for one in store.in_states(State.SEEN)] == ["r"]
    assert store.orders.paused() is not None
    assert store.commands.add(Command("c", "report"), "mqtt")
    assert present(store.commands.find("c")).command == Command("c", "report")
    assert path.with_name(f"agent.db.v{BEFORE_COMMANDS}").exists()
    store.close()


def test_what_was_taken_is_there_after_a_power_cut_with_its_arguments(path, store):
    store.commands.add(Command("c", "pause", {"for_s": 60}, 17.0), "server")

    with closing(open_store(path)) as again:
        (taken,) = again.commands.unfinished()

    assert (taken.command, taken.via) == (Command("c", "pause", {"for_s": 60}), "server")
    assert (taken.ack, taken.is_final) == (None, False)


def test_an_answer_counts_as_told_up_to_the_one_that_arrived(store):
    log = store.commands
    log.add(Command("c", "report"), "mqtt")
    log.answer("c", {"status": "accepted"}, is_final=False)
    log.answer("c", {"status": "done"}, is_final=True)

    log.told([("c", 1)])
    assert [one.changes for one in log.untold("mqtt", 9)] == [2]
    log.told([("c", 2), ("c", 1), ("gone", 4)])

    assert log.untold("mqtt", 9) == []
    assert log.unfinished() == []


def test_a_priority_that_a_person_chose_outlives_other_rules(store: Store):
    chosen, other = store.add([found(b"a"), found(b"b", inode=8)])
    store.choose_priority(chosen, 7)
    store.priority_of = lambda _: 3

    store.prioritise([present(store.get(one.id)) for one in (chosen, other)])

    assert [present(store.get(one.id)).priority for one in (chosen, other)] == [7, 3]
