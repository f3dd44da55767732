"""`make repo`: what apt believes, signed by a key that comes from the environment and is in no file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.requirements import require

TREE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """A key of its own, in ASCII armour."""
    require("gpg")
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-generate-key", "apt@example.org", "ed25519"], check=True)
    made = subprocess.run(
        [*gpg, "--armor", "--export-secret-keys"], capture_output=True, check=True
    )
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
    return made.stdout.decode()


def package(folder, version):
    require("dpkg-deb")
    root = folder / f"root-{version}"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        f"Package: edge-uploader-agent\nVersion: {version}\nArchitecture: amd64\n"
        "Maintainer: nobody <nobody@example.org>\nDescription: a trial\n"
    )
    (folder / "dist").mkdir(exist_ok=True)
    file = folder / "dist" / f"edge-uploader-agent_{version}_amd64.deb"
    subprocess.run(["dpkg-deb", "--build", root, file], check=True, stdout=subprocess.DEVNULL)
    return file


def made(folder, key):
    environment = {name: value for name, value in os.environ.items() if "SIGNING" not in name}
    if key is not None:
        environment["EDGE_UPLOADER_SIGNING_KEY"] = key
    command = [sys.executable, "-m", "release.repo"]
    options = [f"--packages={folder / 'dist'}", f"--into={folder / 'apt'}"]
    return subprocess.run(
        [*command, *options], cwd=TREE, env=environment, capture_output=True, text=True, check=False
    )


def seen_by_apt(folder):
    """Return the versions that apt finds there, if it believes the signature."""
    require("apt-get")
    apt = folder / "root-of-apt"
    for one in ("lists/partial", "etc/preferences.d", "cache/archives/partial"):
        (apt / one).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(
        f"deb [arch=amd64 signed-by={folder}/apt/edge-uploader.gpg] file:{folder}/apt stable main\n"
    )
    places = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "root",
    }
    options = [f"-o{name}={value}" for name, value in places.items()]
    subprocess.run(
        ["apt-get", *options, "-qq", "-o", "APT::Update::Error-Mode=any", "update"], check=True
    )
    shown = subprocess.run(
        ["apt-cache", *options, "madison", "edge-uploader-agent"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.split("|")[1].strip() for line in shown.stdout.splitlines()]


@pytest.mark.slow
def test_apt_takes_each_version_that_was_ever_given_out_by_the_signature(tmp_path, key):
    first = package(tmp_path, "1.0")
    assert made(tmp_path, key).returncode == 0
    assert seen_by_apt(tmp_path) == ["1.0"]

    first.unlink()
    package(tmp_path, "1.1")
    assert made(tmp_path, key).returncode == 0

    assert seen_by_apt(tmp_path) == ["1.1", "1.0"]
    secret = key.splitlines()[3]
    files = [one for one in (tmp_path / "apt").rglob("*") if one.is_file()]
    assert not [one for one in files if secret.encode() in one.read_bytes()]


@pytest.mark.slow
def test_a_changed_index_is_not_believed(tmp_path, key):
    package(tmp_path, "1.0")
    made(tmp_path, key)
    index = tmp_path / "apt/dists/stable/InRelease"
    index.write_text(index.read_text().replace("Label: edge-uploader", "Label: edge-uploades"))

    with pytest.raises(subprocess.CalledProcessError):
        seen_by_apt(tmp_path)


def test_a_version_is_given_out_once(tmp_path, key):
    file = package(tmp_path, "1.0")
    made(tmp_path, key)
    file.write_bytes(file.read_bytes() + b"x")

    again = made(tmp_path, key)

    assert again.returncode == 1
    assert "a version is given out once" in again.stderr


@pytest.mark.parametrize(
    ("wrong", "sentence"), [(None, "is not set"), ("", "is not set"), ("no key", "gpg --import: ")]
)
def test_without_a_key_there_is_a_sentence_and_no_repository(tmp_path, wrong, sentence):
    package(tmp_path, "1.0")

    done = made(tmp_path, wrong)

    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "apt/dists/stable/InRelease").exists()
