"""What an agent reports is what the server shows, whatever of it that refuses: over real sockets."""

from tests.support.reports import Reports
from tests.support.secured import secured


def test_what_the_server_refuses_of_a_report_holds_up_nothing_else(tmp_path):
    with secured(tmp_path / "server") as site:
        token = site.token("drone-01")
        operator = site.client(site.token("operator", "admin"))
        with Reports(tmp_path / "agent", site.server.url, token=token) as agent:
            agent.desk.say("c-1", "a word of another version")
            agent.tell("1.mp4")
            agent.run_for(60)
            path = "/v1/fleet/devices/drone-01"
            shown = operator.get(path).json()
            agent.worker.stop()
            agent.worker.say_goodbye()
            after = operator.get(path).json()

    assert (shown["row"]["presence"], shown["row"]["state"]) == ("online", "idle")
    assert shown["events"][0]["type"] == "edgeup.file.completed"
    assert after["row"]["presence"] == "offline"
