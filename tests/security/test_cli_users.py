"""`ingest-server user`, as an operator types it."""

import io
import json
import os
import pty
import subprocess
import sys
from functools import partial

import pytest

from ingest_server.auth import passwords
from ingest_server.cli import main
from ingest_server.storage.interface import SessionRecord
from ingest_server.storage.sqlite.transactions import SqliteState

PASSWORD = "a long enough password"


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch):
    """What one costs is asked in unit/ingest_server/auth/test_passwords."""
    monkeypatch.setattr(passwords, "hashed", partial(passwords.hashed, log_cost=4))


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    config = tmp_path / "server.toml"
    config.write_text('[server]\ndata_dir = "data"\n[log]\naudit_file = "audit.jsonl"\n')

    def command(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([*arguments, "--config", str(config)])
        told = capsys.readouterr()
        return code, told.out, told.err

    vars(command)["config"] = config
    return command


def stored(tmp_path):
    state = SqliteState.open(tmp_path / "data" / "state.db")
    try:
        return {one.name: one for one in state.users.users()}
    finally:
        state.close()


def audit(tmp_path):
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    return [(one["actor"], one["action"], one["object"]) for one in map(json.loads, lines)]


def test_a_user_is_added_shown_and_removed(run, tmp_path):
    code, out, told = run("user", "add", "anna", stdin=f"{PASSWORD}\n".encode())
    assert (code, out) == (0, "")
    assert "anna may log in" in told
    run("user", "add", "ben", "--role", "viewer", stdin=b"another long password\r\nmore\n")

    found = stored(tmp_path)
    assert passwords.is_right(PASSWORD, found["anna"].password)
    assert passwords.is_right("another long password", found["ben"].password)
    listed = json.loads(run("user", "list", "--json")[1])
    assert [(one["name"], one["role"]) for one in listed] == [
        ("anna", "operator"),
        ("ben", "viewer"),
    ]
    assert "scrypt" not in run("user", "list")[1] + json.dumps(listed)
    assert run("user", "remove", "anna")[0] == 0
    assert run("user", "remove", "anna")[0] == 1
    assert list(stored(tmp_path)) == ["ben"]
    assert audit(tmp_path) == [
        ("cli", "user.add", "anna"),
        ("cli", "user.add", "ben"),
        ("cli", "user.remove", "anna"),
    ]


@pytest.mark.parametrize(
    ("name", "stdin", "code"),
    [
        ("Anna", b"a long enough password\n", 2),
        ("a/b", b"a long enough password\n", 2),
        ("anna", b"", 1),
        ("anna", b"short\n", 1),
        ("anna", b"\n", 1),
        ("anna", b"not text \xff\xfe at all\n", 1),
        ("anna", b"x" * 5000 + b"\n", 1),
    ],
)
def test_what_is_not_taken_changes_nothing_and_is_said(run, tmp_path, name, stdin, code):
    got, out, told = run("user", "add", name, stdin=stdin)

    assert (got, out) == (code, "")
    assert told.startswith("ingest-server: ")
    assert not (tmp_path / "data").exists()


def test_another_password_ends_the_sessions_and_a_name_is_there_once(run, tmp_path):
    run("user", "add", "anna", stdin=f"{PASSWORD}\n".encode())
    state = SqliteState.open(tmp_path / "data" / "state.db")
    session = SessionRecord(b"x" * 32, "anna", "operator", "2026", 0.0, "2026", 0.0)
    anna = state.users.user("anna")
    assert anna is not None
    state.users.begin_session(session, password=anna.password)
    state.close()

    again = run("user", "add", "anna", stdin=b"the second password\n")
    nobody = run("user", "password", "carl", stdin=b"the second password\n")
    changed = run("user", "password", "anna", stdin=b"the second password\n")

    assert again[0] == nobody[0] == 1
    assert "user password anna" in again[2]
    assert changed[0] == 0
    assert passwords.is_right("the second password", stored(tmp_path)["anna"].password)
    state = SqliteState.open(tmp_path / "data" / "state.db")
    assert state.users.session(session.session_hash) is None
    state.close()


@pytest.mark.slow
def test_a_person_types_it_twice_and_unseen(run, tmp_path):
    def typed(*lines: str) -> tuple[int, bytes]:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "ingest_server", "user", "add", "anna"]
        with subprocess.Popen(
            [*command, "--config", str(run.config)],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        ) as process:  # fmt: skip
            os.close(theirs)
            shown = b""
            for line in lines:
                while not shown.rstrip().endswith((b"anna:", b"more:")):
                    shown += os.read(ours, 1000)
                shown = b""
                os.write(ours, line.encode() + b"\n")
            while True:
                try:
                    piece = os.read(ours, 1000)
                except OSError:  # how Linux says that nobody is at the other end any more
                    break
                shown += piece
            os.close(ours)
            return process.wait(20), shown

    code, shown = typed(PASSWORD, "something else entirely")
    assert code == 1
    assert b"not the same" in shown
    code, shown = typed(PASSWORD, PASSWORD)
    assert code == 0
    assert PASSWORD.encode() not in shown
    assert passwords.is_right(PASSWORD, stored(tmp_path)["anna"].password)


def test_whoever_is_added_is_told_when_there_is_no_page_to_log_in_to(run):
    text = run.config.read_text().replace("[server]\n", '[server]\nlisten = "0.0.0.0:8080"\n')
    run.config.write_text(text)

    code, _, told = run("user", "add", "anna", stdin=f"{PASSWORD}\n".encode())

    assert code == 0
    assert "[page] enabled" in told
