"""Files of a server that moves are copied to a real bucket, whatever happens to the command, the files or the bucket."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing, contextmanager
from hashlib import sha256

import pytest

from ingest_server import cli
from ingest_server.assembly.data_folder import open_as_it_is
from ingest_server.config import load
from ingest_server.core.errors import StateLostError
from ingest_server.server import IngestServer
from ingest_server.storage.s3.bucket import Bucket
from ingest_server.storage.sql.relocation import Relocation
from tests.support.processes import SERVER, toml
from tests.support.s3_proxy import Standstill, answer, flip_sent, flipped, proxy_to, stored_as
from tests.support.seaweed import seaweed
from tests.support.secured import complete, create, put, secured, upload

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MIB = 1024 * 1024
FILES = {"a.mp4": b"a" * (9 * MIB), "b.mp4": b"b" * 1000, "empty.mp4": b""}


class Site:
    """A data folder with published files whose facts stay where they are, and the bucket that gets the files."""

    def __init__(self, folder, store, proxy):
        self.folder, self.proxy = folder, proxy
        self.data_dir = folder / "data"
        self.place = store.place(endpoint=proxy.endpoint)
        self.bucket = Bucket(store.of(self.place.prefix))
        self.config = folder / "new.toml"
        server = {"listen": "127.0.0.1:0", "data_dir": "data"}
        storage = {**store.settings(self.place), "before": "data"}
        self.config.write_text(toml({"server": server, "storage": storage}))
        self.after = folder / "after.toml"
        storage.pop("before")
        self.after.write_text(toml({"server": server, "storage": storage}))

    @property
    def old(self):
        return self.folder / "server.toml"

    def migrate(self, *arguments) -> int:
        to = ["--config", str(self.old), "--to", str(self.config)]
        return cli.main(["migrate", *to, *arguments])

    def objects(self) -> dict[str, bytes]:
        found = {}
        for one in list(self.bucket.listed(self.place.prefix)):
            if "/.ingest-server/" not in one.key:
                found[one.key.split("/")[-1]] = self.bucket.get(one, 0, one.size)
        return found

    def parts_left(self) -> list[str]:
        found = self.bucket._ask("list_multipart_uploads", "", Prefix=self.place.prefix)
        return [one["Key"] for one in found.get("Uploads", ())]

    def published(self, name):
        [path] = (self.data_dir / "published").rglob(name)
        return path

    def source(self):
        with closing(open_as_it_is(load(self.old, environ={}))) as state:
            return Relocation(state).source()


@pytest.fixture(scope="module")
def engines():
    with seaweed() as store, proxy_to(store.endpoint) as proxy:
        yield store, proxy


@pytest.fixture
def site(tmp_path, engines):
    store, proxy = engines
    proxy.clear()
    with secured(tmp_path) as server:
        camera = server.device()
        for name, data in FILES.items():
            begun = create(camera, name=name, length=len(data)).json()["id"]
            if data:
                assert put(camera, begun, data).status_code == 200
            assert complete(camera, begun, data).status_code == 200
    made = Site(tmp_path, store, proxy)
    yield made
    proxy.clear()
    made.bucket.close()


@contextmanager
def in_midst_of(site, kind, *, is_done):
    """Let the command come to a request of that kind, in a process of its own."""
    step = Standstill(is_done=is_done)
    site.proxy.on(kind, step)
    command = [*SERVER, "migrate", "--config", site.old, "--to", site.config]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        try:
            assert step.reached.wait(30), kind
            yield child
        finally:
            child.kill()
            step.go_on.set()


STEP = ("complete", True)
MORE = [
    ("part", True),
    ("get", False),
    ("head", True),
    ("put", True),
    ("begin", True),
    ("part", False),
    ("complete", False),
]


@pytest.mark.parametrize(
    ("kind", "is_done"), [STEP, *(pytest.param(*one, marks=pytest.mark.nightly) for one in MORE)]
)
def test_a_command_that_is_killed_at_any_step_goes_on_where_it_was(site, kind, is_done):
    assert site.migrate() == 0
    with in_midst_of(site, kind, is_done=is_done):
        pass

    assert site.migrate() == 0

    assert site.objects() == FILES
    assert site.parts_left() == []
    assert site.source() is None
    assert {one: site.published(one).read_bytes() for one in FILES} == FILES


def test_what_was_copied_is_not_copied_again(site):
    assert site.migrate() == 0
    assert site.migrate() == 0
    sent = site.proxy.bytes_sent()

    assert site.migrate() == 0

    assert site.proxy.bytes_sent() - sent == 0
    assert sent < 1.1 * sum(map(len, FILES.values()))


def test_a_file_that_is_damaged_at_the_source_is_named_and_not_copied(site, capsys):
    damaged = site.published("a.mp4")
    with damaged.open("r+b") as file:
        file.write(b"!")
    assert site.migrate() == 0
    capsys.readouterr()

    assert site.migrate() == 1

    said = capsys.readouterr()
    assert f"a.mp4: it is damaged where it was: {9 * MIB} bytes with sha-256" in said.err
    assert "1 file could not be copied: see above." in said.out
    assert set(site.objects()) == {"b.mp4", "empty.mp4"}
    assert site.parts_left() == []
    assert site.source() is not None

    assert cli.main(["verify", "--config", str(site.config)]) == 1  # which sets it aside
    assert site.migrate() == 0
    assert (site.data_dir / "quarantine").is_dir()


def test_a_full_bucket_ends_the_command_with_a_sentence_and_it_goes_on_later(site, capsys):
    assert site.migrate() == 0
    site.proxy.on("part", answer(507, "InsufficientStorage"), times=9)
    capsys.readouterr()

    assert site.migrate() == 1

    said = capsys.readouterr().err
    assert "a.mp4: the store is full (InsufficientStorage" in said
    assert "run this again: it goes on where it was" in said
    assert site.parts_left() == []
    site.proxy.clear()
    assert site.migrate() == 0
    assert site.objects() == FILES


def test_what_the_bucket_made_wrong_is_copied_once_more(site):
    assert site.migrate() == 0
    site.proxy.on("part", stored_as(flipped))

    assert site.migrate() == 0

    assert site.objects() == FILES


def test_bytes_that_changed_on_the_way_are_sent_once_more(site):
    assert site.migrate() == 0
    site.proxy.on("part", flip_sent)

    assert site.migrate() == 0

    assert site.objects() == FILES


def test_a_bucket_that_keeps_other_bytes_than_it_was_sent_is_named(site, capsys):
    assert site.migrate() == 0
    site.proxy.on("part", stored_as(flipped), times=9)

    assert site.migrate() == 1

    assert "a.mp4: the store gives back other bytes than it was sent" in capsys.readouterr().err
    assert set(site.objects()) == {"b.mp4", "empty.mp4"}


def test_a_second_command_beside_the_first_is_refused(site, capsys):
    assert site.migrate() == 0
    capsys.readouterr()
    with in_midst_of(site, "part", is_done=False):
        assert site.migrate() == 1
        assert "Another `ingest-server migrate` copies from" in capsys.readouterr().err

    assert site.migrate() == 0


def test_a_name_that_somebody_elses_object_has_is_told_and_nothing_is_overwritten(site, capsys):
    assert site.migrate() == 0
    key = str(site.published("b.mp4").relative_to(site.data_dir / "published"))
    site.bucket.put(site.place.prefix + key, b"theirs")

    assert site.migrate() == 1

    assert f"not copied: {key}:" in capsys.readouterr().err
    assert site.objects() == {**FILES, "b.mp4": b"theirs"}


def test_a_file_that_somebody_moved_away_holds_nothing_up(site, capsys):
    site.published("b.mp4").unlink()
    assert site.migrate() == 0

    assert site.migrate() == 0

    assert "b.mp4 is in neither place" in capsys.readouterr().err
    assert set(site.objects()) == {"a.mp4", "empty.mp4"}


def test_a_name_that_no_key_can_have_is_told_and_holds_no_other_file_up(site, capsys):
    far_down = {"name": "c.mp4", "folder": "/".join(["x" * 200] * 6)}
    with secured(site.folder, server={"name_template": "{folder}/{name}"}) as server:
        upload(server.device("cam"), b"c", **far_down)
    assert site.migrate() == 0
    capsys.readouterr()

    assert site.migrate() == 1

    said = capsys.readouterr()
    assert "c.mp4: its name is longer than that of an object can be" in said.err
    assert "1 file could not be copied: see above." in said.out
    assert site.objects() == FILES


def test_what_a_rule_sends_to_another_bucket_meanwhile_is_not_looked_for(site, capsys):
    assert site.migrate() == 0
    rule = {"match": "drone-7", "bucket": site.place.bucket, "prefix": f"raw/{site.place.prefix}"}
    with secured(site.folder, storage=load_storage(site), route=[rule]) as server:
        receipt = upload(server.device("drone-7"), b"raw", name="raw.mp4")
    assert receipt["published_as"].startswith(f"s3://{site.place.bucket}/raw/")
    capsys.readouterr()

    assert site.migrate() == 0

    said = capsys.readouterr()
    assert said.err == ""
    assert "Copying 3 files, 9.4 MB." in said.out
    assert site.source() is None


def test_no_server_starts_that_could_not_reach_the_files(site):
    assert site.migrate() == 0
    for config, sentence in ((site.old, "was moved to"), (site.after, "Set \\[storage\\] before")):
        with pytest.raises(StateLostError, match=sentence):
            IngestServer(load(config, environ={}))
    marked = site.data_dir / "moved-to"
    marked.rename(site.data_dir / "elsewhere")
    with pytest.raises(StateLostError, match="Is its disk mounted"):
        IngestServer(load(site.config, environ={}))
    (site.data_dir / "elsewhere").rename(marked)

    assert site.migrate() == 0
    for config in (site.config, site.after):
        server = IngestServer(load(config, environ={}))
        server.start()
        server.stop()


def test_a_bucket_that_was_emptied_during_the_move_is_not_begun_anew(site):
    assert site.migrate() == 0
    site.bucket.delete_all([one.key for one in site.bucket.listed(site.place.prefix)])

    with pytest.raises(StateLostError, match="is empty, but the database knows of uploads there"):
        IngestServer(load(site.config, environ={}))

    assert list(site.bucket.listed(site.place.prefix)) == []


def test_the_way_back_is_open_until_the_first_upload(site, capsys):
    assert site.migrate() == 0
    assert site.migrate("--back") == 0
    with secured(site.folder) as server:
        begun = create(server.device("drone-2"), name="c.mp4", length=10).json()["id"]
        assert put(server.device("drone-2"), begun, b"0123456789").status_code == 200

    assert site.migrate() == 0
    with secured(site.folder, storage=load_storage(site)) as server:
        drone = server.device("drone-3")
        create(drone, name="d.mp4", length=10)
    marked(site, at="2040-01-01T00:00:00Z")  # the clock was set back since
    capsys.readouterr()

    assert site.migrate("--back") == 1
    assert "Uploads have begun or ended since 2040" in capsys.readouterr().err


def test_there_is_no_way_back_from_a_file_that_the_bucket_alone_has(site, capsys):
    assert site.migrate() == 0
    with secured(site.folder, storage=load_storage(site)) as server:
        upload(server.device("drone-3"), b"new", name="d.mp4")
    marked(site, at="2040-01-01T00:00:00Z")
    capsys.readouterr()

    site.proxy.on("list", answer(403, "AccessDenied"))
    assert site.migrate("--back") == 1
    assert "What has come since 2040-01-01T00:00:00Z cannot be looked at" in capsys.readouterr().err
    assert site.migrate("--back") == 1
    assert "Uploads have begun or ended since 2040" in capsys.readouterr().err


def marked(site, **said):
    path = site.data_dir / "moved-to"
    path.write_text(json.dumps({**json.loads(path.read_text()), **said}))


def load_storage(site) -> dict[str, str]:
    said = load(site.config, environ={}).storage.model_dump(exclude_none=True)
    return {name: str(value) for name, value in said.items()}


def test_a_dry_run_counts_and_changes_nothing(site, capsys):
    before = {path: sha256(path.read_bytes()).digest() for path in site.data_dir.rglob("*.mp4")}

    assert site.migrate("--dry-run") == 0

    said = capsys.readouterr().out
    assert "3 files, 9.4 MB, to s3://recordings/" in said
    assert "0 uploads" in said
    assert site.source() is None
    assert site.objects() == {}
    assert before == {
        path: sha256(path.read_bytes()).digest() for path in site.data_dir.rglob("*.mp4")
    }


def test_a_server_that_runs_is_left_alone(site, capsys):
    with secured(site.folder):
        assert site.migrate() == 1

    assert "A server runs on" in capsys.readouterr().err
