"""A person in front of a browser, as a server of the tests sees one."""

from __future__ import annotations

import httpx

from edge_host.clock import SystemClock, rfc3339
from ingest_server.auth import passwords
from ingest_server.storage.interface import UserRecord
from tests.support.secured import Secured

PASSWORD = "a long enough password"
OURS = {"X-Requested-With": "edge-uploader"}


def add_user(state, name: str = "anna", role: str = "operator", password: str = PASSWORD) -> None:
    """Add a user whose password costs no time to look at."""
    now = rfc3339(SystemClock().now_utc())
    stored = passwords.hashed(password, log_cost=4)
    assert state.users.add(UserRecord(name, role, stored, now, now))


def log_in(client: httpx.Client, user: str = "anna", password: str = PASSWORD) -> httpx.Response:
    return client.post("/v1/session", json={"user": user, "password": password}, headers=OURS)


def visitor(site: Secured, user: str = "anna") -> httpx.Client:
    """Return a browser in which *user* is logged in, and that shows the token of our page."""
    client = site.client()
    assert log_in(client, user).status_code == 204
    client.headers["X-CSRF-Token"] = client.get("/v1/session").json()["csrf"]
    client.headers.update(OURS)
    return client
