"""What an agent tells of what it holds is what the server keeps: the two of them, over real sockets."""

from edge_agent.core.recording import Found, Identity
from edge_agent.core.upload import Event
from tests.support.reports import Reports
from tests.support.secured import secured


def test_the_list_of_an_agent_is_the_list_at_the_server(tmp_path):
    with secured(tmp_path / "server") as site:
        token = site.token("drone-01")
        operator = site.client(site.token("operator", "admin"))
        with Reports(tmp_path / "agent", site.server.url, token=token) as agent:
            found = [
                Found(b"/m/%d" % n, "DCIM", f"{n}.mp4", Identity(1, n, 1000 + n, n * 10**9, 0))
                for n in range(2500)
            ]
            first, *_ = agent.store.add(found)
            agent.run_for(30)
            path = "/v1/fleet/devices/drone-01/holds"
            whole = operator.get(path).json()
            settled = agent.store.advance(first, Event.SETTLED)
            agent.store.advance(settled, Event.SOURCE_OVERWRITTEN)
            agent.change(problems=["disk_low"])
            agent.run_for(120)
            after = operator.get(path).json()

    assert whole["count"] == 2500
    assert after["count"] == 2499
    newest = after["holds"][0]
    assert (newest["name"], newest["folder"], newest["length"]) == ("2499.mp4", "DCIM", 3499)
    assert newest["state"] == "growing"
