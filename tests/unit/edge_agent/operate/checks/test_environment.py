"""Another project on PyPI has a module of the agent's name."""

import sys

import pytest

from edge_agent.operate.checks.environment import check_environment


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install packages of empty files."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    def install(name: str, **files: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        for line in files.get("record", "").splitlines():
            path = tmp_path / line.partition(",")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        for file, text in files.items():
            (folder / {"record": "RECORD", "top": "top_level.txt"}[file]).write_text(text)

    return install


def test_this_program_and_what_it_needs_are_no_trouble(installed):
    installed("edge-uploader", record="edge_agent/__init__.py,,\n")
    installed("httpx", record="httpx/__init__.py,,\nhttpx/edge_agent/__init__.py,,\n")
    installed("nothing-told")

    assert list(check_environment()) == []


@pytest.mark.parametrize(
    "files", [{"record": "edge_agent/cli.py,,\n"}, {"top": "other\nedge_agent\n"}]
)
def test_a_package_that_overwrites_files_of_this_one_is_named(installed, files):
    installed("Edge_Uploader", record="edge_agent/__init__.py,,\n")
    installed("edge-agent", **files)

    [found] = check_environment()

    assert (found.level, found.what) == ("WARN", "environment")
    assert found.text.startswith("edge-agent has a module edge_agent, too")
    assert "python3 -m venv" in found.text
