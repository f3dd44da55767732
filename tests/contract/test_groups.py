"""Groups over HTTP: what a device says, what the server has of it, and what becomes of hostile words."""

import json

import pytest

from ingest_server.core.events import GROUP_COMPLETED
from ingest_server.storage.interface import Removal
from tests.support.events import of_types
from tests.support.ingest import ingest
from tests.support.native_calls import DATA, JSON, create, digest_of, put
from tests.support.native_calls import complete as completed
from tests.support.plain import wsgi_client

GROUP = "0123456789abcdef" * 2
AT = "2026-11-21T10:00:00Z"


@pytest.fixture
def server():
    with ingest() as made:
        made.state.outbox.register("hook")
        yield made


@pytest.fixture
def client(server):
    with wsgi_client(server.app) as found:
        yield found


def upload(client, name="clip.mp4", data=DATA, device="drone-1"):
    key = f"key-of-{device}-{name}-000000"
    upload_id = create(client, key=key, name=name, length=len(data), device=device).json()["id"]
    put(client, upload_id, data)
    return completed(client, upload_id, data).json()


def member(receipt, role="original", **more):
    return {
        "name": receipt["name"],
        "folder": "",
        "role": role,
        "length": receipt["length"],
        "digest": receipt["digest"],
        "modified_at": AT,
        "upload_id": receipt["upload_id"],
        **more,
    }


def expected_of(name, role="original", length=5):
    return {"name": name, "folder": "", "role": role, "length": length}


def told(client, *members, **more):
    document = {
        "group": GROUP,
        "family": "stem",
        "title": "clip",
        "folder": "",
        "members": list(members),
        "is_whole": True,
        "device": "drone-1",
        **more,
    }
    return client.post("/v1/groups", json=document)


def completions(server):
    server.state.outbox.take_in("hook", of_types({GROUP_COMPLETED}))
    return [one.event.data for one in server.state.outbox.listing()]


def manifests(server):
    return {
        path: json.loads(content)
        for path, content in server.published().items()
        if ".group" in path
    }


def test_a_group_whose_files_are_all_here_is_complete_and_its_manifest_lies_beside_them(
    client, server
):
    video, small = upload(client), upload(client, "clip.lrv", b"x" * len(DATA))

    answer = told(client, member(small, "proxy"), member(video, part=1))

    assert answer.status_code == 200
    path = video["published_as"].removesuffix("clip.mp4") + "clip.group.json"
    assert answer.json() == {
        "group": GROUP,
        "state": "complete",
        "expected": 2,
        "done": 2,
        "revision": 1,
        "manifest": path,
    }
    manifest = manifests(server)[path]
    assert [one["role"] for one in manifest["members"]] == ["proxy", "original"]
    assert [one["published_as"] for one in manifest["members"]] == [
        small["published_as"],
        video["published_as"],
    ]
    assert manifest["members"][1]["digest"] == digest_of(DATA)


def test_it_is_told_once_however_often_its_device_says_so(client, server):
    video = upload(client)

    answers = [told(client, member(video)).json() for _ in range(3)]

    assert answers[0] == answers[1] == answers[2]
    [event] = completions(server)
    assert (event["group"], event["files"], event["bytes"]) == (GROUP, 1, len(DATA))
    assert event["manifest"] == answers[0]["manifest"]
    assert len(manifests(server)) == 1


def test_it_is_open_while_a_file_is_held_back_missing_or_may_still_come(client, server):
    video = member(upload(client))

    held = told(client, video, expected_of("clip.mov")).json()
    missing = told(client, video, missing=["clip2.mp4"]).json()
    growing = told(client, video, is_whole=False).json()

    assert [(one["state"], one["done"], one["expected"]) for one in (held, missing, growing)] == [
        ("open", 1, 2),
        ("open", 1, 2),
        ("open", 1, 1),
    ]
    assert manifests(server) == {}
    assert completions(server) == []


def test_a_file_that_comes_later_makes_it_another_revision_with_a_manifest_of_its_own(
    client, server
):
    video = member(upload(client))
    first = told(client, video).json()

    late = told(client, video, member(upload(client, "clip.srt"), "sidecar")).json()

    assert (first["revision"], late["revision"]) == (1, 2)
    assert first["manifest"] != late["manifest"]
    assert manifests(server)[late["manifest"]]["supersedes"] == first["manifest"]
    assert [one["revision"] for one in completions(server)] == [1, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"digest": digest_of(b"of other bytes")},
        {"length": len(DATA) + 1},
        {"upload_id": "f" * 32},
        {"digest": None},
        {"upload_id": None},
    ],
)
def test_what_a_device_says_counts_only_where_the_server_holds_that_very_file(
    client, server, wrong
):
    answer = told(client, member(upload(client), **wrong)).json()

    assert (answer["state"], answer["done"]) == ("open", 0)
    assert completions(server) == []


