"""Manual pages and completion: read by the programs that read them, and they know every command."""

import gzip
import shlex
import subprocess

import pytest

from release.manual import PROGRAMS, completion, page, put
from tests.support.requirements import require

SIDES = tuple(PROGRAMS)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Leave the variables that the tools look for as they were."""
    for name in ("SOURCE_DATE_EPOCH", "COLUMNS"):
        monkeypatch.setenv(name, "0")


COMMANDS = {"agent": ("status", "upload", "retry"), "server": ("token", "verify", "restore")}


def shell(program: str, script: str, cwd) -> str:
    done = subprocess.run(
        [require(program), *(["--norc"] if program == "bash" else []), "-c", script],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("side", SIDES)
def test_man_reads_the_page_without_a_warning_and_shows_each_command(side, tmp_path):
    source = tmp_path / "page.1"
    source.write_text(page(side))

    done = subprocess.run(
        [require("groff"), "-man", "-Tutf8", "-ww", "-rLL=90n", "-P-cbou", source],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert "warning: macro" not in done.stderr
    assert "error" not in done.stderr
    for command in COMMANDS[side]:
        assert f"{PROGRAMS[side]} {command}" in done.stdout
    assert "/etc/edge-uploader/" in done.stdout


@pytest.mark.parametrize("side", SIDES)
def test_what_most_commands_take_is_described_once(side):
    entries = page(side).split(".TP\n")

    for option in ("\\-h, \\-\\-help", "\\-\\-config FILE"):
        described = [one for one in entries if one.startswith(f".B {option}\n")]
        assert len(described) == (2 if "help" in option else 1), (
            option
        )  # the program has its own help
    common, _, commands = page(side).partition(".SH COMMANDS\n")
    assert ".SH COMMON OPTIONS\n" in common
    assert ".B \\-\\-json\n" in commands


@pytest.mark.parametrize("side", SIDES)
def test_bash_completes_commands_and_options(side, tmp_path):
    program, command = PROGRAMS[side], COMMANDS[side][0]
    script = tmp_path / "completion.bash"
    script.write_text(completion(side, "bash"))
    (tmp_path / "clip.mp4").touch()

    def completed(*words: str) -> list[str]:
        line = " ".join(words)
        return shell(
            "bash",
            f"source {script}; f=$(complete -p {program} | sed 's/.*-F \\([^ ]*\\).*/\\1/');"
            f" COMP_WORDS=({line} ''); COMP_WORDS=({' '.join(map(shlex.quote, words))});"
            f" COMP_CWORD={len(words) - 1}; COMP_LINE={shlex.quote(line)}; COMP_POINT={len(line)};"
            f' $f {program} {shlex.quote(words[-1])}; printf "%s\\n" "${{COMPREPLY[@]}}"',
            tmp_path,
        ).split()

    assert command in completed(program, command[:3])
    assert "--config" in completed(program, command, *(["add"] if side == "server" else []), "--c")
    if side == "agent":
        assert "clip.mp4" in completed(program, "upload", "cl")


@pytest.mark.parametrize("side", SIDES)
def test_a_package_holds_them_where_a_debian_looks_for_them(side, tmp_path):
    put(side, tmp_path, "0")

    program = PROGRAMS[side]
    assert sorted(
        str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file()
    ) == [
        f"usr/share/bash-completion/completions/{program}",
        f"usr/share/fish/vendor_completions.d/{program}.fish",
        f"usr/share/man/man1/{program}.1.gz",
        f"usr/share/zsh/vendor-completions/_{program}",
    ]


def test_the_same_sources_give_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        put("agent", tmp_path / name, "1795219735")

    first, second = (
        {one.name: one.read_bytes() for one in (tmp_path / name).rglob("*") if one.is_file()}
        for name in ("first", "second")
    )

    assert first == second
    assert b'"2026\\-11\\-21"' in gzip.decompress(first["edge-agent.1.gz"])
