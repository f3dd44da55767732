from ingest_server.core.uptime import Uptime


def test_what_earlier_runs_took_counts_and_the_time_between_them_does_not():
    now_s = 500.0
    uptime = Uptime(lambda: now_s, before_s=100.0)

    now_s = 530.0

    assert uptime.now_s() == 130.0


def test_what_others_ran_meanwhile_counts_and_nothing_is_taken_back():
    uptime = Uptime(lambda: 500.0, before_s=100.0)

    uptime.catch_up(90.0)
    assert uptime.now_s() == 100.0
    uptime.catch_up(1000.0)
    assert uptime.now_s() == 1000.0
