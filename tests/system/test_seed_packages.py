"""One conversation with each original package from PyPI and with ours, compared field by field.

`ALLOWED` is all that differs, each with its reason; what stands there and does not differ (any
more) fails too. What ours answers there, the contract tests say.
"""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.support import seed_originals
from tests.support.compat_site import compat_site, md5, recording, sha256
from tests.support.processes import DEVICE, Server
from tests.support.requirements import require_packages

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PACKAGES = (
    "frago==0.1.4",
    "drf-chunked-upload==0.6.0",
    "django-chunked-upload==2.0.0",
    "django>=5.2,<5.3",
    "djangorestframework>=3.16,<4",
)
DATA = recording(250_000)
LENGTH = len(DATA)
CHUNK = 100_000

Answers = dict[str, dict[str, Any]]
"""The fields of each step's answer."""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    return require_packages(tmp_path_factory.mktemp("seeds") / "venv", *PACKAGES)


@contextmanager
def originals(python, folder) -> Iterator[httpx.Client]:
    folder.mkdir()
    with subprocess.Popen(
        [python, seed_originals.__file__, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            assert program.stdout is not None
            port = int(program.stdout.readline())
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                yield client
        finally:
            program.terminate()


def put(client, url, start, stop, data=None, *, total=LENGTH, method="PUT", **fields):
    return client.request(
        method,
        url,
        headers={"Content-Range": f"bytes {start}-{stop - 1}/{total}"},
        data=fields,
        files={"file": ("clip.mp4", DATA[start:stop] if data is None else data)},
    )


def frago(client) -> Iterator[tuple[str, httpx.Response]]:
    base = "/compat/frago/upload/"
    yield "list", client.get(base)
    yield "start without a size", client.post(base, json={"filename": "a"})
    yield "start with a word", client.post(base, json={"filename": "a", "total_size": "many"})
    started = client.post(base, json={"filename": "clip.mp4", "total_size": len(DATA)})
    yield "start", started
    url = f"{base}{started.json()['upload_id']}/"
    yield "chunk", put(client, url, CHUNK, 2 * CHUNK)
    yield "no range", client.put(url, files={"file": b"x"})
    yield "bad range", client.put(url, headers={"Content-Range": "x"}, files={"file": b"x"})
    yield "other total", put(client, url, 0, 10, total=7)
    yield "other size", put(client, url, 0, 10, b"x" * 12)
    yield "no file", client.put(url, headers={"Content-Range": f"bytes 0-9/{len(DATA)}"})
    yield "same chunk", put(client, url, CHUNK, 2 * CHUNK)
    yield "status", client.get(url)
    yield "early finish", client.post(url, json={"checksum": md5(DATA)})
    yield "first chunk, bad", put(client, url, 0, CHUNK, b"x" * CHUNK)
    yield "last chunk", put(client, url, 2 * CHUNK, len(DATA))
    yield "finish without checksum", client.post(url, json={})
    yield "finish, mismatch", client.post(url, data={"checksum": md5(DATA)})
    yield "first chunk, good", put(client, url, 0, CHUNK)
    yield "finish", client.post(url, data={"checksum": md5(DATA), "checksum_algo": "md5"})
    yield "finish again", client.post(url, data={"checksum": md5(DATA)})
    yield "status of it all", client.get(url)
    yield "delete", client.delete(url)
    yield "unknown", client.get(f"{base}00000000-0000-0000-0000-000000000000/")


def frago_whole(client) -> Iterator[tuple[str, httpx.Response]]:
    """What the other conversation can't have: the original never accepts it after a bad chunk."""
    base = "/compat/frago/upload/"
    started = client.post(base, data={"filename": "whole.mp4", "total_size": len(DATA)})
    yield "start by a form", started
    url = f"{base}{started.json()['upload_id']}/"
    yield "chunk", put(client, url, 0, len(DATA))
    yield "finish", client.post(url, data={"checksum": md5(DATA)})
    yield "status", client.get(url)


def drf(client) -> Iterator[tuple[str, httpx.Response]]:
    base = "/compat/drf/upload/"
    yield "no file", client.put(base, data={"filename": "a"})
    yield "no range", client.put(base, data={"filename": "a"}, files={"file": b"x"})
    yield "no name", put(client, base, 0, CHUNK)
    first = put(client, base, 0, CHUNK, filename="clip.mp4")
    yield "first chunk", first
    url = first.json()["url"]
    yield "second chunk", put(client, url, CHUNK, 2 * CHUNK, filename="clip.mp4")
    yield "a gap", put(client, url, 2 * CHUNK + 1, len(DATA), filename="clip.mp4")
    yield "same chunk", put(client, url, CHUNK, 2 * CHUNK, filename="clip.mp4")
    yield "other size", put(client, url, 2 * CHUNK, 2 * CHUNK + 10, b"x", filename="clip.mp4")
    yield "past its total", put(client, url, 2 * CHUNK, 2 * CHUNK + 9, total=2 * CHUNK + 1)
    yield "last chunk", put(client, url, 2 * CHUNK, len(DATA), filename="clip.mp4")
    yield "status", client.get(url)
    yield "finish without checksum", client.post(url)
    yield "finish, mismatch", client.post(url, data={"md5": "0" * 32})
    yield "finish", client.post(url, data={"md5": md5(DATA)})
    yield "finish again", client.post(url, data={"md5": md5(DATA)})
    yield "chunk after it", put(client, url, 0, CHUNK, filename="clip.mp4")
    whole = {"filename": "whole.mp4", "md5": md5(DATA)}
    yield "whole file", client.post(base, data=whole, files={"file": ("whole.mp4", DATA)})
    yield "unknown", client.get(f"{base}00000000-0000-0000-0000-000000000000")
    yield "delete", client.delete(url)


def django(client) -> Iterator[tuple[str, httpx.Response]]:
    base, complete = "/compat/django/upload/", "/compat/django/upload_complete/"
    yield "no file", client.post(base, data={"a": "b"})
    first = put(client, base, 0, CHUNK, method="POST")
    yield "first chunk", first
    known = {"upload_id": first.json()["upload_id"]}
    yield "second chunk", put(client, base, CHUNK, 2 * CHUNK, method="POST", **known)
    yield "a gap", put(client, base, 2 * CHUNK + 1, len(DATA), method="POST", **known)
    yield "same chunk", put(client, base, CHUNK, 2 * CHUNK, method="POST", **known)
    wrong = put(client, base, 2 * CHUNK, 2 * CHUNK + 10, b"x", method="POST", **known)
    yield "other size", wrong
    yield "last chunk", put(client, base, 2 * CHUNK, len(DATA), method="POST", **known)
    yield "finish without checksum", client.post(complete, data=known)
    yield "finish, mismatch", client.post(complete, data={**known, "md5": "0" * 32})
    yield "finish", client.post(complete, data={**known, "md5": md5(DATA)})
    yield "finish again", client.post(complete, data={**known, "md5": md5(DATA)})
    yield "chunk after it", put(client, base, 0, CHUNK, method="POST", **known)
    small = client.post(base, files={"file": ("small.mp4", DATA[:1000])})
    yield "a small file", small
    sums = {"upload_id": small.json()["upload_id"], "md5": md5(DATA[:1000])}
    yield "its finish", client.post(complete, data=sums)
    yield "unknown", client.post(complete, data={"upload_id": "0" * 32, "md5": md5(DATA)})


IDEMPOTENT = "a finish may be repeated: its answer may have been lost"
REPLACEABLE = "a chunk sent again with other bytes replaces the first"
REPEATABLE = "a chunk whose answer was lost may be sent again, and its client goes on"
NO_CRASH = "a request that cannot be read is no fault of the server"
NO_DOWNLOADS = "the server gives no files out; the field says where the file is"

ALLOWED: dict[str, dict[tuple[str, str], str]] = {
    "frago": {
        ("start with a word", "status code"): NO_CRASH,
        ("start with a word", "message"): NO_CRASH,
        ("first chunk, good", "message"): REPLACEABLE,
        ("first chunk, good", "duplicate"): REPLACEABLE,
        ("finish", "status code"): REPLACEABLE,
        ("finish", "status"): REPLACEABLE,
        ("finish", "message"): REPLACEABLE,
        ("finish", "upload_id"): REPLACEABLE,
        ("status of it all", "status"): REPLACEABLE,
        ("status of it all", "completed_at"): REPLACEABLE,
        ("status of it all", "chunks"): REPLACEABLE,
        ("finish again", "status code"): IDEMPOTENT,
        ("finish again", "status"): IDEMPOTENT,
        ("finish again", "message"): IDEMPOTENT,
        ("finish again", "upload_id"): IDEMPOTENT,
    },
    "drf": {
        ("*", "file"): NO_DOWNLOADS,
        ("same chunk", "*"): REPEATABLE,
        ("finish again", "*"): IDEMPOTENT,
    },
    "django": {
        ("same chunk", "*"): REPEATABLE,
        ("unknown", "*"): "an error for a program is JSON, not a page",
    },
}

UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
ORIGIN = re.compile(r"http://127\.0\.0\.1:\d+")


def plain(value: Any) -> Any:
    """Return an answer without what no two servers have in common: ids, times, ports."""
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [plain(member) for member in value]
    if isinstance(value, str):
        return ORIGIN.sub("<origin>", TIME.sub("<time>", UUID.sub("<id>", value)))
    return value


def fields(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = {"status code": answer.status_code}
    if not answer.headers.get("Content-Type", "").startswith("application/json"):
        return found | {"body": "a page"}
    document = plain(answer.json())
    return found | (document if isinstance(document, dict) else {"body": document})


def recorded(conversation: Callable[..., Any], client: httpx.Client) -> Answers:
    return {step: fields(answer) for step, answer in conversation(client)}


def differing(theirs: Answers, ours: Answers) -> set[tuple[str, str]]:
    assert theirs.keys() == ours.keys()
    return {
        (step, field)
        for step, our in ours.items()
        for field in our.keys() | theirs[step].keys()
        if our.get(field) != theirs[step].get(field)
    }


def covers(allowed: tuple[str, str], found: tuple[str, str]) -> bool:
    return all(mine in {"*", other} for mine, other in zip(allowed, found, strict=True))


@pytest.mark.parametrize(
    "conversation", [frago, frago_whole, drf, django], ids=lambda one: one.__name__
)
def test_ours_answers_like_the_original_but_for_what_is_listed(conversation, python, tmp_path):
    with originals(python, tmp_path / "theirs") as client:
        theirs = recorded(conversation, client)
    with compat_site(tmp_path / "ours", "own container") as site:
        ours = recorded(conversation, site.client)

    found = differing(theirs, ours)
    allowed = ALLOWED.get(conversation.__name__, {})
    new = [
        (*one, theirs[one[0]].get(one[1]), ours[one[0]].get(one[1]))
        for one in sorted(found)
        if not any(covers(each, one) for each in allowed)
    ]
    gone = [each for each in allowed if not any(covers(each, one) for one in found)]
    assert new == []
    assert gone == []


def test_the_program_speaks_what_its_configuration_lists(tmp_path):
    server = Server(tmp_path, protocols={"compat": ["drf"]}, compat={"checksum": "sha256"})
    try:
        server.start()
        client = httpx.Client(
            base_url=f"http://127.0.0.1:{server.port}",
            headers={"Authorization": f"Bearer {server.new_token()}"},
        )
        with client:
            whole = {"filename": "whole.mp4", "sha256": sha256(DATA)}
            done = client.post("/compat/drf/upload/", data=whole, files={"file": DATA})
            absent = client.post("/compat/frago/upload/", data={"filename": "a", "total_size": 1})

            assert (done.status_code, absent.status_code) == (200, 404)
            assert done.json()["user"] == DEVICE
            assert [path.read_bytes() for path in server.published_files()] == [DATA]
    finally:
        server.close()