def test_a_file_that_retention_has_removed_is_here_no_more(client, server):
    video, small = upload(client), upload(client, "clip.lrv", b"x" * len(DATA))
    before = told(client, member(small, "proxy"), group="e" * 32).json()
    remove(server, video)

    after = told(client, member(small, "proxy"), member(video)).json()
    as_before = told(client, member(small, "proxy"), group="e" * 32).json()

    assert (after["state"], after["done"], after["expected"]) == ("open", 1, 2)
    assert as_before == before
    assert len(manifests(server)) == 1, "of the other"


def remove(server, receipt):
    """Do what [retention] does to a published file."""
    record = server.state.get(receipt["upload_id"])
    removal = Removal(record.target, record.id, "")
    server.state.run(lambda transaction: transaction.mark_removed(record, removal, AT))
    server.store.blobs.withdraw(record.target)


def test_of_two_words_at_once_the_later_is_completed_with_its_own_files(
    client, server, monkeypatch
):
    first, second = upload(client), upload(client, "clip.lrv", b"x" * len(DATA))
    save, later = server.state.groups.save, [member(second, "proxy")]

    def save_and_be_overtaken(record):
        save(record)
        if later:
            answers.append(told(client, later.pop()).json())

    answers = []
    monkeypatch.setattr(server.state.groups, "save", save_and_be_overtaken)
    answers.append(told(client, member(first)).json())

    [manifest] = manifests(server).values()
    assert [one["published_as"] for one in manifest["members"]] == [second["published_as"]]
    assert [one["revision"] for one in answers] == [1, 1]


def test_a_file_of_another_device_does_not_count_and_is_not_betrayed(client, server):
    of_another = member(upload(client, device="drone-2"))

    known = told(client, of_another).json()
    unknown = told(client, {**of_another, "upload_id": "f" * 32}).json()

    assert known == unknown == {**known, "state": "open", "done": 0}
    assert completions(server) == []


def test_two_devices_may_call_their_groups_the_same(client, server):
    for device in ("drone-1", "drone-2"):
        answer = told(client, member(upload(client, device=device)), device=device).json()
        assert answer["state"] == "complete"

    assert sorted(one["device"] for one in completions(server)) == ["drone-1", "drone-2"]


@pytest.mark.parametrize(
    "title", ["../../etc/passwd", "/etc/cron.d/x", "a\nb", "CON", "~root", ".."]
)
def test_a_title_is_data_and_leads_nowhere(client, server, title):
    answer = told(client, member(upload(client)), title=title, folder="../../..")

    assert answer.status_code == 200
    path = answer.json()["manifest"]
    assert not {"..", ""} & set(path.split("/"))
    assert path in server.published()


def entries(count):
    return [expected_of(f"{number}.mp4") for number in range(count)]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"group": "../x"}, "'group'"),
        ({"group": "A" * 32}, "'group'"),
        ({"family": "a b"}, "'family'"),
        ({"members": []}, "1 to 1000"),
        ({"members": entries(1001)}, "1 to 1000"),
        ({"members": [expected_of("a.mp4")] * 2}, "twice"),
        ({"members": [expected_of("a.mp4", role="king")]}, "'role'"),
        ({"members": [expected_of("a.mp4", length=-1)]}, "'length'"),
        ({"members": [expected_of("")]}, "'name'"),
        ({"members": ["a.mp4"]}, "object"),
        ({"members": {"a.mp4": 1}}, "array"),
        ({"missing": ["a"] * 201}, "'missing'"),
        ({"missing": [1]}, "'missing'"),
        ({"title": ""}, "'title'"),
        ({"title": "a" * 5000}, "'title'"),
        ({"is_whole": "yes"}, "'is_whole'"),
        ({"device": "../x"}, "'device'"),
    ],
)
def test_what_is_no_group_is_refused_by_the_name_of_what_is_wrong(client, server, wrong, says):
    answer = (
        told(client, **{"members": entries(1)} | wrong)
        if "members" in wrong
        else told(client, *entries(1), **wrong)
    )

    assert answer.status_code == 400
    assert says in answer.json()["detail"]
    assert server.state.groups.page(device=None, state=None, before=None, limit=9) == []


