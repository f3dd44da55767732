"""Three servers, one database and one store, and everything that befalls them; CHAOS_MINUTES plays it for longer."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass

import pytest

from ingest_server.core.events import COMPLETED
from ingest_server.storage.postgres.transactions import PostgresState
from tests.support.compat_site import sha256
from tests.support.consumer import consumer
from tests.support.persistent_camera import KB, PersistentCamera
from tests.support.processes import wait_for
from tests.support.replicas import Replicas, replicas
from tests.support.tongues import TONGUES
from tests.support.weather import Weather

MINUTES = float(os.environ.get("CHAOS_MINUTES", "0"))
DEVICES = 40 if MINUTES else 4
LARGE_EVERY = 10
"""Every tenth device of the long form brings files of several parts."""
SHARE = 0.05
"""Of all requests to the store, to which something happens."""
MB = 1000 * 1000

pytestmark = [
    pytest.mark.alone,
    pytest.mark.long,
    pytest.mark.slow,
    pytest.mark.timeout(300 + 240 * MINUTES),
]


@dataclass
class Played:
    """All that takes part."""

    site: Replicas
    cameras: list[PersistentCamera]

    def gets_on(self) -> None:
        """Wait until each device has brought one more recording."""
        before = [len(one.receipts) for one in self.cameras]
        wait_for(
            lambda: all(
                len(one.receipts) > count or one.wrong
                for one, count in zip(self.cameras, before, strict=True)
            ),
            "every device gets on",
            90.0 + 20 * DEVICES,
        )

    def is_told_to_wait(self) -> None:
        """Wait until the devices have been told some times that the server cannot."""
        before = sum(one.answers[503] for one in self.cameras)
        wait_for(
            lambda: sum(one.answers[503] for one in self.cameras) > before + 3, "devices are told"
        )


def kill_one(played: Played) -> None:
    one = random.choice(played.site.servers)
    one.kill()
    played.gets_on()
    one.start()


def stop_one(played: Played) -> None:
    one = random.choice(played.site.servers)
    one.pause()
    played.gets_on()
    one.go_on()


def restart_the_database(played: Played) -> None:
    played.site.database.stop()
    played.site.database.start()
    played.gets_on()


def kill_the_database(played: Played) -> None:
    played.site.database.kill()
    played.site.database.start()
    played.gets_on()


def stop_the_database(played: Played) -> None:
    played.site.database.pause()
    try:
        played.is_told_to_wait()
    finally:
        played.site.database.go_on()
    played.gets_on()


TROUBLE = (kill_one, kill_the_database, stop_the_database)
MORE_TROUBLE = (stop_one, restart_the_database)


def camera(site: Replicas, number: int) -> PersistentCamera:
    name = f"cam-{number}"
    tongue = list(TONGUES.values())[number % len(TONGUES)]
    is_large = bool(MINUTES) and number % LARGE_EVERY == 0
    client = site.client(site.token(name), timeout_s=60 if is_large else 8)
    most = 20 * MB if is_large else 60 * KB
    return PersistentCamera(client, name, number, tongue, most=most)


def test_whatever_befalls_the_servers_each_recording_arrives_once_and_is_told_of_once(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-the-tests-own-32-bytes")
    weather = Weather(SHARE, seed=1)
    with consumer() as told:
        hook = {
            "url": f"http://127.0.0.1:{told.server_port}/",
            "secret_file": secret,
            "allow_private": True,
            "events": [COMPLETED],
        }
        spoken = {"compat": [name for name in TONGUES if name not in {"native", "tus", "ietf"}]}
        with replicas(tmp_path, weather=weather, webhook=[hook], protocols=spoken) as site:
            cameras = [camera(site, number) for number in range(DEVICES)]
            played = Played(site, cameras)
            for one in cameras:
                one.start()
            try:
                befall(played)
            finally:
                for one in cameras:
                    one.stop()
            say(cameras, weather)
            assert [one.wrong for one in cameras] == [[]] * DEVICES

            uploads = set().union(*(one.uploads for one in cameras))
            receipts = {name: digest for one in cameras for name, digest in one.receipts.items()}
            weather.clears()
            assert {name: sha256(data) for name, data in site.each_published()} == receipts
            assert len(receipts) == len(uploads)
            wait_for(lambda: {upload for upload, _ in told.told} >= uploads, "all is told of")
            with closing(PostgresState.open(site.url)) as state:
                [*rows] = state.rows("SELECT subject FROM events WHERE type = ?", COMPLETED)
        assert Counter(subject for (subject,) in rows) == dict.fromkeys(uploads, 1)
        assert Counter(upload for upload, _ in set(told.told)) == dict.fromkeys(uploads, 1)


def befall(played: Played) -> None:
    """Have each kind of trouble once, or as often as there is time for; all gets on after each."""
    kinds = TROUBLE + MORE_TROUBLE if MINUTES else TROUBLE
    played.gets_on()
    ends_s = time.monotonic() + 60 * MINUTES
    while True:
        for trouble in random.sample(kinds, len(kinds)):
            trouble(played)
        if time.monotonic() >= ends_s:
            return


def say(cameras: list[PersistentCamera], weather: Weather) -> None:
    """Print what was played, for whoever looks."""
    answers = sum((one.answers for one in cameras), Counter())
    files = sum(len(one.receipts) for one in cameras)
    size = sum(one.acknowledged_bytes for one in cameras)
    print(f"{files} files, {size / MB:.0f} MB, answers {dict(answers)}")
    print(f"{weather.asked} requests to the store, of which {dict(weather.had)}")
