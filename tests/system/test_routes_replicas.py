"""Rules that lead to buckets of their own, with two servers over one PostgreSQL and one SeaweedFS."""

from __future__ import annotations

import os
import secrets
from contextlib import closing, suppress
from dataclasses import replace

import httpx
import pytest

from ingest_server.storage.postgres.transactions import PostgresState
from tests.support.core_site import InThread
from tests.support.direct import at_store, done, signed
from tests.support.pair import MIB, Pair
from tests.support.postgres import postgres
from tests.support.processes import HASTY_SERVER, Server, wait_for
from tests.support.routed import make_bucket
from tests.support.s3_keys import content_of, keys_below
from tests.support.s3_proxy import Standstill, answer, proxy_to
from tests.support.seaweed import seaweed
from tests.support.secured import complete, create, put, upload
from tests.support.visitors import add_user, log_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
LENGTH = 9 * MIB
PARTS = ".ingest-server/parts/"


@pytest.fixture(scope="module")
def engines():
    with postgres() as database, seaweed() as store, proxy_to(store.endpoint) as proxy:
        yield database, store, proxy


class Routed(Pair):
    """Both have a rule that leads to a bucket beside their own."""

    def __init__(self, folder, engines, **tables):
        database, store, proxy = engines
        proxy.clear()
        self.bucket_name = tables.pop("bucket", None) or store.bucket()
        rule = {"match": "drone-*", "bucket": self.bucket_name, "prefix": "raw", "direct": True}
        tables = {"page": {"enabled": True}, "storage": {"presigned_s": 60}, **tables}
        super().__init__(folder, database, store, proxy, route=[rule], **tables)
        self.beside = replace(self.bucket.place, bucket=self.bucket_name, prefix="raw/")

    def routed(self) -> list[str]:
        """Return the keys in the rule's bucket, but for what marks it."""
        return [key for key in keys_below(self.beside, "") if key != ".ingest-server/store"]

    def content_at(self, url: str) -> bytes:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        assert bucket == self.bucket_name
        return content_of(replace(self.beside, prefix=""), key)


@pytest.fixture
def routed(tmp_path, engines):
    made = Routed(tmp_path, engines)
    try:
        made.start()
        yield made
    finally:
        engines[2].clear()
        made.close()


def test_an_upload_to_a_rules_bucket_goes_through_both_and_to_it_straight_and_ends_there(routed):
    one, other = routed.both
    data = os.urandom(LENGTH)
    with routed.camera(one) as here, routed.camera(other) as there:
        upload_id = create(here, name="a.mp4", length=LENGTH).json()["id"]
        [part] = signed(here, upload_id, data, (0, 8 * MIB))
        assert at_store(part, data).status_code == 200
        assert done(there, upload_id, part).json()["received"] == [[0, 8 * MIB]]
        assert put(there, upload_id, data[8 * MIB :], start=8 * MIB).status_code == 200
        receipt = routed.completed(one, upload_id, data)
        again = complete(there, upload_id, data).json()
        dropped = create(there, name="b.mp4", length=LENGTH).json()["id"]
        assert put(here, dropped, data[:MIB]).status_code == 200
        aborted = here.delete(f"/v1/uploads/{dropped}").status_code
        gone = there.get(f"/v1/uploads/{dropped}").status_code
        with closing(PostgresState.open(routed.url)) as state:
            add_user(state)
        del there.headers["Authorization"]
        assert log_in(there).status_code == 204
        link = there.get(f"/v1/fleet/recordings/{receipt['upload_id']}/content")

    assert receipt["published_as"].startswith(f"{routed.beside}/drone-1/")
    assert routed.content_at(receipt["published_as"]) == data
    assert (again, aborted, gone) == (receipt, 200, 410)
    assert link.status_code == 307
    assert httpx.get(link.headers["Location"], trust_env=False).content == data
    assert routed.objects() == []
    assert routed.completions() == 1
    wait_for(lambda: len(routed.routed()) == 1, "nothing but the file is left")


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("kind", "is_done"), [("copy", True), ("complete", False), ("complete", True), ("get", False)]
)
def test_who_is_killed_while_it_publishes_to_a_rules_bucket_is_gone_on_for_once(
    routed, kind, is_done
):
    one, other = routed.both
    data = os.urandom(LENGTH)
    upload_id = routed.begun("a.mp4", data)
    step = Standstill(is_done=is_done)
    routed.proxy.on(kind, step)

    def asked():
        with suppress(httpx.TransportError), routed.camera(one) as camera:
            complete(camera, upload_id, data)

    asking = InThread(asked)
    assert step.reached.wait(30)
    one.kill()
    asking.join()
    receipt = routed.completed(other, upload_id, data)
    step.go_on.set()
    one.start()

    assert routed.completed(one, upload_id, data) == receipt
    assert routed.content_at(receipt["published_as"]) == data
    assert routed.completions() == 1
    assert routed.objects() == []
    wait_for(lambda: len(routed.routed()) == 1, "nothing but the file is left")


