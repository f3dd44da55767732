"""Rules that send files below folders of their own, over HTTP."""

import json
from contextlib import contextmanager

import pytest

from ingest_server.auth.authentication import GROUP, SCOPE_UPLOAD
from ingest_server.core.routes import Route
from tests.contract.test_groups import member, told
from tests.support.ingest import ingest
from tests.support.native_calls import DATA
from tests.support.plain import wsgi_client
from tests.support.secured import complete, create, put

RULES = (
    Route(begins="trial", group="trial"),
    Route(begins="dam/raw", metadata={"project": "dam"}),
    Route(begins="cards", folders="DCIM/*"),
)


@contextmanager
def site(**more):
    with ingest(routes=RULES, **more) as server, wsgi_client(server.app) as client:
        yield server, client


def upload(client, data=DATA, **members):
    begun = create(client, length=len(data), **{"device": "drone-1", **members}).json()
    if begun["state"] == "open":
        put(client, begun["id"], data)
    return complete(client, begun["id"], data).json()


def test_the_first_rule_that_fits_puts_its_folders_before_the_name():
    with site() as (server, client):
        dam = upload(client, name="a.mp4", metadata={"project": "dam"}, folder="DCIM/100")
        card = upload(client, b"card!", name="b.mp4", folder="DCIM/100")
        other = upload(client, b"other", name="c.mp4", metadata={"project": "../dam"})
        published = server.published()

    assert dam["published_as"].startswith("dam/raw/drone-1/")
    assert card["published_as"].startswith("cards/drone-1/")
    assert other["published_as"].startswith("drone-1/")
    assert published[dam["published_as"]] == DATA


def test_a_file_that_its_device_has_published_is_not_published_again_elsewhere():
    with site() as (server, client):
        first = upload(client, name="a.mp4")
        again = upload(client, name="a.mp4", metadata={"project": "dam"})

        assert again["published_as"] == first["published_as"]
        assert list(server.published()) == [first["published_as"]]


def test_the_manifest_of_a_group_goes_where_its_first_file_went():
    with site() as (server, client):
        receipt = upload(client, name="clip.mp4", device="drone-1", metadata={"project": "dam"})
        told(client, member(receipt))
        [manifest] = [one for one in server.published() if ".group" in one]
        named = json.loads(server.published()[manifest])["members"][0]["published_as"]

    assert manifest.startswith("dam/raw/drone-1/")
    assert named == receipt["published_as"]


@pytest.mark.parametrize(
    ("scopes", "begins"),
    [
        ((SCOPE_UPLOAD, f"{GROUP}trial"), "trial/drone-1/"),
        ((SCOPE_UPLOAD, f"{GROUP}other"), "drone-1/"),
        ((SCOPE_UPLOAD,), "drone-1/"),
    ],
)
def test_row_36_a_group_is_what_the_operator_gave_the_token_whatever_the_device_says(
    scopes, begins
):
    with site(mode="token") as (server, client):
        client.headers["Authorization"] = f"Bearer {server.token('drone-1', scopes=scopes)}"
        said = {"group": "trial", "scopes": f"{GROUP}trial"}

        receipt = upload(client, name="a.mp4", metadata=said)
        client.headers["Authorization"] = (
            f"Bearer {client.post('/v1/token/rotate').json()['token']}"
        )
        rotated = upload(client, b"later", name="b.mp4", metadata=said)

    assert receipt["published_as"].startswith(begins)
    assert rotated["published_as"].startswith(begins)


def test_a_group_lets_nobody_do_more():
    with site(mode="token") as (server, client):
        client.headers["Authorization"] = (
            f"Bearer {server.token('drone-1', scopes=(f'{GROUP}trial',))}"
        )

        assert create(client, name="a.mp4").status_code == 403
