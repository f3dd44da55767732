"""Container images of the tests' own: built by Buildah, run by Podman, in a store that is thrown away."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.requirements import require, require_root

_RUNTIME = f'''#!{sys.executable}
"""runc, where root may not raise the limits that Podman sets for each container (CAP_SYS_RESOURCE)."""
import json
import os
import sys

given = sys.argv[1:]


def strip(path, find):
    with open(path) as file:
        document = json.load(file)
    find(document).pop("rlimits", None)
    with open(path, "w") as file:
        json.dump(document, file)


if "--bundle" in given:
    strip(given[given.index("--bundle") + 1] + "/config.json", lambda found: found["process"])
if "exec" in given and "--process" in given:
    strip(given[given.index("--process") + 1], lambda found: found)
os.execv("@RUNC@", ["runc", *given])
'''


class Images:
    """Builds and runs images; nothing is fetched but by the steps of a build."""

    def __init__(self, folder: Path) -> None:
        require_root()
        for program in ("buildah", "podman", "runc"):
            require(program)
        runtime = folder / "runtime"
        runtime.write_text(_RUNTIME.replace("@RUNC@", str(require("runc"))))
        runtime.chmod(0o755)
        store, engine = folder / "storage.conf", folder / "containers.conf"
        where = f'graphroot = "{folder}/store"\nrunroot = "{folder}/run"\n'
        store.write_text(f'[storage]\ndriver = "overlay"\n{where}')
        engine.write_text(
            '[engine]\ncgroup_manager = "cgroupfs"\nruntime = "runc"\nevents_logger = "file"\n'
            f"[engine.runtimes]\nrunc = [{json.dumps(str(runtime))}]\n"
        )
        self._env = os.environ | {
            "CONTAINERS_STORAGE_CONF": str(store),
            "CONTAINERS_CONF": str(engine),
        }

    def run(self, *command: object, code: int = 0) -> str:
        """Return what a command printed, on both."""
        done = subprocess.run(
            [str(one) for one in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
            env=self._env,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def succeeds(self, *command: object) -> bool:
        done = subprocess.run(
            [str(one) for one in command],
            capture_output=True,
            timeout=60,
            check=False,
            env=self._env,
        )
        return done.returncode == 0

    def have(self, name: str, root: Path) -> None:
        """Let the files of *root* be the image *name* that builds begin with."""
        archive = self._env["CONTAINERS_CONF"] + ".tar"
        left_out = [f"--exclude=./{one}/*" for one in ("dev", "proc", "sys")]
        subprocess.run(["tar", "-C", root, *left_out, "-cf", archive, "."], check=True, timeout=300)
        self.run("podman", "import", "--quiet", archive, name)
        Path(archive).unlink()

    def build(self, name: str, containerfile: Path, context: Path) -> None:
        options = ("--pull=never", "--isolation=chroot", "--network=host", "--format=docker")
        self.run("buildah", "build", *options, "-f", containerfile, "-t", name, context)

    def close(self) -> None:
        self.succeeds("podman", "rm", "--all", "--force", "--time=1")


@contextmanager
def images(folder: Path) -> Iterator[Images]:
    folder.mkdir()
    one = Images(folder)
    try:
        yield one
    finally:
        one.close()
        shutil.rmtree(folder, ignore_errors=True)
