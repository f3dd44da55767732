"""Tests look at what leaves the house: who reaches into a private name says here why there is no other way.

A test that reads ``thing._name`` breaks with each change inside `thing`, and says nothing of what anybody
gets from it. So each such reach of the fast suites is listed by file and name. The list may only shrink:
a name that is reached for no more has to leave it.
"""

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]
SUITES = ("unit", "properties", "contract", "scenarios")

FIGURE = "a figure of the program that no configuration sets, and that takes too long or too much as it is"
FAULT = "a fault between two steps, which nothing outside of the program can bring about at that instant"
KEPT = "that nothing is kept: nobody outside is told what is"
LAST = "what the name holds is the law that is tested, and it is for no caller"
OTHERS = "a private name of a library: that it is there, and what it does, is the test"

NAMED_TUPLES = {"_asdict", "_fields", "_replace", "_make"}
"""Names that a library has made public in this way."""

REACHES = {
    "contract/storage/test_s3_slow_stores.py": {"_heard": FAULT, "_silence": FAULT},
    "contract/storage/test_s3_traps.py": {
        "_bucket": "objects that a store has written, as its bucket lists them",
        "_folder": "objects that a store has written, as its bucket lists them",
    },
    "contract/storage/test_two_services.py": {
        "_begin_verifying": FAULT,
        "_completion": FAULT,
        "_held": FAULT,
        "_leases": FAULT,
    },
    "properties/test_laws_machine_sees.py": {
        "_clock": "a law is broken on purpose, where the program keeps it",
    },
    "scenarios/test_append.py": {
        "_seeding": "a server that copies nothing, as those of other makers do not",
    },
    "scenarios/test_groups.py": {"_groups": FAULT},
    "scenarios/test_refusals.py": {
        "_translate": "the errors of a file that this kernel brings about for no test",
    },
    "unit/edge_agent/send/rules/test_looking.py": {
        "_is_resting": "that a thread sleeps is waited for: nothing tells it, and nothing else depends on it",
    },
    "unit/edge_agent/base/test_settings.py": {"_REQUIRED": LAST},
    "unit/edge_agent/base/test_worker_thread.py": {"_RESTART_S": FIGURE},
    "unit/edge_agent/media/test_lease.py": {
        "_take": "a kernel that gives no lease, which this one does",
    },
    "unit/edge_agent/media/test_letting_go.py": {"_QUIET_AT_ONCE": FIGURE},
    "unit/edge_agent/media/test_many_changed.py": {
        "_looked_at": "how much work it is, counted where it is done",
    },
    "unit/edge_agent/media/test_pending_removals.py": {
        "_pending": "trouble of a folder that is watched no more: no removal can be brought to it",
    },
    "unit/edge_agent/media/test_versions.py": {"_KEEP_PAST": FIGURE},
    "unit/edge_agent/net/test_link_monitor.py": {
        "_tell_of_still": "minutes of a link whose reason changes, without a link",
    },
    "unit/edge_agent/net/test_network_manager.py": {"_KILLED_S": FIGURE},
    "unit/edge_agent/net/test_way.py": {
        "_known": "another thread learns in the midst of it, which cannot be waited for",
    },
    "unit/edge_agent/operate/checks/test_requests.py": {
        "_fitting": "one line of `check`, without the server, files and link of all others",
    },
    "unit/edge_agent/operate/test_commands_on_a_full_disk.py": {
        "_database": "a disk that is full for one connection alone: SQLite's pragma holds for no other",
    },
    "unit/edge_agent/operate/test_wanted_settings.py": {
        "_database": "a disk that is full for one connection alone: SQLite's pragma holds for no other",
    },
    "unit/edge_agent/send/clients/test_native_hostile_answers.py": {"_ANSWER_S": FIGURE},
    "unit/edge_agent/send/clients/test_native_tls_that_fails.py": {"_CONNECT_S": FIGURE},
    "unit/edge_agent/send/rules/test_deadlines_of_groups.py": {
        "_rates": "a rate that hours of sending would have taught",
    },
    "unit/edge_agent/send/test_trial.py": {
        "_body": "how fast it goes, in virtual time and without a server",
        "_pause": "how fast it goes, in virtual time and without a server",
    },
    "unit/edge_agent/test_cli.py": {"_RESTART_S": FIGURE},
    "unit/edge_host/test_renaming.py": {
        "_renameat2": "a C library without this call, which the one here has",
    },
    "unit/ingest_server/auth/test_authentication.py": {
        "_tokens": "a store that takes no writes for a moment, and then does",
    },
    "unit/ingest_server/auth/test_passwords.py": {"_NOBODYS": LAST},
    "unit/ingest_server/auth/test_sessions.py": {
        "_by_stranger": "ten guesses of a password cost ten hashes of half a second",
        "_known": KEPT,
        "_shadow": "ten guesses of a password cost ten hashes of half a second",
    },
    "unit/ingest_server/base/test_turns.py": {"_taken": KEPT, "_waiting": KEPT},
    "unit/ingest_server/fleet/test_two_servers.py": {"_after": FAULT, "_ahead_s": FAULT},
    "unit/ingest_server/front/test_cheroot_parts.py": {
        "_connections": OTHERS,
        "_expire": OTHERS,
        "_from_server_socket": OTHERS,
        "_run": OTHERS,
        "_selector": OTHERS,
    },
    "unit/ingest_server/storage/sqlite/test_fleet_file.py": {
        "_connection": "the order of statements within one transaction, which no other connection sees",
        "_file": "the order of statements within one transaction, which no other connection sees",
    },
    "unit/ingest_server/upkeep/test_retention_interrupted.py": {"_remove_empty": FAULT},
    "unit/ingest_server/uploads/test_copied.py": {
        "_move": FAULT,
        "_renameat2": "a C library without this call, which the one here has",
    },
    "unit/ingest_server/uploads/test_long_work.py": {"_closed": FAULT, "_workers": FAULT},
    "unit/ingest_server/uploads/test_reads.py": {
        "_SELECT": "which statements read a whole record, as the program writes them",
    },
    "unit/ingest_server/uploads/test_receive.py": {"_kept": KEPT},
    "unit/ingest_server/uploads/test_repair.py": {"_hash": FAULT, "_trail": FAULT},
    "unit/ingest_server/uploads/test_seeding.py": {"_seeding": FAULT, "_turns": FAULT},
    "unit/ingest_server/uploads/test_standing.py": {"_noted": KEPT},
    "unit/test_leftovers.py": {
        "_bootstrap": "a thread that is being started, which lasts for no longer than that",
    },
    "unit/test_path_options.py": {
        "_actions": "argparse tells its options nowhere else",
        "_SubParsersAction": "argparse tells its commands nowhere else",
    },
}
"""The reason for each, by file and name."""