def test_a_thousand_files_with_long_names_are_one_group(client, server):
    long = [expected_of(f"{number:0200d}.mp4") for number in range(1000)]

    answer = told(client, *long)

    assert (answer.status_code, answer.json()["expected"]) == (200, 1000)


def test_a_manifest_beyond_all_measure_is_refused_before_it_is_read(client):
    answer = client.post("/v1/groups", content=b"[" * (2 << 20), headers=JSON)

    assert answer.status_code == 413


def test_a_group_is_its_tokens_devices():
    with ingest(mode="token") as server:
        with wsgi_client(server.app) as asked:
            asked.headers["Authorization"] = f"Bearer {server.token('drone-1')}"
            assert told(asked, expected_of("a.mp4"), device="drone-2").status_code == 403
            assert told(asked, expected_of("a.mp4"), device=None).status_code == 200
            asked.headers["Authorization"] = f"Bearer {server.token('watcher', scopes=('status',))}"
            assert told(asked, expected_of("a.mp4"), device=None).status_code == 403
            asked.headers["Authorization"] = f"Bearer {server.token('boss', scopes=('admin',))}"
            assert told(asked, expected_of("a.mp4"), device="drone-2").status_code == 403
        found = server.state.groups.find("drone-1", GROUP)
        assert found is not None
        assert found.device == "drone-1"


def test_a_crash_after_the_manifest_and_before_the_word_of_it_makes_no_second_one(client, server):
    video = member(upload(client))
    groups = server.state.groups

    class PowerFails:
        def __getattr__(self, name):
            return getattr(groups, name)

        def complete(self, *_):
            raise SystemExit

    server.state.groups = PowerFails()
    with pytest.raises(SystemExit):
        told(client, video)
    server.state.groups = groups
    assert groups.find("drone-1", GROUP).state == "open"
    assert len(manifests(server)) == 1

    assert told(client, video).json()["state"] == "complete"

    assert len(manifests(server)) == 1
    assert len(completions(server)) == 1


def test_operators_see_groups_as_a_list_and_one_with_its_files(client, server):
    video = upload(client)
    told(client, member(video), expected_of("clip.mov"), missing=["clip2.mp4"])
    told(client, expected_of("x.mp4"), group="f" * 32, title="x")

    page = client.get("/v1/fleet/groups", params={"limit": 1}).json()
    following = client.get("/v1/fleet/groups", params={"cursor": page["next"]}).json()
    one = client.get(f"/v1/fleet/groups/drone-1/{GROUP}").json()

    assert [one["title"] for one in page["groups"] + following["groups"]] == ["x", "clip"]
    assert (one["done"], one["expected"], one["missing"]) == (1, 3, ["clip2.mp4"])
    here, held = one["members"]
    assert (here["published_as"], here["can_play"]) == (video["published_as"], True)
    assert (held["upload_id"], held["can_play"]) == (None, False)
    assert client.get("/v1/fleet/groups", params={"state": "complete"}).json()["groups"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        *("device=../x", "state=maybe", "cursor=x", "cursor=0", "limit=0", "limit=9999"),
        *("limit=1e3", "limit=1&limit=2", "device=a&device=b"),
    ],
)
def test_a_question_for_groups_that_is_none_is_refused(client, wrong):
    assert client.get(f"/v1/fleet/groups?{wrong}").status_code == 400


@pytest.mark.parametrize("path", ["drone-1/" + "f" * 32, "drone-1/x", "..%2Fx/" + GROUP])
def test_a_group_that_nobody_told_of_is_not_found(client, path):
    assert client.get(f"/v1/fleet/groups/{path}").status_code == 404


def test_a_manifest_that_the_disk_refuses_leaves_the_group_open_and_the_next_word_completes_it(
    client, server
):
    video = member(upload(client))
    settings = server.receiver.settings
    server.receiver.settings = type(settings)(
        **{
            name: getattr(settings, name)
            for name in settings.__dataclass_fields__
            if name != "max_length"
        },
        max_length=1,
    )

    refused = told(client, video)

    assert refused.status_code == 413
    assert server.state.groups.find("drone-1", GROUP).state == "open"
    server.receiver.settings = settings
    assert told(client, video).json()["state"] == "complete"
    assert len(completions(server)) == 1
