"""`ingest-server list`, `devices`, `abort` and `prune`, as a person types them."""

import json
import threading

import httpx
import pytest

from edge_host.command_line import EXIT_DONE, EXIT_FAILED, EXIT_USAGE
from ingest_server.cli import main
from ingest_server.core import events
from tests.support.console import Operator
from tests.support.core_site import CoreSite, InThread, new_key
from tests.support.in_process import server
from upload_protocol.digests import Digest
from upload_protocol.messages import CreateRequest

DAY_S = 86400.0


@pytest.fixture
def operator(tmp_path, capsys):
    return Operator(tmp_path, capsys)


@pytest.fixture
def site(operator):
    site = CoreSite(operator.data_dir)
    yield site
    site.stop()


def make(site, device: str, name: str, **more) -> str:
    site.clock.seconds += 60
    request = CreateRequest(name, length=10, **more)
    return site.receiver.creation.create(device, new_key(), request)[0].id


def names(out: str) -> list[str]:
    return [row.split()[2] for row in out.splitlines()[1:]]


def test_a_list_is_of_one_device_of_the_newest_and_since_a_time(operator, site):
    for number in range(4):
        make(site, "cam", f"{number}.mp4")
        make(site, "dog", f"{number}.avi")

    assert names(operator.run("list")[1])[:3] == ["0.mp4", "0.avi", "1.mp4"]
    assert names(operator.run("list", "--device", "dog")[1]) == [f"{n}.avi" for n in range(4)]
    assert names(operator.run("list", "--limit", 3)[1]) == ["2.avi", "3.mp4", "3.avi"]
    assert names(operator.run("list", "--device", "cam", "--limit", 2)[1]) == ["2.mp4", "3.mp4"]
    since = operator.run("list", "--since", "2026-11-21T10:22:40Z", "--state", "open")[1]
    assert names(since) == ["2.avi", "3.mp4", "3.avi"]
    assert operator.run("list", "--since", "2027-01-01", "--json")[1] == "[]\n"


def test_an_empty_file_is_shown_to_have_arrived_when_it_has_and_not_before(operator, site):
    request = CreateRequest("empty.mp4", length=0)
    made = site.receiver.creation.create("cam", new_key(), request)[0].id
    before = operator.run("list")[1].split()
    site.complete(made, b"")
    after = operator.run("list")[1].split()

    assert before[before.index("open") :][1:4] == ["0", "%", "0/0"]
    assert after[after.index("complete") :][1:4] == ["100", "%", "0/0"]


def test_a_file_that_the_server_had_already_is_shown_as_all_there(operator, site):
    data = b"twice"
    site.upload(data)
    site.clock.seconds += 1
    site.complete(site.create("b.mp4", len(data), digest=Digest.of(data)), data)
    row = operator.run("list")[1].splitlines()[2].split()

    assert row[2:6] == ["b.mp4", "complete", "100", "%"]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--limit", "0", "'0' is not a whole number from 1"),
        ("--since", "soon", "'soon' is neither a date such as 2027-01-31 nor a time ago such as"),
        ("--since", "999999y", "nor a time ago"),
    ],
)
def test_what_is_no_filter_is_said_and_2(option, value, said, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["list", option, value])

    assert caught.value.code == EXIT_USAGE
    assert said in capsys.readouterr().err


def test_a_list_that_is_longer_than_one_look_at_the_database_is_whole(operator, site):
    def insert(rows) -> None:
        record = site.state.get(first)
        for number in range(2500):
            values = (f"{number:032x}", f"key-{number}", record.id)
            rows.write(
                "INSERT INTO uploads SELECT ?, device, ?, name, folder, created_at, length, digest, "
                "modified_at, media_type, metadata, state, received, touched_s, target, receipt, "
                "removed_at, rewrites, verified_at, route FROM uploads WHERE id = ?",
                *values,
            )

    first = make(site, "cam", "a.mp4")
    site.state.run(insert)

    rows = json.loads(operator.run("list", "--json")[1])

    assert len({row["id"] for row in rows}) == len(rows) == 2501


def test_devices_are_shown_with_what_an_operator_asks_first(operator, site):
    make(site, "cam", "a.mp4")
    site.receiver.abort("cam", make(site, "cam", "b.mp4"))
    site.state.run(
        lambda rows: rows.note_contact("drone", "2126-11-21T10:00:00Z", "edge-agent/1.2\x1b")
    )

    code, out, _ = operator.run("devices")
    [cam, drone] = json.loads(operator.run("devices", "--json")[1])

    head, first, second = out.splitlines()
    assert code == EXIT_DONE
    assert head.split() == ["DEVICE", "LAST", "CONTACT", "OPEN", "FAILED", "COMPLETE", "PROGRAM"]
    assert first.split()[0] == "cam"
    assert first.split()[-4:] == ["1", "0", "0", "-"]
    assert second.split() == ["drone", "0", "s", "ago", "0", "0", "0", "edge-agent/1.2\\x1b"]
    assert cam["last_contact_at"] == "2026-11-21T10:18:40Z"
    assert (cam["open"], cam["uploads"]) == (1, {"open": 1, "aborted": 1})
    assert drone["program"] == "edge-agent/1.2\x1b"


