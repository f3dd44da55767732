from ingest_server.core.uptime import Uptime


def test_what_earlier_runs_took_counts_and_the_time_between_them_does_not():
    now_s = 500.0
    uptime = Uptime(lambda: now_s, before_s=100.0)

    now_s = 530.0

    assert uptime.now_s() == 130.0
