"""What is wrong with a configuration: said alike by both programs."""

import pytest

from edge_agent.base.settings_loading import load as load_agent
from edge_host.errors import ConfigError
from edge_host.setting_errors import said_of
from ingest_server.config import load as load_server

AGENT = 'device_id = "d1"\n[watch]\nfolder = "/srv"\n[server]\nurl = "https://h:1"\n'
FAULTS = {
    "no level": '[log]\nlevel = "loud"\n',
    "a flag for a text": "[log]\nlevel = true\n",
    "no key": '[log]\nlevl = "info"\n',
    "no table": '[lgo]\nlevel = "info"\n',
    "twice": '[log]\nlevel = "info"\n[log]\n',
    "no TOML": "[log\n",
    "no text": "# \udcff\n",
}


def said(load, path):
    with pytest.raises(ConfigError) as caught:
        load(path)
    return caught.value.problems


@pytest.mark.parametrize("text", FAULTS.values(), ids=FAULTS.keys())
def test_both_programs_say_the_same_of_the_same_fault(tmp_path, text):
    path = tmp_path / "a.toml"

    path.write_text(AGENT + text, errors="surrogateescape")
    of_agent = said(lambda one: load_agent(one, {}, {}, looks_at_files=False), path)
    # The place of a fault is told, too: as many bytes, and as many lines, stand before it.
    lines = AGENT.count("\n")
    path.write_text("#" * (len(AGENT) - lines) + "\n" * lines + text, errors="surrogateescape")
    of_server = said(lambda one: load_server(one, environ={}), path)

    assert of_agent == of_server
    assert str(path) in of_agent[0]


@pytest.mark.parametrize("what", ["missing", "a folder", "a link to itself"])
def test_both_programs_say_the_same_of_a_file_that_cannot_be_read(tmp_path, what):
    path = tmp_path / "a.toml"
    if what == "a folder":
        path.mkdir()
    elif what == "a link to itself":
        path.symlink_to(path)

    of_agent = said(lambda one: load_agent(one, {}, {}, looks_at_files=False), path)

    assert of_agent == said(lambda one: load_server(one, environ={}), path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("must be set", "[log] level must be set"),
        ("is no level", "[log] level is no level"),
        ("'x' is no level", "[log] level: 'x' is no level"),
        ("issues are none", "[log] level: issues are none"),
    ],
)
def test_what_is_wrong_follows_the_key_or_stands_behind_a_colon(text, sentence):
    assert said_of("[log] level", text) == sentence
