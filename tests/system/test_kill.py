"""kill -9 of the agent and of the server at random instants (laws L1 to L4, without a power cut)."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from tests.support.recordings import MB, make_large_recording, make_recording, sha256
from tests.support.site import Site, site

MIB = 2**20
SEED = 20261121

LINK_BYTES = MIB
"""What the sockets of the counting link and of both programs can hold at an instant."""

SEAL_BYTES = 8 * MIB
"""What a server may have taken and not yet made durable."""

HIT_BYTES = 64 * 1024
"""More than a request without a body: what was killed was sending."""

KILLS = int(os.environ.get("KILLS", "8"))
"""Rounds of each test; `make test-long` plays more."""
pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(max(300, 12 * KILLS))]

LARGE = 6 * KILLS * MB


def _media(folder: Path, *, large: int) -> dict[str, str]:
    """Fill the device's folder; return name -> digest."""
    recordings = [make_large_recording(folder / "long.mkv", length=large)]
    recordings += [
        make_recording(folder / name, seconds=seconds)  # no two of one stem: they would be a group
        for name, seconds in (("walk.mp4", 2), ("talk.ts", 3), ("ride.mov", 4))
    ]
    return {path.name: sha256(path) for path in recordings}


def _kill_and_start(here: Site, rounds: int, one_round: Callable[[], None]) -> int:
    """Play *rounds*; return in how many of them bytes were on their way."""
    hits = 0
    for _ in range(rounds):
        before = here.link.sent
        one_round()
        hits += here.link.sent - before > HIT_BYTES
    return hits


def _finish(here: Site, recordings: dict[str, str]) -> None:
    """Let the rest go as fast as it can."""
    here.agent.configure(upload={"max_rate": 0})
    here.agent.close()
    here.agent.start()
    here.wait_until_published(len(recordings), 90)


def test_L4_kills_of_the_agent_cost_only_what_was_in_flight(tmp_path):
    draw = random.Random(SEED)
    with site(tmp_path, upload={"max_rate": "6MB"}) as here:
        recordings = _media(here.agent.media, large=LARGE)
        length = sum(path.stat().st_size for path in here.agent.media.iterdir())

        def one_round() -> None:
            before = here.link.sent
            here.agent.start()
            if draw.random() < 0.7:
                wait_for(lambda: here.link.sent - before > 2 * HIT_BYTES, "it sends")
            time.sleep(draw.uniform(0, 2))  # the instant is the test
            here.agent.kill()

        hits = _kill_and_start(here, KILLS, one_round)
        _finish(here, recordings)

        assert here.published_digests() == recordings
        assert hits >= KILLS // 4
        resent = here.link.sent - length
        print(
            f"{hits} of {KILLS} kills during an upload; {resent / MIB:.2f} MiB more than the files"
        )
        assert resent <= KILLS * LINK_BYTES


def test_L1_L4_kills_of_the_server_lose_nothing_that_was_acknowledged(tmp_path):
    draw = random.Random(SEED + 1)
    with site(tmp_path, upload={"max_rate": "10MB"}) as here:
        recordings = _media(here.agent.media, large=LARGE)
        length = sum(path.stat().st_size for path in here.agent.media.iterdir())
        here.agent.start()

        def one_round() -> None:
            time.sleep(draw.uniform(0.2, 1.8))  # the instant is the test
            current = here.agent.state_if_any().get("current")
            here.server.kill()
            here.server.start()
            if current is not None:
                held = here.server.open_uploads(here.agent.token).get(current["name"])
                # None: the agent finished it, between our question and the kill.
                assert held is None or held >= current["acknowledged"]

        hits = _kill_and_start(here, KILLS, one_round)
        _finish(here, recordings)

        assert here.published_digests() == recordings
        assert hits >= KILLS // 4
        resent = here.link.sent - length
        print(
            f"{hits} of {KILLS} kills during an upload; {resent / MIB:.2f} MiB more than the files"
        )
        assert resent <= KILLS * (SEAL_BYTES + LINK_BYTES)


def test_kills_of_both_at_once_lose_nothing(tmp_path):
    draw = random.Random(SEED + 2)
    with site(tmp_path, upload={"max_rate": "5MB"}) as here:
        recordings = _media(here.agent.media, large=LARGE)
        here.agent.start()

        def one_round() -> None:
            time.sleep(draw.uniform(0.3, 2.5))
            first, second = draw.sample([here.agent, here.server], 2)
            first.kill()
            time.sleep(draw.choice([0.0, 0.05]))
            second.kill()
            for program in draw.sample([first, second], 2):
                program.start()

        hits = _kill_and_start(here, KILLS, one_round)
        _finish(here, recordings)

        assert here.published_digests() == recordings
        assert hits >= KILLS // 4


def test_L3_a_kill_while_it_publishes_leaves_one_whole_file(tmp_path):
    """Small files, so that most kills fall between the last byte and the receipt."""
    draw = random.Random(SEED + 3)
    with site(tmp_path) as here:
        here.agent.start()
        recordings = {}
        for number in range(KILLS):
            path = here.agent.media / f"clip-{number}.mp4"
            recordings[path.name] = sha256(make_recording(path, seconds=0.4 + 0.04 * (number % 15)))
            time.sleep(draw.uniform(0.5, 1.3))
            here.server.kill()
            here.server.start()
        _finish(here, recordings)

        assert here.published_digests() == recordings