def test_an_upload_is_aborted_by_its_id_and_why_another_is_not_is_said(operator, site):
    whole = site.upload(b"x" * 20, "whole.mp4")
    half = site.create("half.mp4", 2000)
    site.put(half, 0, b"x" * 1500)

    code, out, err = operator.run("abort", half, whole.upload_id, "0" * 32)

    assert code == EXIT_FAILED
    assert out.splitlines() == [
        f"{half}  cam  half.mp4  aborted",
        "1 upload aborted, 1.5 kB free again. Who goes on with one is told so, and sends the file "
        "anew if it still has it.",
    ]
    assert "it is complete; what is published is removed by [retention], or by hand" in err
    assert "there is no such upload" in err
    assert list((operator.data_dir / "parts").iterdir()) == []
    assert site.state.state_of(half) == "aborted"
    assert list(site.published().values()) == [b"x" * 20]


def test_an_upload_that_was_aborted_before_makes_no_room_a_second_time(operator, site):
    half = site.create("half.mp4", 2000)
    site.put(half, 0, b"x" * 1500)
    operator.run("abort", half)

    code, out, _ = operator.run("abort", half)

    assert (code, out.splitlines()) == (0, [f"{half}  cam  half.mp4  aborted before"])


def test_all_that_a_device_left_idle_is_aborted_at_once(operator, site):
    old = [make(site, "cam", f"{number}.mp4") for number in range(2)]
    site.clock.seconds += 2 * DAY_S
    new, other = make(site, "cam", "new.mp4"), make(site, "dog", "dog.mp4")
    site.store.keep_uptime()

    idle = operator.run("abort", "--device", "cam", "--idle", "1d")
    again = operator.run("abort", "--device", "cam", "--idle", "1d")

    assert (idle[0], again[0]) == (EXIT_DONE, EXIT_FAILED)
    assert "device 'cam' has no open upload that is idle for so long" in again[2]
    assert [site.state.state_of(one) for one in (*old, new, other)] == [
        "aborted", "aborted", "open", "open",
    ]  # fmt: skip


def test_abort_wants_ids_or_a_device(operator, site):
    for arguments in ([], ["--idle", "1d"], ["0" * 32, "--device", "cam"]):
        assert operator.run("abort", *arguments)[0] == EXIT_USAGE


def test_prune_forgets_what_is_over_and_never_what_a_published_file_is_known_by(operator, site):
    receipt = site.upload(b"x" * 20, "whole.mp4")
    upload_id = make(site, "cam", "noted.mp4", metadata={"k": "v" * 4000})
    site.put(upload_id, 0, b"y" * 10)
    published = site.complete(upload_id, b"y" * 10)
    site.state.run(lambda rows: rows.write_note(upload_id, "chunk:0", "10"))
    aborted = make(site, "cam", "aborted.mp4")
    site.receiver.abort("cam", aborted)
    unfinished = make(site, "cam", "open.mp4", metadata={"k": "v"})
    before = site.state.get(upload_id)
    readings = [site.state.reading(one) for one in (receipt.upload_id, upload_id)]
    site.clock.seconds += 40 * DAY_S
    site.store.keep_uptime()

    code, out, _ = operator.run("prune")

    after = site.state.get(upload_id)
    assert code == EXIT_DONE
    assert out.splitlines()[0] == (
        "Forgotten: 1 upload that ended without a file, 0 uploads whose file was removed, 7 events, "
        "notes and metadata of 1 complete upload."
    )
    assert site.state.find(aborted) is None
    assert (after.metadata, site.state.notes(upload_id)) == ({}, {})
    assert (after.device, after.name, after.length, after.digest, after.receipt) == (
        before.device, before.name, before.length, before.digest, published,
    )  # fmt: skip
    assert [site.state.reading(one) for one in (receipt.upload_id, upload_id)] == readings
    assert site.state.get(unfinished).metadata == {"k": "v"}
    assert site.state.last_of(events.TYPES) is None
    # The device asks once more: its receipt, from what is left.
    assert site.complete(upload_id, b"y" * 10) == published


