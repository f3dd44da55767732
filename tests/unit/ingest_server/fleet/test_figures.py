"""The fleet in figures, as a scrape sees it: all devices together, none by name."""

from ingest_server.fleet.figures import figures
from tests.support.fleet import state

HOUR_S = 3600


def test_what_devices_say_is_added_up(fleet):
    waiting = {"files": 2, "bytes": 9, "oldest_age_s": 60, "failed": 0}
    fleet.report("drone-1", state=state(queue=waiting))
    fleet.report("drone-2", state=state(queue={**waiting, "files": 1, "failed": 3}))

    found = figures(fleet.service)

    assert found.by_presence == {"online": 2, "late": 0, "offline": 0, "never": 0}
    assert (found.pending_files, found.pending_bytes, found.failed_files) == (3, 18, 3)
    assert (found.oldest_pending_s, found.stuck, found.silent) == (60, 1, 0)


def test_who_was_silent_for_too_long_is_counted_and_what_waits_there_grows_older(fleet):
    waiting = {"files": 2, "bytes": 9, "oldest_age_s": 60, "failed": 0}
    fleet.report(state=state(queue=waiting))
    fleet.pass_s(23 * HOUR_S, step_s=600)
    before = figures(fleet.service)

    fleet.pass_s(2 * HOUR_S, step_s=600)
    found = figures(fleet.service)

    assert (before.silent, found.silent) == (0, 1)
    assert found.by_presence["offline"] == 1
    assert found.oldest_pending_s == 25 * HOUR_S + 60


def test_no_device_is_a_row_of_zeros(fleet):
    found = figures(fleet.service)

    assert set(found.by_presence.values()) == {0}
    assert (found.silent, found.stuck, found.oldest_pending_s) == (0, 0, 0)
