"""Of those who ask what says nothing, one waits; whoever hears something lets all others ask again."""

from contextlib import ExitStack

import pytest

from ingest_server.storage.silence import SILENT_S, Silence, SilentError


class Site:
    def __init__(self):
        self.s = 1000.0
        self.silence = Silence(lambda: self.s)

    def may_ask(self):
        try:
            with self.silence.asking():
                return True
        except SilentError:
            return False


@pytest.fixture
def site():
    return Site()


def test_once_nothing_was_heard_for_a_while_one_more_asks_and_the_rest_is_told_at_once(site):
    with ExitStack() as waiting:
        for _ in range(5):
            waiting.enter_context(site.silence.asking())
        assert site.may_ask()
        site.s += SILENT_S + 0.1
        waiting.enter_context(site.silence.asking())

        assert [site.may_ask() for _ in range(3)] == [False] * 3


def test_what_was_not_asked_for_long_is_not_silent(site):
    site.s += 3600
    with site.silence.asking():
        assert site.may_ask()


def test_one_who_waits_long_for_a_lock_is_in_nobodys_way_while_others_are_answered(site):
    with site.silence.asking():
        site.s += SILENT_S + 0.1
        with site.silence.asking():
            site.silence.heard()
        with site.silence.asking():
            assert site.may_ask()


def test_one_who_works_for_long_is_in_nobodys_way_though_nobody_has_asked_meanwhile(site):
    with site.silence.asking():
        site.s += 1
        site.silence.heard()
        site.s += SILENT_S + 0.1
        with site.silence.asking():
            assert site.may_ask()
            site.s += SILENT_S + 0.1
            with site.silence.asking():
                assert not site.may_ask()


def test_one_who_gives_up_after_others_were_answered_proves_nothing(site):
    since_s = site.s
    site.s += 1
    site.silence.heard()
    site.silence.gave_up(since_s)

    with site.silence.asking():
        assert site.may_ask()


def test_after_one_has_given_up_one_at_a_time_tries_until_something_is_heard(site):
    site.silence.gave_up(site.s)
    with site.silence.asking():
        assert not site.may_ask()
        site.silence.heard()
        assert site.may_ask()
    with site.silence.asking():
        assert site.may_ask()


def test_one_who_tried_in_vain_lets_the_next_one_try(site):
    site.silence.gave_up(site.s)
    with pytest.raises(OSError, match="away"), site.silence.asking():
        raise OSError("away")

    assert site.may_ask()


def test_bytes_that_are_taken_from_newcomers_are_no_answer_to_who_waits(site):
    with ExitStack() as waiting:
        waiting.enter_context(site.silence.asking())
        site.s += SILENT_S
        waiting.enter_context(site.silence.asking()).taken(1)
        site.s += 0.1
        assert site.may_ask()
        waiting.enter_context(site.silence.asking()).taken(1)

        assert not site.may_ask()


def test_who_has_bytes_taken_again_and_again_waits_for_nothing_but_not_by_the_same_ones(site):
    with site.silence.asking() as ask:
        for count in (1, 2, 2):
            site.s += SILENT_S - 0.1
            ask.taken(count)
        with site.silence.asking():
            assert site.may_ask()
        site.s += 0.2
        with site.silence.asking():
            assert not site.may_ask()
