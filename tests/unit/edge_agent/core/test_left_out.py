"""What is left out is counted, named in part, and told when it is news."""

import errno
import json

import pytest

from edge_agent.core.left_out import (
    Cause,
    LeftOut,
    Tally,
    Told,
    cause_of,
    from_document,
    in_document,
    sentence,
)

DAY_S = 86_400.0


def tally(*paths, cause=Cause.PATTERNS):
    made = Tally()
    for path in paths:
        made.add(cause, path)
    return made.result()


def test_all_are_counted_and_the_first_two_are_named():
    (one,) = tally("a.x", "b.x", "c.y")

    assert (one.cause, one.count, one.examples) == (Cause.PATTERNS, 3, ("a.x", "b.x"))
    assert one.endings == ("x", "y")
    assert "3 not sent, for no [watch] patterns fits: a.x, b.x, ...;" in sentence(one)
    assert sentence(one).endswith("their endings: *.x, *.y")


def test_a_million_of_them_and_endless_hostile_names_stay_small():
    made = Tally()
    hostile = '\\"\U0001f600' * 500
    for number in range(1000):
        for cause in Cause:
            made.add(cause, f"{hostile}.{number:x}<script>")

    document = json.dumps(in_document(made.result()), ensure_ascii=False)

    assert len(document.encode()) < 3 * 1024


def test_a_long_name_is_shortened_in_its_middle_to_what_a_message_has_room_for():
    (one,) = tally("a" * 60 + ".x", "b" * 57 + ".x")

    assert one.examples == ("a" * 28 + "..." + "a" * 26 + ".x", "b" * 57 + ".x")
    assert all(len(name.encode()) <= 60 for name in one.examples)


def test_a_name_without_a_sane_ending_suggests_no_pattern():
    (one,) = tally("a", "b.*", "c.x y", "d." + "z" * 20)

    assert one.endings == ("a",)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (errno.EACCES, Cause.PERMISSION),
        (errno.EPERM, Cause.PERMISSION),
        (errno.EIO, Cause.SOURCE_IO),
        (errno.EUCLEAN, Cause.SOURCE_IO),
        (errno.EMFILE, Cause.ERROR),
        (None, Cause.ERROR),
    ],
)
def test_only_a_disks_own_errors_are_told_as_a_dying_card(code, cause):
    assert cause_of(code) is cause


def test_a_document_is_read_back_and_what_a_later_version_counts_is_passed_over():
    found = (*tally("a.x"), *tally("sub", cause=Cause.LINK))

    document = {**in_document(found), "invented": {"count": 1, "examples": []}}

    assert tuple(from_document(document)) == found


def test_the_log_hears_what_is_new_what_has_doubled_and_each_day_what_stands():
    told = Told()

    def news(count, now_s):
        return bool(told.news([LeftOut(Cause.LINK, count, ("a",))], now_s))

    assert [news(2, 0), news(2, 1), news(3, 2), news(4, 3), news(4, 4)] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert news(4, 3 + DAY_S)
    assert told.news([], 4 + DAY_S) == []
    assert not news(4, 5 + DAY_S)


def test_what_comes_and_goes_is_told_once_a_day():
    told = Told()
    looks = [((LeftOut(Cause.PATTERNS, 1, ("a.new",)),) if n % 2 else ()) for n in range(100)]

    said = [len(told.news(found, now_s)) for now_s, found in enumerate(looks)]

    assert sum(said) == 1
    assert len(told.news(looks[1], DAY_S + 1)) == 1
