"""The program behind the proxies that we know: by deploy/'s configurations, and by their shortest.

What a proxy is told in its manual's first lines must do: a link that the server gives leads back to it.
"""

import contextlib
import tempfile
from pathlib import Path
from urllib.parse import urljoin

import pytest

from demo.ports import LOOPBACK
from tests.support.processes import Program, Server, wait_for
from tests.support.proxies import NAMES, Proxy, shipped, shortest

pytestmark = pytest.mark.slow

TUS = {"Tus-Resumable": "1.0.0"}
FORGED = {
    "X-Client-Verify": "SUCCESS",
    "X-Client-DN": "CN=drone-9",
    "X-Proxy-Secret": "x" * 24,
    "Forwarded": "for=192.0.2.1;proto=http;host=evil.example",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Port": "1",
}


@contextlib.contextmanager
def served(folder: Path, **keys):
    server = Server(folder, server=keys, auth={"mode": "token"})
    try:
        Program.start(server)  # not on a port, where it would be asked
        if "proxy_socket" in keys:
            wait_for(keys["proxy_socket"].exists, "the server listens")
            keys["proxy_socket"].chmod(0o666)  # instead of the group that the proxy's user is in
        else:
            server.wait_until_ready()
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def served_as_shipped(folder: Path, name: str):
    """Serve where the shipped configuration of that proxy looks; yields the server, and where."""
    if name == "traefik":  # which speaks to no Unix socket
        with served(folder, trust_proxy=True) as server:
            yield server, f"{LOOPBACK}:{server.port}"
        return
    with tempfile.TemporaryDirectory() as open_folder:
        Path(open_folder).chmod(0o755)  # Apache reaches it as another user
        socket = Path(open_folder) / "s"
        listen = f"unix:{socket}"
        with served(folder, trust_proxy=True, listen=listen, proxy_socket=socket) as server:
            yield server, listen


@pytest.mark.parametrize("trusts", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_in_its_shortest_form_a_link_leads_back_and_nobody_is_a_device_by_headers(
    tmp_path, name, trusts
):
    proxy = Proxy(name, tmp_path)
    with served(tmp_path, trust_proxy=trusts) as server:
        token = server.new_token()
        with proxy.running(shortest(proxy, f"http://{LOOPBACK}:{server.port}")):
            forger, device = proxy.client(**FORGED), proxy.client(Authorization=f"Bearer {token}")
            with forger, device:
                assert forger.get("/v1?nonce=n").status_code == 401

                # Caddy's handle_path says nothing of what it takes away, and says all else.
                for prefix in ["", "/ingest"] if name != "caddy" and trusts else [""]:
                    at = f"{prefix}/files/"
                    created = device.post(at, headers={**TUS, "Upload-Length": "5"})
                    url = urljoin(proxy.url + at, created.headers["Location"])
                    found = device.head(url, headers=TUS) if url.startswith(proxy.url) else None

                    if trusts or name in {"nginx", "apache"}:
                        assert found is not None, url
                        assert found.headers["Upload-Offset"] == "0"


@pytest.mark.parametrize("name", NAMES)
def test_as_deploy_has_it_links_are_whole_and_what_a_client_forges_does_not_come_through(
    tmp_path, name
):
    proxy = Proxy(name, tmp_path)
    with served_as_shipped(tmp_path, name) as (server, listen):
        token = server.new_token()
        with proxy.running(shipped(proxy, listen)):
            forger = proxy.client(**FORGED)
            device = proxy.client(**FORGED, Authorization=f"Bearer {token}")
            with forger, device:
                answer = forger.get("/v1?nonce=n")
                created = device.post("/files/", headers={**TUS, "Upload-Length": "5"})

    assert answer.status_code == 401
    assert created.headers["Location"].startswith(f"{proxy.url}/files/")


@pytest.mark.parametrize("form", ["shortest", "shipped"])
@pytest.mark.parametrize("name", NAMES)
def test_a_client_of_the_ietf_draft_gets_its_final_answer(tmp_path, name, form):
    """nginx takes a 104 for the final answer: none may go to a proxy."""
    proxy = Proxy(name, tmp_path)
    headers = {"Upload-Draft-Interop-Version": "9", "Upload-Complete": "?1"}
    with contextlib.ExitStack() as running:
        if form == "shipped":
            server, listen = running.enter_context(served_as_shipped(tmp_path, name))
            site = shipped(proxy, listen)
        else:
            server = running.enter_context(served(tmp_path, trust_proxy=True))
            site = shortest(proxy, f"http://{LOOPBACK}:{server.port}")
        token = server.new_token()
        with proxy.running(site), proxy.client(Authorization=f"Bearer {token}") as device:
            answers = [
                device.post("/files/", headers=headers, content=b"x" * size)
                for size in (10, 300_000, 10)
            ]

    assert [answer.status_code for answer in answers] == [201] * 3
    assert [answer.json()["length"] for answer in answers] == [10, 300_000, 10]