def is_private(name: str) -> bool:
    if name in NAMED_TUPLES:
        return False
    return name.startswith("_") and not name.startswith("__")


def is_own(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in {"self", "cls"}


def names_in(call: ast.Call) -> list[str]:
    """Return the names that a call of `setattr` or `getattr` has as texts, with or without their module."""
    called = (
        call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    )
    if called not in {"setattr", "getattr", "delattr", "hasattr"}:
        return []
    texts = [one.value for one in call.args[:2] if isinstance(one, ast.Constant)]
    return [one.rpartition(".")[2] for one in texts if isinstance(one, str)]


def reached(source: str) -> set[str]:
    """Return the private names of others that *source* reads, sets, patches or imports."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and not is_own(node.value):
            found.append(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found += [one.name for one in node.names]
        elif isinstance(node, ast.Call):
            found += names_in(node)
    return set(filter(is_private, found))


def test_whatever_way_a_private_name_is_reached_it_is_found():
    source = """
from house import _imported
thing._read, thing._set = 1, thing.public
self._own = thing.__class__
monkeypatch.setattr(thing, "_patched", 1)
monkeypatch.setattr("house.room._patched_by_its_path", 1)
"""

    assert reached(source) == {"_imported", "_read", "_set", "_patched", "_patched_by_its_path"}


def test_each_reach_into_a_private_name_is_listed_with_its_reason():
    files = [path for suite in SUITES for path in (TESTS / suite).rglob("*.py")]
    found = {
        str(path.relative_to(TESTS)): names
        for path in files
        if (names := reached(path.read_text("utf-8")))
    }

    assert found == {file: set(names) for file, names in REACHES.items()}
    assert all(len(why.split()) > 3 for names in REACHES.values() for why in names.values())