@pytest.mark.nightly
def test_what_nobody_goes_on_with_expires_in_a_rules_bucket_by_whoever_leads(tmp_path, engines):
    routed = Routed(tmp_path, engines, expiry={"idle_days": 3 / 86400})
    with closing(routed):
        routed.start()
        one, other = routed.both
        with routed.camera(one) as here, routed.camera(other) as there:
            idle = create(here, name="a.mp4", length=LENGTH).json()["id"]
            assert put(there, idle, bytes(MIB)).status_code == 200
            assert routed.routed() != []
            one.kill()  # whoever leads now is the other, or it will
            wait_for(lambda: there.get(f"/v1/uploads/{idle}").status_code == 410, "it expired", 60)
        wait_for(lambda: routed.routed() == [], "its bytes are gone")


@pytest.mark.nightly
def test_a_bucket_that_is_away_from_one_of_them_at_its_start_is_used_by_the_other(
    tmp_path, engines
):
    late = f"late-{secrets.token_hex(4)}"
    routed = Routed(tmp_path, engines, bucket=late)
    refused = answer(403, "AccessDenied")

    def away(request, forward):
        is_there = not request.path.startswith(f"/{late}")
        return forward(request) if is_there else refused(request, forward)

    with closing(routed):
        one = routed.both[0]
        straight = Server(
            tmp_path / "straight",
            route=[{"match": "drone-*", "bucket": late, "prefix": "raw", "direct": True}],
            storage={
                "state": routed.url,
                **engines[1].settings(routed.bucket.place),
            },
        )
        straight.command = [*HASTY_SERVER, "run", "--config", straight.config]
        for kind in ("put", "get", "head", "list"):
            routed.proxy.on(kind, away, times=100_000)
        make_bucket(routed.beside)
        one.start()
        straight.start()
        routed.token = routed.new_token("drone-1")
        other = routed.new_token("cam-1")
        try:
            data = os.urandom(LENGTH)
            with routed.camera(one) as here, routed.camera(straight) as there:
                no = create(here, name="a.mp4", length=LENGTH)
                ready = [each.get("/readyz").text for each in (here, there)]
                upload_id = create(there, name="a.mp4", length=LENGTH).json()["id"]
                assert put(there, upload_id, data[: 8 * MIB]).status_code == 200
                not_here = put(here, upload_id, data[8 * MIB :], start=8 * MIB)
                here.headers["Authorization"] = f"Bearer {other}"
                elsewhere = upload(here, b"of the camera", name="c.mp4")
                here.headers["Authorization"] = f"Bearer {routed.token}"
                routed.proxy.clear()

                def rest():
                    return put(here, upload_id, data[8 * MIB :], start=8 * MIB).status_code == 200

                wait_for(rest, "it takes the bucket up by itself", 60)
                receipt = routed.completed(one, upload_id, data)
        finally:
            straight.close()

    assert (no.status_code, no.headers["Retry-After"]) == (503, "30")
    assert (not_here.status_code, not_here.headers["Retry-After"]) == (503, "30")
    assert ready == ["route-away\n", "ok\n"]
    assert elsewhere["published_as"].startswith("cam-1/")
    assert routed.content_at(receipt["published_as"]) == data


@pytest.mark.nightly
def test_one_whose_rules_are_older_takes_and_ends_what_the_other_began_in_a_new_bucket(
    tmp_path, engines
):
    routed = Routed(tmp_path, engines)
    older = Server(
        tmp_path / "older",
        storage={"state": routed.url, **engines[1].settings(routed.bucket.place)},
    )
    with closing(routed), closing(older):
        older.start()
        routed.both[0].start()
        routed.token = routed.new_token("drone-1")
        data = os.urandom(LENGTH)
        with routed.camera(routed.both[0]) as here, routed.camera(older) as there:
            upload_id = create(here, name="a.mp4", length=LENGTH).json()["id"]
            assert put(there, upload_id, data).status_code == 200
            receipt = routed.completed(older, upload_id, data)
            again = complete(here, upload_id, data).json()
            small = create(there, name="b.mp4", length=5).json()["id"]
            assert put(there, small, b"small").status_code == 200
            by_older = routed.completed(older, small, b"small")

    assert again == receipt
    assert routed.content_at(receipt["published_as"]) == data
    assert by_older["published_as"].startswith("drone-1/")
    assert len(routed.routed()) == 1
