"""Recordings that a device holds back are found at its server and fetched, by the programs as they are."""

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from tests.support.processes import DEVICE, wait_for
from tests.support.site import site
from tests.support.steering import Operator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SOON = {"interval_seconds": 5.0}
"""The shortest that an owner can set: a test waits for it."""
URGENT_ALONE = {"match": "lo", "min_priority": 10}
WAITS = "waits (metered)"
METERED = {"match": "lo", "metered": True}
IN_2020 = 1_590_000_000


def record(folder: Path, name: str, length: int, *, at_s: int | None = None) -> bytes:
    content = os.urandom(length)
    (folder / name).write_bytes(content)
    if at_s is not None:
        os.utime(folder / name, (at_s, at_s))
    return content


def published(server) -> dict[str, bytes]:
    files = server.published_files()
    assert len({one.name for one in files}) == len(files), "published twice"
    return {one.name: one.read_bytes() for one in files}


def taken(agent) -> list[str]:
    """Return the ids of the commands that were executed, in all lives of the agent."""
    return [one["id"] for one in agent.log() if one.get("event") == "command.taken"]


def test_what_a_rule_holds_back_is_seen_and_fetched_by_name_and_by_time(tmp_path):
    with site(tmp_path, reports=SOON, **{"[link]": URGENT_ALONE}) as here:
        media = here.agent.media
        wanted = record(media, "DJI_0001.MP4", 3_000_000)
        old = record(media, "old.mp4", 50_000, at_s=IN_2020)
        record(media, "DJI_0002.MP4", 50_000)
        here.agent.start()
        operator = Operator(here.server, media)
        wait_for(lambda: len(operator.holds()) == 3, "it tells what it holds")
        wait_for(lambda: operator.row().get("pending_files") == 3, "all three are seen to wait")
        shown = operator.holds()["DJI_0001.MP4"]
        listed = wait_for(  # from the database, where it is twenty seconds later
            lambda: "3, 3.1 MB" in (found := here.server.run("devices")) and found.splitlines(),
            "a command beside the server sees them, too",
            60,
            every_s=1,
        )

        by_name = operator.fetch("dji_0001*")
        by_time = operator.fetch("--from", "2020-01-01", "--to", "2020-12-31")
        unknown = operator.fetch("DJI_9*")
        assert all([by_name.is_given(), by_time.is_given(), unknown.is_given()])
        ends = [one.end() for one in (by_name, by_time, unknown)]
        again = operator.command("fetch", query={"name": "DJI_0001.MP4"})
        refused = operator.fetch("--from", "tomorrow").end()
        found = published(here.server)

    assert shown["length"] == len(wanted)
    assert shown["state"] in {"growing", "pending"}
    assert DEVICE in listed[1]
    assert [code for code, _ in ends] == [0, 0, 1]
    assert ends[0][1][-1] == ends[1][1][-1] == "done: 1 of 1 have arrived"
    assert ends[2][1][-1].startswith("failed: this device has no recording that fits")
    assert (again["status"], again["message"]) == ("done", "1 of 1 have arrived")
    assert again["result"]["files"][0]["name"] == "DJI_0001.MP4"
    assert refused[0] == 2
    assert found == {"DJI_0001.MP4": wanted, "old.mp4": old}


@pytest.mark.nightly
def test_a_fetch_outlives_both_programs_and_is_executed_once(tmp_path):
    with site(tmp_path, reports=SOON, **{"[link]": URGENT_ALONE}) as here:
        media = here.agent.media
        wanted = record(media, "DJI_0001.MP4", 3_000_000)
        record(media, "DJI_0002.MP4", 50_000)
        record(media, "DJI_0003.MP4", 50_000)
        here.agent.start()
        operator = Operator(here.server, media)
        wait_for(lambda: len(operator.holds()) == 3, "it tells what it holds")
        operator.give("pause", reason="flight")
        at_a_terminal = operator.fetch("DJI_0001*")
        assert at_a_terminal.is_given()
        of_what_goes = operator.give("fetch", query={"name": "DJI_0003*"})

        def waiting():
            operator.nudge()
            found = operator.answer(of_what_goes)
            return found if found["status"] == "accepted" else None

        waits = wait_for(waiting, "it says that it waits", every_s=1)
        here.agent.kill()
        here.server.kill()
        (media / "DJI_0003.MP4").unlink()
        here.server.start()
        here.agent.start()
        assert here.agent.wait_until_blocked_by("paused")
        here.agent.run("resume")
        code, printed = at_a_terminal.end()
        gone = operator.end(of_what_goes)
        ids = taken(here.agent)
        found = published(here.server)

    assert waits["message"] == (
        "0 of 1 have arrived; DJI_0003.MP4 waits (paused): paused by a person (flight); "
        '"edge-agent resume" goes on'
    )
    assert (code, printed[-1]) == (0, "done: 1 of 1 have arrived")
    assert (gone["status"], gone["code"]) == ("failed", "source_missing")
    assert gone["message"].startswith(
        "0 of 1 have arrived; 1 failed, DJI_0003.MP4 (source-missing)"
    )
    assert len(ids) == len(set(ids)) == 3
    assert found == {"DJI_0001.MP4": wanted}


