"""A disk without a byte left while a group is published: the files are sent all the same, and nothing is told twice."""

import os

import pytest

from edge_agent.core.upload import State
from ingest_server.core.events import GROUP_COMPLETED
from tests.scenarios.test_groups import manifests, tell, telling
from tests.support.events import of_types
from tests.support.lane import scene
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.slow


@pytest.fixture(params=["server", "device"])
def full(request, tmp_path):
    """A scene, and the disk of one of both sides."""
    with small_disk(tmp_path / request.param, size="24m") as disk, scene(tmp_path) as made:
        made.server.state.outbox.register("hook")
        yield made, disk


def completions(stage):
    stage.server.state.outbox.take_in("hook", of_types({GROUP_COMPLETED}))
    return [one.event.data for one in stage.server.state.outbox.listing()]


def told_here(stage):
    events = stage.lane.store.outbox.undelivered(limit=99)
    return [one for one in events if one.type == "group.completed"]


def test_a_group_whose_disk_is_full_is_told_of_once_when_there_is_room(full):
    stage, disk = full
    for name in ("a.mp4", "a.srt"):
        stage.lane.record(name, os.urandom(200_000))
    stage.lane.run()
    teller = telling(stage)
    disk.fill()

    tell(stage, teller, 3600)
    while_full = (told_here(stage), stage.lane.store.counts.by_state())
    stage.lane.restart()
    disk.make_room()
    tell(stage, telling(stage), 3600)

    assert while_full[0] == []
    assert {state: files for state, (files, _) in while_full[1].items()} == {State.VERIFIED: 2}
    [manifest] = manifests(stage)
    assert [one["name"] for one in manifest["members"]] == ["a.mp4", "a.srt"]
    assert [one["revision"] for one in completions(stage)] == [1]
    [event] = told_here(stage)
    assert (event.data["files"], event.data["revision"]) == (2, 1)


def test_what_the_full_disk_let_the_other_side_do_is_not_done_twice(full):
    stage, disk = full
    for name in ("a.mp4", "a.srt"):
        stage.lane.record(name, os.urandom(200_000))
    stage.lane.run()
    teller, whole = telling(stage), stage.link.schedule

    def fill_at_the_word(request):
        if request.path == "/v1/groups":
            disk.fill()
            stage.link.schedule = whole
        return whole(request)

    stage.link.schedule = fill_at_the_word
    tell(stage, teller, 1200)
    disk.make_room()
    tell(stage, teller, 3600)

    assert len(manifests(stage)) == len(completions(stage)) == len(told_here(stage)) == 1
