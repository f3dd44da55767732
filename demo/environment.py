"""``python3 demo/environment.py FOLDER run|dev``: make the environment that the Makefile works with.

``run`` is what the programs and the demo need and nothing else; ``dev`` is what the tests need, too. A
program of its own, and for any Python 3: this is where an old one is told so.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # of `signal`, what has not to be loaded

_signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # no traceback while what follows is loaded

import fcntl  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
LEAST = (3, 11)

_STAMPS = {"run": (".installed-run",), "dev": (".installed", ".installed-run")}
"""What says that it is done, to the Makefile."""

_CAUSES = (
    (("No space left on device", "Disk quota exceeded"), "the disk is full: make room"),
    (
        ("DO NOT MATCH THE HASHES",),
        "a package is not the one that was tested, or was damaged on the way: if it stays so, report it",
    ),
    (
        ("No matching distribution", "Connection", "Retrying", "resolve", "timed out", "SSLError"),
        "the package index cannot be reached, or lacks it: look at the network, and at pip's settings",
    ),
    (("Permission denied",), "it may not be written: start it in a folder of yours"),
)
"""What pip says -> what it means and what to do."""

_IS_FIT = f"import pip, sys; sys.exit(sys.version_info < {LEAST})"

_SCRIPT = """#!{python}
import sys

from {module} import {function}

sys.exit({function}())
"""


class SetupError(Exception):
    """The environment cannot be made; the text says why, and what to do."""


def _run(command: list[str | Path], log: Path, *, cwd: Path | None = None) -> None:
    """Run *command*, its words in *log*.

    Raises:
        SetupError: it failed.
    """
    with log.open("w", encoding="utf-8") as words:
        done = subprocess.run(command, check=False, stdout=words, stderr=words, cwd=cwd)
    if done.returncode == 0:
        return
    said = log.read_text(encoding="utf-8", errors="replace")
    what = next((text for words_, text in _CAUSES if any(one in said for one in words_)), None)
    if what is None:
        what = (said.strip().splitlines() or ["no reason was given"])[-1]
    raise SetupError(f"The packages cannot be installed: {what}. pip's own words are in {log}.")


def _make(folder: Path, python: Path) -> None:
    """Make an environment with pip, unless there is one.

    Raises:
        SetupError: this Python is too old, or cannot make one.
    """
    if python.exists() and subprocess.call([python, "-c", _IS_FIT], stderr=subprocess.DEVNULL) == 0:
        return
    least = ".".join(map(str, LEAST))
    if sys.version_info < LEAST:
        have = ".".join(map(str, sys.version_info[:3]))
        raise SetupError(
            f"Python {least} or newer is needed, and this is {have} ({sys.executable}): name a newer"
            f" one, as make PYTHON=python{least} run."
        )
    made = subprocess.run(
        [sys.executable, "-m", "venv", folder], check=False, capture_output=True, text=True
    )
    if made.returncode != 0:
        why = (made.stdout + made.stderr).strip().splitlines() or ["no reason was given"]
        hint = " apt install python3-venv brings it." if "ensurepip" in " ".join(why) else ""
        raise SetupError(f"{folder} cannot be made with {sys.executable}: {why[0]}{hint}")


def _begin_anew(folder: Path) -> None:
    """Take away what an installation that was stopped has left: half a package may look like a whole one."""
    for name in ("bin", "include", "lib", "lib64", "share"):
        path = folder / name
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)


def _install(python: Path, folder: Path, kind: str) -> None:
    constraints = ROOT / ("constraints-run.txt" if kind == "run" else "constraints.txt")
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--no-input"]
    # What is imported is compiled then; to compile all of it takes longer than to fetch it.
    pip += ["--no-compile", "--disable-pip-version-check", "--retries", "2"]
    log = folder / "pip.log"
    _run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", constraints], log)
    if kind == "dev":
        # A second step: what is installed from this folder has no hash, and all that it needs is there.
        (_site(python) / "edge_uploader_here.pth").unlink(missing_ok=True)
        _run([*pip, "--no-deps", "--no-build-isolation", "-e", ROOT], log, cwd=ROOT)
    elif not (_site(python) / "_editable_impl_edge_uploader.pth").exists():
        _link(python)


def _site(python: Path) -> Path:
    command: list[str | Path] = [
        python,
        "-c",
        "import sysconfig; print(sysconfig.get_path('purelib'))",
    ]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def _link(python: Path) -> None:
    """Have the programs run from this folder, without what it takes to build a package."""
    import tomllib  # here, for any Python 3 is to come as far as to be told that it is too old

    (_site(python) / "edge_uploader_here.pth").write_text(f"{ROOT}\n", encoding="utf-8")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    for name, place in scripts.items():
        module, _, function = place.partition(":")
        script = python.with_name(name)
        text = _SCRIPT.format(python=python, module=module, function=function)
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)


def _is_done(stamp: Path) -> bool:
    return stamp.exists() and stamp.stat().st_mtime >= (ROOT / "pyproject.toml").stat().st_mtime


def main(arguments: list[str]) -> int:
    """Make or complete the environment; return the exit code."""
    folder, kind = Path(arguments[0]).absolute(), arguments[1]
    python, stamps = folder / "bin" / "python", [folder / name for name in _STAMPS[kind]]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".make.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                print(f"Another make installs into {folder.name}: waiting for it ...", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
                if all(map(_is_done, stamps)):
                    return 0
            print(f"Installing into {folder.name} (once, half a minute) ...", flush=True)
            mark = folder / ".unfinished"
            if mark.exists():
                _begin_anew(folder)
            mark.touch()
            _make(folder, python)
            _install(python, folder, kind)
            mark.unlink()
            for stamp in stamps:
                stamp.touch()
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}; make room, or start it in a folder of yours.")
        return 1
    except KeyboardInterrupt:
        print("\nStopped while installing; the same command goes on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
