"""Stores that break what S3 promises, killed while devices upload: never is there a wrong receipt."""

from __future__ import annotations

import pytest

from tests.support.compat_site import sha256
from tests.support.other_stores import JuiceFs, Rclone, running
from tests.support.persistent_camera import KB, PersistentCamera
from tests.support.plain import plain_client
from tests.support.processes import Server, wait_for
from tests.support.s3_keys import content_of
from tests.support.seaweed import Seaweed
from tests.support.tongues import TONGUES

pytestmark = [pytest.mark.alone, pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(900)]
KILLS = 4
SMALL, LARGE = 60 * KB, 20_000 * KB


@pytest.mark.parametrize("kind", [JuiceFs, Rclone, Seaweed])
def test_each_receipt_is_for_an_object_that_is_there_whatever_the_store_has_lost(tmp_path, kind):
    with running(kind) as store:
        place = store.place()
        server = Server(tmp_path / "server", storage=store.settings(place))
        try:
            server.start()
            cameras = [
                camera(server, number, tongue, most)
                for number, (tongue, most) in enumerate(
                    [("native", SMALL), ("native", LARGE), ("tus", LARGE), ("ietf", SMALL)]
                )
            ]
            for one in cameras:
                one.start()
            try:
                for _ in range(KILLS):
                    gets_on(cameras)
                    store.kill()
                    store.start()
                gets_on(cameras)
            finally:
                for one in cameras:
                    one.stop()
        finally:
            server.close()
        assert [one.wrong for one in cameras] == [[]] * len(cameras)
        receipts = {name: digest for one in cameras for name, digest in one.receipts.items()}
        print(f"{len(receipts)} receipts, {sum(one.restarts for one in cameras)} files sent anew")
        for name, digest in receipts.items():
            assert sha256(content_of(place, place.prefix + name)) == digest, name


def camera(server: Server, number: int, tongue: str, most: int) -> PersistentCamera:
    known = {"Authorization": f"Bearer {server.new_token(f'cam-{number}')}"}
    address = f"http://127.0.0.1:{server.port}"
    client = plain_client(address, headers=known, trust_env=False, timeout=60)
    return PersistentCamera(
        client, f"cam-{number}", number, TONGUES[tongue], most=most, restarts=True
    )


def gets_on(cameras: list[PersistentCamera]) -> None:
    before = [len(one.receipts) for one in cameras]
    wait_for(
        lambda: all(
            len(one.receipts) > count or one.wrong
            for one, count in zip(cameras, before, strict=True)
        ),
        "every device gets on",
        150.0,
    )