def test_prune_of_a_young_server_says_that_there_is_nothing_so_old(operator, site):
    site.receiver.abort("cam", make(site, "cam", "aborted.mp4"))
    site.store.keep_uptime()

    out = operator.run("prune")[1]

    assert out.startswith(
        "The server has run for 0.0 days in all, so nothing is older than 30 days"
    )
    assert "Forgotten: 0 uploads that ended without a file" in out


def test_what_prune_frees_goes_back_to_the_disk(operator, site):
    def write(rows) -> None:
        for number in range(500):
            rows.write_note(upload_id, str(number), "v" * 4000)

    upload_id = make(site, "cam", "aborted.mp4")
    site.state.run(write)
    site.receiver.abort("cam", upload_id)
    site.clock.seconds += 60
    site.store.keep_uptime()

    out = operator.run("prune", "--older-than", "0h")[1]
    site.stop()

    assert "Given back to the disk: 2." in out
    assert (operator.data_dir / "state.db").stat().st_size < 300_000


def test_abort_ends_an_upload_that_a_running_server_is_taking_bytes_of(operator, tmp_path):
    with server(tmp_path) as running, httpx.Client(base_url=running.url) as client:
        made = client.post(
            "/v1/uploads", json={"name": "a", "length": 30}, headers={"Idempotency-Key": "k" * 16}
        ).json()
        path, began, aborted = f"/v1/uploads/{made['id']}", threading.Event(), threading.Event()

        def body():
            yield b"x" * 10
            began.set()
            aborted.wait(20)
            yield b"x" * 20

        sending = InThread(
            lambda: httpx.put(
                f"{running.url}{path}/content",
                content=body(),
                headers={"Content-Length": "30", "Content-Range": "bytes 0-29/30"},
            )
        )
        assert began.wait(20)
        told = operator.run("abort", made["id"])
        aborted.set()
        refused = sending.join()
        asked = client.get(path)

    assert told[0] == EXIT_DONE
    assert (refused.status_code, refused.json()["code"]) == (410, "upload-aborted")
    assert (asked.status_code, asked.json()["code"]) == (410, "upload-aborted")
    assert list((operator.data_dir / "parts").iterdir()) == []


def test_who_was_admitted_is_a_device_that_was_here_with_its_program(operator, tmp_path):
    with server(tmp_path, auth={"mode": "token"}) as running:
        token = operator.run("token", "add", "drone-1")[1].strip()
        for agent in ("edge-agent/9.9", "x" * 200):
            headers = {"Authorization": f"Bearer {token}", "User-Agent": agent}
            assert httpx.get(f"{running.url}/v1?nonce=n", headers=headers).status_code == 200
            httpx.get(f"{running.url}/v1?nonce=n", headers={"User-Agent": "nobody"})
            running.parts.store.keep_uptime()
            [shown] = json.loads(operator.run("devices", "--json")[1])
            assert (shown["device"], shown["program"]) == ("drone-1", agent[:80])
            assert shown["last_contact_at"] is not None


LOOKS = [
    ("list",),
    ("devices", "--json"),
    ("token", "list"),
    ("claim", "list"),
    ("user", "list"),
    ("webhook", "list"),
    ("abort", "0" * 32),
    ("prune",),
    ("token", "revoke", "drone-1"),
]


@pytest.mark.parametrize("command", LOOKS, ids=" ".join)
def test_a_command_in_a_folder_without_a_server_says_so_and_makes_nothing(operator, command):
    code, out, err = operator.run(*command)

    assert (code, out) == (EXIT_FAILED, "")
    assert (
        f"There is no data folder {operator.data_dir}: see [server] data_dir and [storage] before, or --data-dir."
        in err
    )

    operator.data_dir.mkdir()
    code, out, err = operator.run(*command)

    assert (code, out) == (EXIT_FAILED, "")
    assert f"No server has run with {operator.data_dir}: there is no state.db in it." in err
    assert list(operator.data_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("list",), "Nothing was uploaded here yet."),
        (("list", "--state", "failed"), "No upload is like that."),
        (("devices",), "No device has uploaded or reported here yet."),
        (("token", "list"), "There is no token: ingest-server token add DEVICE makes one."),
        (("claim", "list"), "There is no claim token: ingest-server claim add makes one."),
        (("user", "list"), "Nobody may log in: ingest-server user add NAME adds somebody."),
        (("webhook", "list"), "No webhook was told anything yet."),
        (("webhook", "list", "--state", "dead"), "No webhook was told anything that is dead."),
    ],
)
def test_a_table_without_rows_is_a_sentence_instead(operator, command, said):
    with server(operator.data_dir.parent):
        code, out, err = operator.run(*command)

    assert (code, out, err) == (EXIT_DONE, "", said + "\n")