@pytest.mark.nightly
def test_a_metered_link_carries_what_is_fetched_only_where_the_operator_says_so(tmp_path):
    with site(tmp_path, **{"[link]": METERED}) as here:
        wanted = record(here.agent.media, "DJI_0001.MP4", 300_000)
        here.agent.start()
        operator = Operator(here.server, here.agent.media)
        here.agent.wait_until_blocked_by("metered")
        wait_for(lambda: operator.row().get("presence") == "online", "it is seen")
        here.agent.kill()
        operator.give("fetch", query={"name": "DJI*"})
        here.agent.start()
        # The server is told when that can be afforded, which takes minutes over such a link.
        waits = wait_for(
            lambda: [one["detail"] for one in here.agent.log() if WAITS in str(one.get("detail"))],
            "it answers that it waits",
        )
        assert published(here.server) == {}
        here.agent.kill()
        said = operator.fetch("DJI*", "--metered")
        assert said.is_given()
        here.agent.start()
        code, printed = said.end()
        found = published(here.server)

        here.agent.configure(commands={"allowed": ["pause"]})
        here.agent.kill()
        here.agent.start()
        refusal = wait_for(
            lambda: (end := operator.fetch("DJI*", "--no-wait").end())[0] and end, "it is refused"
        )

    assert waits[0].startswith(f"0 of 1 have arrived; DJI_0001.MP4 {WAITS}: ")
    assert (code, printed[-1]) == (0, "done: 1 of 1 have arrived")
    assert found == {"DJI_0001.MP4": wanted}
    assert f"{DEVICE} does not allow fetch: its [commands] allowed has pause" in refusal[1][-1]


@pytest.mark.nightly
def test_a_fetch_says_of_what_is_held_and_ends_as_what_was_renamed_deleted_or_recorded_on(tmp_path):
    names = ("moved.mp4", "gone.mp4", "growing.mp4")
    with site(tmp_path, reports=SOON, **{"[link]": URGENT_ALONE}) as here:
        media = here.agent.media
        wanted = {name: record(media, name, 50_000) for name in names}
        old = record(media, "no-clock.mp4", 50_000, at_s=100)
        here.agent.start()
        operator = Operator(here.server, media)
        wait_for(lambda: operator.row().get("presence") == "online", "it is seen")
        here.agent.run("hold", "--reason", "armed")
        given = {name: operator.give("fetch", query={"name": name}) for name in names}
        given["no-clock.mp4"] = operator.give("fetch", query={"to": "1971-01-01"})

        def held() -> bool:
            operator.nudge()
            said = [operator.answer(one)["message"] or "" for one in given.values()]
            return all("waits (hold): " in one and "(armed)" in one for one in said)

        wait_for(held, "each says what holds it", every_s=1)
        (media / "moved.mp4").rename(media / "elsewhere.mp4")
        (media / "gone.mp4").unlink()
        with (media / "growing.mp4").open("ab") as file:
            file.write(wanted["growing.mp4"])
        here.agent.run("release")
        ends = {name: operator.end(one) for name, one in given.items()}
        found = published(here.server)

    gone = ends.pop("gone.mp4")
    assert (gone["status"], gone["code"]) == ("failed", "source_missing")
    assert {one["status"] for one in ends.values()} == {"done"}
    assert {one["message"] for one in ends.values()} == {"1 of 1 have arrived"}
    assert ends["moved.mp4"]["result"]["files"][0]["name"] == "elsewhere.mp4"
    assert found == {
        "elsewhere.mp4": wanted["moved.mp4"],
        "growing.mp4": 2 * wanted["growing.mp4"],
        "no-clock.mp4": old,
    }


@pytest.mark.nightly
def test_a_recording_that_a_restored_database_does_not_know_is_told_of(tmp_path):
    with site(tmp_path, reports=SOON) as here:
        record(here.agent.media, "DJI_0001.MP4", 50_000)
        record(here.agent.media, "DJI_0002.MP4", 60_000)
        here.agent.start()
        operator = Operator(here.server, here.agent.media)
        here.wait_until_published(2)
        wait_for(lambda: here.agent.state()["totals"]["files_done"] == 2, "both are verified")
        here.agent.kill()
        here.server.stop()
        with contextlib.closing(sqlite3.connect(here.server.data_dir / "state.db")) as database:
            database.execute("DELETE FROM uploads WHERE name = 'DJI_0002.MP4'")
            database.commit()
        here.server.start()
        here.agent.start()
        [stuck] = wait_for(lambda: operator.ask("GET", "")[1]["stuck"], "it is told")

    assert stuck["why"] == (
        "It says that DJI_0002.MP4 is safe here, and this server has never had all of it."
    )
