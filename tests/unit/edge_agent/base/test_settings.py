"""Settings in layers: the file, variables, options; what is wrong with them in one sentence each."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_agent.base.credentials import read_secret
from edge_agent.base.errors import ConfigError
from edge_agent.base.rule_settings import (
    DeadlineSettings,
    LinkSettings,
    PlanSettings,
    PrioritySettings,
)
from edge_agent.base.settings import AgentSettings, WatchSettings
from edge_agent.base.settings_loading import _REQUIRED, load
from edge_host.settings import Layers
from tests.support.agent_settings import GOOD, problems, read

LISTS = (DeadlineSettings, LinkSettings, PlanSettings, PrioritySettings)


KEYS = Layers(AgentSettings, ConfigError).keys


EXAMPLE = Path(__file__).parents[4] / "config.example.toml"


@contextmanager
def folder_that_nobody_may_enter() -> Iterator[Path]:
    """Yield a folder outside of pytest's own, which are root's alone; act as another user meanwhile."""
    with tempfile.TemporaryDirectory() as base:
        closed = Path(base, "home")
        (closed / "media").mkdir(parents=True)
        Path(base).chmod(0o777)
        closed.chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield closed
        finally:
            os.seteuid(user)
            closed.chmod(0o700)


def test_the_example_holds_every_key_with_its_default():
    example = load(EXAMPLE, {}, {}).settings
    text = EXAMPLE.read_text()

    defaults = AgentSettings(
        device_id="drone-01",
        watch={"folder": "/media/camera"},
        server={"url": "https://ingest.example.org"},
    )
    written = set(re.findall(r"^#?([a-z_]+) = ", text, re.MULTILINE))

    assert example == defaults
    # Keys of a list of tables are not known one by one.
    of_lists = {key for one in LISTS for key in one.model_fields}
    assert (
        written
        == ({key[-1] for key in KEYS} - {"deadline", "link", "plan", "priority", "watch"})
        | of_lists
    )


def test_the_option_beats_the_variable_beats_the_file_beats_the_default(tmp_path):
    text = GOOD + "settle = 1\n".replace("settle = 1\n", "") + "[log]\nlevel = 'debug'\n"
    variable = {"EDGE_AGENT_LOG__LEVEL": "warning"}
    option = {"log.level": ("error", "--log-level")}

    assert load(EXAMPLE, {}, {}).settings.log.level == "info"
    assert read(tmp_path, text).settings.log.level == "debug"
    assert read(tmp_path, text, environment=variable).settings.log.level == "warning"
    assert read(tmp_path, text, environment=variable, options=option).settings.log.level == "error"


def test_everything_can_come_from_variables_alone(tmp_path):
    environment = {
        "EDGE_AGENT_DEVICE_ID": "d1",
        "EDGE_AGENT_WATCH__FOLDER": str(tmp_path),
        "EDGE_AGENT_WATCH__PATTERNS": "*.mp4, *.mkv",
        "EDGE_AGENT_SERVER__URL": "https://x.example/prefix/",
        "EDGE_AGENT_UPLOAD__MAX_RATE": "500KB",
        "EDGE_AGENT_MQTT__URL": "",
    }

    settings = load(None, environment, {}).settings

    assert settings.watch[0].patterns == ("*.mp4", "*.mkv")
    assert settings.server.url == "https://x.example/prefix"
    assert settings.upload.max_rate == 500_000
    assert settings.mqtt.url is None


def test_a_list_of_tables_in_a_variable_is_json_and_else_one_sentence(tmp_path):
    good = {"EDGE_AGENT_PRIORITY": '[{"match": "*.mcap", "value": 3}]'}
    bad = {"EDGE_AGENT_PRIORITY": "*.mcap=3"}

    assert read(tmp_path, GOOD, environment=good).settings.priority[0].value == 3
    (problem,) = problems(tmp_path, GOOD, environment=bad)
    assert problem.startswith("the variable EDGE_AGENT_PRIORITY must be JSON")


def test_a_value_where_a_table_belongs_is_refused_whatever_lies_over_it(tmp_path):
    (problem,) = problems(
        tmp_path, "log = 3\n" + GOOD, environment={"EDGE_AGENT_LOG__LEVEL": "debug"}
    )

    assert problem == f"{tmp_path}/agent.toml: log is a table: write its keys below [log]"


def test_a_path_in_the_file_is_relative_to_the_file(tmp_path):
    settings = read(tmp_path, GOOD).settings

    assert settings.watch[0].folder == tmp_path / "media"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "settle_second = 1",
            r"there is no key \[watch\] settle_second; did you mean \[watch\] settle_seconds\?",
        ),
        ('settle_seconds = "soon"', r"\[watch\] settle_seconds must be a number"),
        ("settle_seconds = true", r"\[watch\] settle_seconds must be a number, not true or false"),
        ("settle_seconds = 0", r"\[watch\] settle_seconds must be greater than 0"),
        ("settle_seconds = nan", r"\[watch\] settle_seconds must be a finite number"),
        ("recursive = 'perhaps'", r"\[watch\] recursive must be true or false"),
        ("patterns = [1]", r"\[watch\] patterns must be text in quotes"),
        ("patterns = ['a/b']", r'\[watch\] patterns: each pattern is for a name, without "/"'),
    ],
)
def test_a_wrong_value_is_one_sentence_with_file_and_key(tmp_path, change, expected):
    (problem,) = problems(tmp_path, GOOD.replace("[server]", f"{change}\n[server]"))

    assert problem.startswith(str(tmp_path / "agent.toml"))
    assert re.search(expected, problem)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ingest.example.org", "must begin with http:// or https://"),
        ("https://", "has no usable host"),
        ("https://[::1", "is not a URL"),
        ("https://x:0", "has no usable host"),
        ("https://user:hunter2@x", "must not hold a user or password"),
        ("https://x/?q=hunter2", 'must end before any "?"'),
    ],
)
def test_a_bad_address_is_told_without_repeating_it(tmp_path, url, expected):
    (problem,) = problems(tmp_path, GOOD.replace("http://127.0.0.1:8080", url))

    assert expected in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "is empty, and no path: leave it out"), ("a\\u0000b", "has a NUL, which no path has")],
)
def test_a_path_that_is_none_is_refused_in_one_sentence(tmp_path, text, why):
    where = tmp_path / "agent.toml"

    assert problems(tmp_path, f'{GOOD}[upload]\nhold_file = "{text}"\n') == [
        f"{where}: [upload] hold_file {why}"
    ]
    assert problems(tmp_path, GOOD.replace('"media"', f'"{text}"')) == [
        f"{where}: [watch] folder {why}"
    ]


def test_an_option_that_is_no_path_is_refused_and_not_the_folder_that_one_stands_in(tmp_path):
    options = {"upload.hold_file": ("", "--set upload.hold_file=")}

    said = (
        "the option --set upload.hold_file=: [upload] hold_file is empty, and no path: leave it out"
    )
    assert problems(tmp_path, GOOD, options=options) == [said]


def test_a_huge_value_is_refused_in_a_sentence_that_can_be_read(tmp_path):
    [said] = problems(tmp_path, f'{GOOD}[upload]\ntimetable = ["{"x" * 100_000}"]\n')

    assert "timetable: 'xxx" in said
    assert len(said) < 1000


def test_every_problem_is_told_not_only_the_first(tmp_path):
    found = problems(tmp_path, 'device_id = "Drone 1"\n[serve]\nurl = "x"\n')

    assert len(found) == 4
    assert any('try "drone-1"' in one for one in found)
    assert any("watch.folder must be set" in one for one in found)
    assert any("server.url must be set" in one for one in found)
    assert any("there is no key serve; did you mean server?" in one for one in found)


def test_a_secret_in_the_wrong_place_is_not_shown(tmp_path):
    found = problems(tmp_path, GOOD + '[upload]\nmax_rate = "hunter2"\nmin_request = "hunter2"\n')

    assert len(found) == 2
    assert "hunter2" not in " ".join(found)


def test_a_misspelt_variable_and_a_misspelt_option_are_problems(tmp_path):
    found = problems(
        tmp_path,
        GOOD,
        environment={"EDGE_AGENT_UPLOAD__MAX_RAT": "1"},
        options={"watch.foldr": ("x", "--set watch.foldr")},
    )

    assert found == [
        "the variable EDGE_AGENT_UPLOAD__MAX_RAT sets no key;"
        " did you mean EDGE_AGENT_UPLOAD__MAX_RATE?",
        "--set watch.foldr: there is no key 'watch.foldr'; did you mean [watch] folder?",
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a = = 1", r"not valid TOML: .*line 1"),
        (b"a = '\xff'", r"not UTF-8 text \(byte 5\)"),
        (b"a = 1\na = 'secret'\n", r"line 2.*\); a clashes with what stands above it$"),
        (b"[watch]\na = 1\n[watch]\n", r"line 3.*\); \[watch\] clashes with what stands above it$"),
        (b"a = 1\na = 'secret'", r"; a clashes with what stands above it$"),
    ],
)
def test_a_broken_file_is_one_sentence_with_the_place(tmp_path, content, expected):
    file = tmp_path / "agent.toml"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=expected) as caught:
        load(file, {}, {})

    assert str(file) in str(caught.value)


def test_a_file_that_was_named_must_exist(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load(tmp_path / "absent.toml", {}, {})


def test_without_any_file_the_first_sentence_says_where_it_was_looked_for(monkeypatch, tmp_path):
    monkeypatch.setattr("edge_agent.base.settings_loading.DEFAULT_FILE", tmp_path / "agent.toml")

    with pytest.raises(ConfigError) as caught:
        load(None, {}, {})

    assert f"{tmp_path}/agent.toml does not exist" in caught.value.problems[0]
    assert "--config" in caught.value.problems[0]


@pytest.mark.parametrize("content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA"])
def test_a_ca_file_without_a_certificate_is_told_for_plain_http_too(tmp_path, content):
    (tmp_path / "ca.pem").write_text(content)

    [problem] = problems(tmp_path, GOOD + f'ca_file = "{tmp_path}/ca.pem"\n')

    assert "ca.pem holds no certificate" in problem


def test_files_that_the_settings_name_must_be_readable(tmp_path):
    text = GOOD + f'token_file = "{tmp_path}/absent"\nca_file = "{tmp_path}"\n'

    found = problems(tmp_path, text)

    assert found == [
        f"[server] token_file: {tmp_path}/absent does not exist",
        f"[server] ca_file: {tmp_path} is a folder",
    ]


def test_the_watched_folder_may_be_absent_but_must_not_be_a_file(tmp_path):
    absent = read(tmp_path, GOOD.replace('"media"', '"card"'))
    (tmp_path / "card").write_text("")

    assert any("does not exist (yet)" in one for one in absent.warnings)
    assert "is a file" in problems(tmp_path, GOOD.replace('"media"', '"card"'))[0]


def test_a_watched_folder_that_may_not_be_entered_is_waited_for_and_said():
    with folder_that_nobody_may_enter() as closed:
        loaded = read(closed.parent, GOOD.replace('"media"', f'"{closed}/media"'))

    assert any("may not be entered by this user" in one for one in loaded.warnings)


def test_a_token_file_in_a_closed_folder_is_one_sentence():
    with folder_that_nobody_may_enter() as closed:
        found = problems(closed.parent, GOOD + f'token_file = "{closed}/token"\n')

    assert found == [
        f"[server] token_file: {closed}/token cannot be read by this user: Permission denied"
    ]


def test_the_state_folder_must_not_lie_in_the_watched_one(tmp_path):
    (problem,) = problems(tmp_path, 'state_dir = "media/state"\n' + GOOD)

    assert "lies in the watched folder" in problem


def test_plain_http_to_another_machine_is_said_loudly_and_allowed(tmp_path):
    loaded = read(tmp_path, GOOD.replace("127.0.0.1", "ingest.example.org"))

    assert any("plain http to another machine" in one for one in loaded.warnings)
    assert read(tmp_path, GOOD).warnings == ()


def test_a_token_that_others_may_read_is_a_warning(tmp_path):
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o644)

    loaded = read(tmp_path, GOOD + 'token_file = "token"\n')

    assert any(f"chmod 600 {token}" in one for one in loaded.warnings)


def test_systemds_credential_comes_before_the_file(tmp_path, monkeypatch):
    (tmp_path / "device-token").write_text("from-systemd\n")
    file = tmp_path / "token"
    file.write_text("from-file\n")

    assert read_secret("device-token", file) == "from-file"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret("device-token", file) == "from-systemd"
    assert read_secret("mqtt-password", None) is None


@pytest.mark.parametrize("content", [b"", b"two words", b"a\nb\n", b"\xff\xfe"])
def test_a_file_that_holds_no_single_secret_is_refused_without_showing_it(tmp_path, content):
    file = tmp_path / "token"
    file.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        read_secret("device-token", file)

    assert str(file) in str(caught.value)
    assert "words" not in str(caught.value).replace("one line", "")


def test_the_required_keys_are_those_without_a_default():
    for key in KEYS:
        model: Any = AgentSettings
        for part in key[:-1]:
            model = model.model_fields[part].annotation
            model = WatchSettings if part == "watch" else model
        if key == ("watch",):
            continue  # it is not written for its own sake
        assert model.model_fields[key[-1]].is_required() == (key in _REQUIRED)


@pytest.mark.parametrize("key", ['done_marker = ".mp4"', 'lock_markers = [".lock", ".MP4"]'])
def test_a_marker_that_ends_the_names_of_all_recordings_is_refused(tmp_path, key):
    of_all = f'folder = "media"\npatterns = ["*.mp4"]\n{key}'
    of_some = f'folder = "media"\npatterns = ["*.mp4", "*.mov"]\n{key}'

    [said] = problems(tmp_path, GOOD.replace('folder = "media"', of_all))

    assert f"[watch] {key.partition(' ')[0]}: " in said
    assert "is the end of all names that fit the patterns" in said
    file = tmp_path / "agent.toml"
    file.write_text(GOOD.replace('folder = "media"', of_some))
    assert load(file, {}, {}, looks_at_files=False).settings.watch
