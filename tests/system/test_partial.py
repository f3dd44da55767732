"""What has arrived of a recording that is not complete: its device may be gone for good."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import av
import httpx
import pytest

from ingest_server.page.downloads import PLAYED
from tests.support.plain import plain_client
from tests.support.processes import Agent, Server, wait_for
from tests.support.recordings import make_recording
from tests.support.requirements import require
from tests.support.secured import complete, create, put, secured
from tests.support.visitors import add_user, visitor

MIB = 1024 * 1024


@pytest.fixture
def site(tmp_path):
    with secured(tmp_path) as found:
        add_user(found.state)
        add_user(found.state, "wall", role="viewer")
        yield found


def of(upload_id: str) -> str:
    return f"/v1/fleet/partial/{upload_id}/content"


def begun(client, data: bytes, *, length: int | None = None, name: str = "clip.ts") -> str:
    upload_id = create(client, name=name, length=length).json()["id"]
    assert put(client, upload_id, data).status_code == 200
    return str(upload_id)


def frames_in(path: Path) -> int:
    """Return how many pictures a player gets out of a file, whatever becomes of its end."""
    count = 0
    with av.open(str(path)) as found:
        try:
            for _ in found.decode(video=0):
                count += 1
        except av.error.FFmpegError:
            pass  # the last picture is cut in two
    return count


def recorded(path: Path, seconds: float) -> Path:
    """Make a recording as cameras do that want it to survive their own end."""
    if path.suffix != ".mp4":
        return make_recording(path, seconds=seconds)
    whole = make_recording(path.with_suffix(".mkv"), seconds=seconds)
    fragmented = ["-movflags", "+frag_keyframe+empty_moov+default_base_moof"]
    command: list[str | Path] = [
        require("ffmpeg"),
        "-v",
        "error",
        "-i",
        whole,
        "-c",
        "copy",
        *fragmented,
        path,
    ]
    subprocess.run(command, check=True, timeout=60)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["ts", "mkv", "mp4"])
def test_what_came_before_the_first_gap_plays(site, tmp_path, ending):
    path = recorded(tmp_path / f"clip.{ending}", seconds=3)
    data = path.read_bytes()
    part = len(data) * 2 // 3
    camera = site.device("cam")
    upload_id = begun(camera, data[:part], name=path.name)
    assert put(camera, upload_id, data[-1000:], start=len(data) - 1000).status_code == 200
    person = visitor(site, "wall")

    [row] = person.get("/v1/fleet/partial", params={"device": "cam"}).json()["partial"]
    answer = person.get(of(upload_id))

    assert (row["upload_id"], row["arrived"], row["length"]) == (upload_id, part, None)
    assert answer.status_code == 200
    assert answer.content == data[:part]
    assert answer.headers["Upload-Complete"] == "?0"
    assert f"clip.partial.{ending}" in answer.headers["Content-Disposition"]
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    (tmp_path / f"part.{ending}").write_bytes(answer.content)
    assert frames_in(tmp_path / f"part.{ending}") >= frames_in(path) / 2
    assert site.published() == {}, "a part is nowhere below the published folder"
    assert [one["object"] for one in site.audit() if one["action"] == "partial.read"] == [upload_id]


def test_a_player_asks_for_runs_of_the_same_part_while_it_grows(site):
    camera, person = site.device("cam"), visitor(site)
    upload_id = begun(camera, bytes(1000))

    first = person.get(of(upload_id), params={"until": 1000}, headers={"Range": "bytes=0-99"})
    put(camera, upload_id, bytes(1000), start=1000)
    tag = first.headers["ETag"]
    same = {"Range": "bytes=900-", "If-Range": tag}
    second = person.get(of(upload_id), params={"until": 1000}, headers=same)
    grown = person.get(of(upload_id))

    assert (first.status_code, first.headers["Content-Range"]) == (206, "bytes 0-99/1000")
    assert (second.status_code, second.headers["Content-Range"]) == (206, "bytes 900-999/1000")
    assert (len(grown.content), grown.headers["ETag"] != tag) == (2000, True)
    assert person.head(of(upload_id)).headers["Content-Length"] == "2000"
    assert person.get(of(upload_id), headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"until": "1001"}, 400, "1000 bytes have arrived"),
        ({"until": "0"}, 400, "from 1 on"),
        ({"until": "x"}, 400, "from 1 on"),
        ({"until": "9" * 500}, 400, ""),
        ({"until": ["1", "2"]}, 400, "more than once"),
    ],
)
def test_an_end_that_is_none_is_refused_in_a_sentence(site, query, status, said):
    upload_id = begun(site.device("cam"), bytes(1000))

    answer = visitor(site).get(of(upload_id), params=query)

    assert answer.status_code == status
    assert said in answer.json()["detail"]


def test_it_is_for_operators_and_viewers_alone(site):
    camera = site.device("cam")
    upload_id = begun(camera, b"secret")

    assert camera.get(of(upload_id)).status_code == 403
    assert site.client().get(of(upload_id)).status_code == 401
    assert visitor(site, "wall").get(of(upload_id)).content == b"secret"


def test_what_is_not_there_says_where_to_look(site):
    camera, person = site.device("cam"), visitor(site)
    late = create(camera, length=None).json()["id"]
    put(camera, late, b"later", start=100)
    done = begun(camera, b"whole", length=5)
    complete(camera, done, b"whole")
    ended = begun(camera, b"gone")
    camera.delete(f"/v1/uploads/{ended}")

    said = {one: person.get(of(one)) for one in (late, done, ended, "0" * 32)}

    assert [one.status_code for one in said.values()] == [404, 404, 410, 404]
    assert "first byte has not arrived" in said[late].json()["detail"]
    assert "/v1/fleet/recordings" in said[done].json()["detail"]


def test_whoever_reads_is_cut_where_the_client_writes_other_bytes(site):
    camera, person = site.device("cam"), visitor(site)
    upload_id = begun(camera, os.urandom(8 * MIB), length=8 * MIB)

    with person.stream("GET", of(upload_id)) as answer:
        pieces = answer.iter_raw()
        got = [next(pieces)]
        assert put(camera, upload_id, os.urandom(MIB), start=0).status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            got.extend(pieces)

    assert sum(map(len, got)) < 8 * MIB


def test_the_list_is_paged_and_of_one_device(site):
    person = visitor(site)
    ids = {one: sorted(begun(site.device(one), b"x") for _ in range(3)) for one in ("cam", "roof")}

    first = person.get("/v1/fleet/partial", params={"device": "cam", "limit": 2}).json()
    following = {"device": "cam", "limit": 2, "after": first["next"]}
    rest = person.get("/v1/fleet/partial", params=following).json()
    every = person.get("/v1/fleet/partial").json()

    assert [one["upload_id"] for one in first["partial"] + rest["partial"]] == ids["cam"]
    assert rest["next"] is None
    assert {one["device"] for one in every["partial"]} == {"cam", "roof"}
    for query in ({"device": "No!"}, {"after": "x"}, {"limit": "0"}, {"limit": "201"}):
        assert person.get("/v1/fleet/partial", params=query).status_code == 400


@pytest.mark.slow
def test_the_last_seconds_of_a_camera_that_is_taken_away_play(tmp_path):
    server = Server(tmp_path / "server")
    agent = Agent(
        tmp_path / "agent",
        url=f"http://127.0.0.1:{server.port}",
        token=server.new_token(),
        watch={"while_recording": ["*.ts"]},
    )
    whole = make_recording(tmp_path / "whole.ts", seconds=2, mbit=16)
    data = whole.read_bytes()
    try:
        server.start()
        agent.start()
        with (agent.media / "gate.ts").open("wb", buffering=0) as file:
            file.write(data)
            wait_for(lambda: server.open_uploads(agent.token).get("gate.ts"), "it is being sent")
            least = len(data) - 2 * MIB
            wait_for(
                lambda: server.open_uploads(agent.token)["gate.ts"] >= least, "but for the lag"
            )
            agent.kill()
        part = tmp_path / "part.ts"
        token = server.run("token", "add", "--scope", "admin", "operator").splitlines()[-1]
        url, known = f"http://127.0.0.1:{server.port}", {"Authorization": f"Bearer {token}"}
        with plain_client(url, headers=known, trust_env=False) as operator:
            [row] = operator.get("/v1/fleet/partial").json()["partial"]
            part.write_bytes(operator.get(of(row["upload_id"])).content)
    finally:
        agent.close()
        server.close()

    assert part.read_bytes() == data[: row["arrived"]]
    assert frames_in(part) >= frames_in(whole) * least // len(data) - 30
    assert "ts" not in PLAYED
