"""Commands as bytes: what is one, and what is refused with which word."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.core.command import (
    GUARDED,
    MAX_BYTES,
    VOCABULARY,
    Allowance,
    Command,
    Refusal,
    UnfitError,
    arguments,
    read_command,
    refused_time,
)

NOW = 1_800_000_000.0
GOOD = {"v": 1, "id": "c-1", "cmd": "pause", "args": {"for_s": 60}, "expires_at": NOW + 60}


def raw(**changes):
    return json.dumps({**GOOD, **changes}).encode()


def taken(message: bytes) -> Command:
    read = read_command(message)
    assert isinstance(read, Command), read
    return read


def refused(message: bytes) -> Refusal:
    read = read_command(message)
    assert isinstance(read, Refusal), read
    return read


def test_a_command_in_the_right_form_is_one_and_what_it_says_beside_is_passed_over():
    read = read_command(raw(by="ops", issued_at=NOW))

    assert read == Command("c-1", "pause", {"for_s": 60}, NOW + 60)


@pytest.mark.parametrize(
    ("cmd", "args"),
    [
        ("pause", {"reason": "x"}),
        ("pause", {"reason": "x" * 200}),
        ("pause", {"for_s": 1}),
        ("pause", {"for_s": 30 * 86_400}),
        ("set_bandwidth", {"limit_bytes_per_s": 1}),
    ],
)
def test_the_least_and_the_most_that_a_sentence_names_are_taken(cmd, args):
    assert taken(raw(cmd=cmd, args=args)).args == args


def test_arguments_that_may_be_left_out_may_be_left_out():
    document = {key: value for key, value in GOOD.items() if key != "args"}

    assert read_command(json.dumps(document).encode()) == Command("c-1", "pause", {}, NOW + 60)
    assert read_command(raw(args=None)) == Command("c-1", "pause", {}, NOW + 60)


@pytest.mark.parametrize(
    ("moment", "epoch_s"),
    [
        (1_800_000_060, 1_800_000_060.0),
        ("2027-01-15T08:00:00Z", datetime(2027, 1, 15, 8, tzinfo=UTC).timestamp()),
        ("2027-01-15T09:00:00+01:00", datetime(2027, 1, 15, 8, tzinfo=UTC).timestamp()),
    ],
)
def test_it_is_good_until_a_moment_in_either_form(moment, epoch_s):
    assert taken(raw(expires_at=moment)).expires_s == epoch_s


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"pause"',
        b"[" * 4000,
        b'{"id": NaN, "v": 1}',
        b'{"id": "c-1", "id": "c-2", "v": 1}',
        b'{"id": "c-1"',
        b"{}",
        raw(id=None),
        raw(id=7),
        raw(id=""),
        raw(id="a" * 65),
        raw(id="../../etc"),
        raw(id="a b"),
        raw(id="c-1\n"),
        raw(pad="x" * 64 * 1024),
        b" " * 64 * 1024 + raw(),
    ],
)
def test_what_says_no_id_is_malformed_and_nobody_can_be_answered(message):
    refusal = refused(message)

    assert (refusal.status, refusal.code, refusal.id) == ("rejected", "malformed", None)


def test_one_that_is_too_long_is_answered():
    refusal = refused(raw(pad="x" * MAX_BYTES))

    assert (refusal.status, refusal.code, refusal.id) == ("rejected", "malformed", "c-1")
    assert "at most 4096 bytes" in refusal.message


def test_of_an_id_that_is_there_twice_it_is_said_so():
    refusal = refused(b'{"id": "c-1", "id": "c-2", "v": 1}')

    assert refusal.message == "id is there twice"


@pytest.mark.parametrize(
    ("changes", "code", "names"),
    [
        ({"v": 2}, "unsupported", '"v": 1'),
        ({"v": None}, "unsupported", '"v": 1'),
        ({"v": True}, "unsupported", '"v": 1'),
        ({"v": "1"}, "unsupported", '"v": 1'),
        ({"cmd": "exec"}, "unsupported", "set_bandwidth"),
        ({"cmd": None}, "unsupported", "cmd must be"),
        ({"cmd": ["pause"]}, "unsupported", "cmd must be"),
        ({"cmd": {"pause": 1}}, "unsupported", "cmd must be"),
        ({"args": {"path": "/etc/passwd"}}, "unsupported", "'path'"),
        ({"cmd": "resume", "args": {"for_s": 1}}, "unsupported", "'for_s'"),
        ({"for_s": 60}, "malformed", "for_s belongs into args"),
        ({"args": None, "reason": "wind"}, "malformed", "reason belongs into args"),
        ({"args": []}, "malformed", "args must be an object"),
        ({"args": 0}, "malformed", "args must be an object"),
        ({"args": "for_s=1"}, "malformed", "args must be an object"),
        ({"args": {"for_s": 0}}, "malformed", "args.for_s"),
        ({"args": {"for_s": -1}}, "malformed", "args.for_s"),
        ({"args": {"for_s": True}}, "malformed", "args.for_s"),
        ({"args": {"for_s": "60"}}, "malformed", "args.for_s"),
        ({"args": {"for_s": None}}, "malformed", "args.for_s"),
        ({"args": {"for_s": 1.5}}, "malformed", "args.for_s"),
        ({"args": {"for_s": 10**400}}, "malformed", "args.for_s"),
        ({"args": {"reason": ""}}, "malformed", "args.reason"),
        ({"args": {"reason": "a\nb"}}, "malformed", "args.reason"),
        ({"args": {"reason": "\x1b[2J"}}, "malformed", "args.reason"),
        ({"args": {"reason": "x" * 201}}, "malformed", "args.reason"),
        ({"cmd": "set_bandwidth", "args": {}}, "malformed", "limit_bytes_per_s is lacking"),
        ({"cmd": "set_bandwidth", "args": {"limit_bytes_per_s": -1}}, "malformed", "limit"),
        ({"cmd": "set_bandwidth", "args": {"limit_bytes_per_s": 10**13}}, "malformed", "limit"),
        ({"cmd": "retry", "args": {"file_id": "../a"}}, "malformed", "args.file_id"),
        ({"cmd": "retry", "args": {"file_id": 1}}, "malformed", "args.file_id"),
        ({"cmd": "retry", "args": {"file_id": "/etc/passwd"}}, "malformed", "args.file_id"),
        ({"cmd": "upload_now", "args": {"file_id": "a", "metered": 1}}, "malformed", "metered"),
        ({"cmd": "set_priority", "args": {"file_id": "a", "priority": 101}}, "malformed", "100"),
        ({"cmd": "upload_log", "args": {"lines": 501}}, "malformed", "500"),
        ({"expires_at": None}, "no_expiry", "expires_at is lacking"),
        ({"expires_at": True}, "malformed", "expires_at"),
        ({"expires_at": "soon"}, "malformed", "expires_at"),
        ({"expires_at": "2027-01-15T08:00:00"}, "malformed", "with its zone"),
        ({"expires_at": [NOW]}, "malformed", "expires_at"),
        ({"expires_at": 10**400}, "malformed", "expires_at"),
    ],
)
def test_each_fault_of_form_has_its_code_and_a_sentence_that_names_it(changes, code, names):
    refusal = refused(raw(**changes))

    assert (refusal.status, refusal.code, refusal.id) == ("rejected", code, "c-1")
    assert names in refusal.message


def test_what_a_dashboard_sends_as_a_float_or_as_zero_is_understood():
    slider = raw(cmd="set_bandwidth", args={"limit_bytes_per_s": 500000.0})
    off = raw(cmd="set_bandwidth", args={"limit_bytes_per_s": 0})

    assert taken(slider).args == {"limit_bytes_per_s": 500_000}
    assert taken(off).args == {"limit_bytes_per_s": None}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.binary(max_size=200)
    | JSON.map(lambda one: json.dumps(one).encode())
    | st.fixed_dictionaries(
        {},
        optional={
            "v": st.just(1) | JSON,
            "id": st.just("c-1") | JSON,
            "cmd": st.sampled_from(list(VOCABULARY)) | JSON,
            "args": st.dictionaries(
                st.sampled_from(["for_s", "file_id", "limit_bytes_per_s"]), JSON
            )
            | JSON,
            "expires_at": st.just(NOW) | JSON,
        },
    ).map(lambda one: json.dumps(one).encode())
)
def test_whatever_comes_is_a_command_in_its_form_or_refused_with_a_sentence(message):
    read = read_command(message)

    if isinstance(read, Refusal):
        assert read.status == "rejected"
        assert read.code in {"malformed", "unsupported", "no_expiry"}
        assert read.message
    else:
        assert set(read.args) <= set(VOCABULARY[read.cmd])


@pytest.mark.parametrize(
    ("cmd", "expires_s", "now_s", "code"),
    [
        ("rescan", NOW + 1, NOW, None),
        ("rescan", NOW + 3600, NOW, None),
        ("rescan", NOW, NOW, "expired"),
        ("pause", NOW - 86_400, NOW, "expired"),
        ("rescan", NOW + 3601, NOW, "expiry_too_far"),
        ("pause", NOW * 1000, NOW, "expiry_too_far"),
        ("rescan", NOW + 1, None, "clock_unsynced"),
        ("upload_now", NOW + 1, None, "clock_unsynced"),
        ("pause", NOW - 86_400, None, None),
        ("resume", NOW, None, None),
        ("report", NOW * 1000, None, None),
    ],
)
def test_a_command_is_good_for_an_hour_at_most_and_without_a_clock_few_are(
    cmd, expires_s, now_s, code
):
    refusal = refused_time(Command("c-1", cmd, {}, expires_s), now_s)

    assert (None if refusal is None else refusal.code) == code


def test_no_guarded_command_is_unknown():
    assert set(VOCABULARY) >= GUARDED


def test_an_allowance_is_so_many_in_any_span_of_its_length():
    allowance = Allowance(3, 60.0)

    assert [allowance.take(at_s) for at_s in (0, 10, 20, 30, 59, 60, 61, 70, 71)] == [
        *[True] * 3,
        *[False] * 2,
        True,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"reason": "a\nb"}, "args.reason must be 1 to 200 printable characters"),
        ({"reason": "x" * 201}, "args.reason must be 1 to 200 printable characters"),
        ({"pid": 0}, "args.pid must be the number of a process"),
        ({"pid": -1}, "args.pid must be the number of a process"),
        ({"pid": [1]}, "args.pid must be the number of a process"),
        ({"for_s": 10**12}, "args.for_s must be whole seconds, from 1 to 2592000"),
        ({"until": "noon"}, "hold has no argument 'until'"),
    ],
)
def test_a_hold_that_makes_no_sense_is_refused_in_a_sentence(args, said):
    with pytest.raises(UnfitError, match=said):
        arguments("hold", args)


@pytest.mark.parametrize("cmd", ["hold", "release"])
def test_nobody_far_away_holds_a_robot_or_releases_it(cmd):
    refusal = refused(raw(cmd=cmd, args={}))

    assert (refusal.status, refusal.code) == ("rejected", "unsupported")


@pytest.mark.parametrize("pid", [1, 2**22])
def test_a_hold_is_of_a_process_by_any_number_that_the_kernel_gives(pid):
    assert arguments("hold", {"pid": pid}) == {"pid": pid}


@pytest.mark.parametrize("pid", [0, 2**22 + 1, "1"])
def test_a_hold_of_what_is_no_process_is_refused(pid):
    with pytest.raises(UnfitError, match="the number of a process"):
        arguments("hold", {"pid": pid})
