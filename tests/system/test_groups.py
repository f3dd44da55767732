"""Files of one recording, from the device that knows them by their names to the manifest beside them."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import DEVICE, wait_for
from tests.support.site import site
from tests.support.steering import Operator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SOON = {"quiet_seconds": 1.0}
METERED = {"match": "lo", "metered": True, "daily_bytes": "1GB"}


def record(folder: Path, name: str, length: int = 20_000) -> bytes:
    content = os.urandom(length)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return content


def manifests(server) -> list[dict[str, Any]]:
    files = [one for one in server.published_files() if ".group" in one.name]
    return [json.loads(one.read_text()) for one in files]


def manifest(server) -> dict[str, Any]:
    return wait_for(lambda: next(iter(manifests(server)), None), "a manifest is published")


def roles(document: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["role"] for one in document["members"]}


def completions(agent) -> list[str]:
    return [one["group"] for one in agent.log() if one.get("event") == "group.completed"]


def test_a_drones_video_with_what_is_beside_it_is_one_group_and_a_file_alone_is_none(tmp_path):
    with site(tmp_path, groups=SOON) as here:
        video = record(here.agent.media, "DCIM/100MEDIA/DJI_0001.MP4", 200_000)
        record(here.agent.media, "DCIM/100MEDIA/DJI_0001.SRT")
        record(here.agent.media, "DCIM/100MEDIA/DJI_0001.LRF")
        record(here.agent.media, "DCIM/100MEDIA/DJI_0009.MP4")
        here.agent.start()

        found = manifest(here.server)

        assert roles(found) == {
            "DJI_0001.LRF": "proxy",
            "DJI_0001.MP4": "original",
            "DJI_0001.SRT": "sidecar",
        }
        assert (found["device"], found["expected"], found["done"]) == (DEVICE, 3, 3)
        published = {one["name"]: one["published_as"] for one in found["members"]}
        root = here.server.published
        assert (root / published["DJI_0001.MP4"]).read_bytes() == video
        here.wait_until_published(5)
        assert len(manifests(here.server)) == 1


def test_the_small_files_come_over_a_metered_link_and_the_original_over_another(tmp_path):
    tables = {"groups": {**SOON, "original": "unmetered"}, "[link]": METERED}
    with site(tmp_path, **tables) as here:
        record(here.agent.media, "GX010001.MP4", 1_000_000)
        record(here.agent.media, "GL010001.LRV", 20_000)
        record(here.agent.media, "GX010001.THM", 2_000)
        here.agent.start()

        state = here.agent.wait_until_blocked_by("metered")
        wait_for(lambda: len(here.server.published_files()) == 2, "the small ones are there")

        assert state["held"] == {"files": 1, "bytes": 1_000_000, "reason": "metered"}
        told = "held back until the link is not metered any more: 1 original"
        assert told in here.agent.run("status")
        [row] = [one for one in here.agent.status()["files"] if one["name"] == "GX010001.MP4"]
        assert (row["state"], row["reason"]) == ("stable", "metered")
        assert manifests(here.server) == []
        here.agent.configure(**{"[link]": {**METERED, "metered": False}})
        os.kill(here.agent.pid, signal.SIGHUP)
        assert roles(manifest(here.server))["GX010001.MP4"] == "original"
        assert here.agent.state()["held"] is None


@pytest.mark.long
def test_an_original_on_demand_comes_when_it_is_fetched_and_the_others_with_a_reload(tmp_path):
    groups = {**SOON, "original": "on-demand"}
    with site(tmp_path, groups=groups, reports={"interval_seconds": 5.0}) as here:
        for name in ("a.mp4", "a.srt", "b.mp4", "b.srt"):
            record(here.agent.media, name)
        here.agent.start()

        state = here.agent.wait_until_blocked_by("on_demand")

        assert state["state"] == "idle"
        assert state["queue"]["oldest_age_s"] is None
        operator = Operator(here.server, here.agent.media)
        wait_for(lambda: len(operator.holds()) == 4, "the server knows what is held back")
        assert operator.fetch("a.mp4").end()[0] == 0
        assert set(roles(manifest(here.server))) == {"a.mp4", "a.srt"}
        assert here.agent.state()["held"]["files"] == 1
        here.agent.configure(groups={**SOON, "original": "always"})
        os.kill(here.agent.pid, signal.SIGHUP)
        wait_for(lambda: len(manifests(here.server)) == 2, "the other comes as well")


@pytest.mark.long
def test_killed_again_and_again_both_tell_of_a_group_once_and_publish_one_manifest(tmp_path):
    with site(tmp_path, groups=SOON) as here:
        for number in range(3):
            record(here.agent.media, f"DJI_000{number}.MP4", 400_000)
            record(here.agent.media, f"DJI_000{number}.SRT")
        for times in range(4):
            here.agent.start()
            wait_for(here.agent.state_if_any, "the agent answers")
            here.wait_until_published(times + 1)
            here.agent.kill()
            here.server.kill()
            here.server.start()
        here.agent.start()

        wait_for(lambda: len(manifests(here.server)) >= 3, "three groups are complete")
        wait_for(lambda: here.agent.state()["queue"]["files"] == 0, "all is sent")

        names = [one.name for one in here.server.published_files()]
        assert sorted(names) == sorted(set(names))
        assert len(names) == 9


@pytest.mark.long
def test_a_group_whose_chapter_never_came_is_shown_with_its_name_and_is_not_complete(tmp_path):
    with site(tmp_path, groups=SOON, reports={"interval_seconds": 5.0}) as here:
        record(here.agent.media, "GX010007.MP4")
        record(here.agent.media, "GX030007.MP4")
        here.agent.start()

        listed = wait_for(
            lambda: "2 of 3" in (found := here.server.run("groups")) and found,
            "the server lists it",
            90,
            every_s=1,
        )

        assert "GX020007.MP4" in here.server.run("groups", "--json")
        assert DEVICE in listed
        assert manifests(here.server) == []
        record(here.agent.media, "GX020007.MP4")
        assert len(manifest(here.server)["members"]) == 3


@pytest.mark.long
def test_a_bag_is_complete_by_its_own_list_and_not_before(tmp_path):
    with site(tmp_path, groups=SOON) as here:
        record(here.agent.media, "run_3/run_3_0.mcap")
        record(here.agent.media, "run_3/run_3_1.mcap")
        (here.agent.media / "run_3" / "metadata.yaml").write_text(
            "rosbag2_bagfile_information:\n  relative_file_paths:\n"
            "    - run_3_0.mcap\n    - run_3_1.mcap\n    - run_3_2.mcap\n"
            f"    - ..\n    - {'x' * 5000}\n"  # of a damaged one: nothing can be called so
        )
        here.agent.start()
        here.wait_until_published(3)
        wait_for(
            lambda: "run_3_2.mcap" in here.server.run("groups", "--json"),
            "one is missed",
            90,
            every_s=1,
        )

        record(here.agent.media, "run_3/run_3_2.mcap")

        found = manifest(here.server)
        assert len(found["members"]) == 4
        assert [one["part"] for one in found["members"]] == [None, 1, 2, 3]


@pytest.mark.long
def test_a_file_that_changes_after_its_group_was_complete_makes_a_second_manifest(tmp_path):
    with site(tmp_path, groups=SOON) as here:
        record(here.agent.media, "DJI_0001.MP4")
        record(here.agent.media, "DJI_0001.SRT")
        here.agent.start()
        first = manifest(here.server)

        changed = record(here.agent.media, "DJI_0001.MP4", 30_000)

        wait_for(lambda: len(manifests(here.server)) == 2, "it is told of again")
        second = max(manifests(here.server), key=lambda one: one["revision"])
        assert (first["revision"], second["revision"]) == (1, 2)
        assert second["group"] == first["group"]
        [video] = [one for one in second["members"] if one["role"] == "original"]
        assert (here.server.published / video["published_as"]).read_bytes() == changed
