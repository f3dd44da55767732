import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge_host.errors import ConfigError
from ingest_server.assembly.settings import media_origin, needs_restart, notice_rules
from ingest_server.config import ENV_PREFIX, ServerConfig, load
from ingest_server.core.choosing import DeviceChoice
from ingest_server.fleet.notice_rules import NoticeRule

EXAMPLE = Path(__file__).parents[4] / "server.example.toml"


@pytest.fixture
def toml(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "server.toml"
        path.write_text(text)
        return path

    return write


def faults(path=None, *, environ=None, **more) -> list[str]:
    with pytest.raises(ConfigError) as failure:
        load(path, environ=environ or {}, **more)
    return failure.value.problems


def test_the_example_shows_every_key_with_its_default():
    shown = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE))
    defaults = ServerConfig()

    for section, keys in shown.items():
        assert keys.keys() == set(type(getattr(defaults, section)).model_fields), section
    assert shown.keys() | {"webhook", "route", "notify"} == set(ServerConfig.model_fields)
    assert load(EXAMPLE, environ={}) == defaults


def test_without_anything_the_defaults_hold():
    assert load(None, environ={}) == ServerConfig()


def test_the_nearer_to_the_operator_the_more_it_counts(toml):
    path = toml('[server]\nlisten = "127.0.0.1:1"\nthreads = 11\ndata_dir = "/file"')
    environ = {
        "INGEST_SERVER_SERVER__LISTEN": "127.0.0.1:2",
        "INGEST_SERVER_SERVER__THREADS": "12",
    }

    config = load(path, environ=environ, listen="127.0.0.1:3")

    assert config.server.listen == "127.0.0.1:3"
    assert config.server.threads == 12
    assert config.server.data_dir == Path("/file")


def test_paths_in_a_file_start_at_its_folder_and_others_where_the_program_was_started(toml):
    path = toml(
        '[server]\ndata_dir = "data"\nlisten = "unix:run/x.sock"\n'
        '[metrics]\nlisten = "unix:run/m.sock"\n[tls]\ncert_file = "c"\nkey_file = "/k"\n'
        '[[webhook]]\nurl = "https://h.example/"\nsecret_file = "s"'
    )

    assert load(path, environ={}).server.data_dir == path.parent / "data"
    assert load(path, environ={}).address.path == str(path.parent / "run/x.sock")
    assert load(path, environ={}).metrics.listen == f"unix:{path.parent}/run/m.sock"
    assert load(path, environ={}).tls.cert_file == path.parent / "c"
    assert load(path, environ={}).tls.key_file == Path("/k")
    assert load(path, environ={}).webhook[0].secret_file == path.parent / "s"
    environ = {"INGEST_SERVER_SERVER__DATA_DIR": "elsewhere"}
    assert load(path, environ=environ).server.data_dir == Path("elsewhere")
    assert load(path, environ={}, data_dir=Path("here")).server.data_dir == Path("here")


def test_sizes_are_written_for_people(toml):
    path = toml('[limits]\nmax_length = "8MiB"\nmin_free = "500KB"\nmin_rate = 2000')

    limits = load(path, environ={}).limits

    assert (limits.max_length, limits.min_free, limits.min_rate) == (8 << 20, 500_000, 2000)


def test_a_fault_of_a_webhook_is_told_with_its_number(toml):
    good = '[[webhook]]\nurl = "https://h.example/"\nsecret_file = "s"\n'
    path = toml(f'{good}{good}urll = "x"\nallow_private = "perhaps"')

    assert faults(path) == [
        f"{path}: [[webhook]] number 2: allow_private must be true or false",
        f"{path}: [[webhook]] number 2: there is no key urll; did you mean url?",
    ]


def test_a_list_in_the_environment_is_json():
    config = load(None, environ={"INGEST_SERVER_AUTH__HOSTS": '["box.local"]'})

    assert config.auth.hosts == ("box.local",)


WRONG = {
    "misspelt key": (
        "[server]\nthread = 3",
        "{path}: there is no key [server] thread; did you mean [server] threads?",
    ),
    "misspelt section": (
        "[limit]\nmax_length = 3",
        "{path}: there is no key limit; did you mean limits?",
    ),
    "a key outside of its section": (
        'listen = "127.0.0.1:1"',
        "{path}: there is no key listen; did you mean [server] listen?",
    ),
    "no number": (
        '[server]\nthreads = "many"',
        "{path}: [server] threads must be a whole number",
    ),
    "true is no number": (
        "[server]\nthreads = true",
        "{path}: [server] threads must be a number, not true or false",
    ),
    "too few": (
        "[server]\nthreads = 0",
        "{path}: [server] threads must be greater than or equal to 1",
    ),
    "no size": (
        '[limits]\nmax_length = "8 apples"',
        '{path}: [limits] max_length must be a size such as "8MiB" or "500KB"',
    ),
    "no time": (
        "[expiry]\nidle_days = 0",
        "{path}: [expiry] idle_days must be greater than 0",
    ),
    "endless": (
        "[limits]\nread_timeout_s = inf",
        "{path}: [limits] read_timeout_s must be a finite number",
    ),
    "no address": (
        '[server]\nlisten = "8080"',
        "{path}: [server] listen: '8080' is no address; "
        "write 127.0.0.1:8080, [::]:8080 or unix:/run/ingest/server.sock",
    ),
    "no section": (
        "server = 3",
        "{path}: server is a table: write its keys below [server]",
    ),
    "an unknown mode": (
        '[auth]\nmode = "opn"',
        "{path}: [auth] mode must be 'token' or 'open'",
    ),
    "a proxy's socket that nobody listens on": (
        '[server]\nproxy_socket = "/run/other.sock"',
        "{path}: [server] proxy_socket is /run/other.sock, which is not where the server listens "
        '(127.0.0.1:8080): set listen = "unix:/run/other.sock", or name the proxy by proxy_secret_file',
    ),
    "a page that is no origin": (
        '[protocols]\ncors_origins = ["https://app.example/"]',
        "{path}: [protocols] cors_origins: 'https://app.example/' is not an origin such as "
        '"https://app.example" or "*"',
    ),
    "an unknown protocol": (
        '[protocols]\ncompat = ["ftp"]',
        "{path}: [protocols] compat must be 'frago', 'drf', 'django', 'django-init' or 'turbo'",
    ),
    "an unknown algorithm": (
        '[compat]\nchecksum = "md55"',
        "{path}: [compat] checksum: hashlib has no 'md55'; md5 and sha256 are usual",
    ),
    "no URL": (
        '[server]\npublic_url = "ingest.example"',
        "{path}: [server] public_url must start with http:// or https://",
    ),
    "open to the world": (
        '[server]\nlisten = "0.0.0.0:80"\n[auth]\nmode = "open"',
        "{path}: [auth] mode: 'open' asks nobody for a credential and is refused on "
        "0.0.0.0:80, which other machines can reach; listen on 127.0.0.1 or a unix: socket, "
        'or set mode = "token"',
    ),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_a_fault_in_the_file_is_one_sentence_with_its_place(toml, text, sentence):
    path = toml(text)

    assert faults(path) == [sentence.format(path=path)]


def test_a_name_template_is_checked_before_the_server_starts(toml):
    (sentence,) = faults(toml('[server]\nname_template = "{device}"'))

    assert "server.toml: [server] name_template" in sentence
    assert "{name}" in sentence


def test_all_faults_are_told_at_once(toml):
    path = toml('[server]\nthreads = 0\n[log]\nlevel = "loud"')

    assert len(faults(path, environ={"INGEST_SERVER_SERVER__LISTN": "x"})) == 3


@pytest.mark.parametrize(
    ("text", "part"),
    [(b"[server", "not valid TOML"), (b"a = '\xff'", "not UTF-8")],
)
def test_a_broken_file_is_one_sentence_with_its_path(tmp_path, text, part):
    path = tmp_path / "server.toml"
    path.write_bytes(text)

    (sentence,) = faults(path)

    assert str(path) in sentence
    assert part in sentence


def test_a_missing_file_is_no_reason_for_silent_defaults(tmp_path):
    path = tmp_path / "none.toml"

    assert faults(path) == [f"the configuration file {path} does not exist"]


def test_a_folder_is_no_configuration_file(tmp_path):
    assert "is a folder" in faults(tmp_path)[0]


def test_a_misspelt_variable_is_refused_with_the_nearest_there_is():
    (sentence,) = faults(environ={"INGEST_SERVER_LIMITS__MIN_FRE": "1"})

    assert sentence == (
        "the variable INGEST_SERVER_LIMITS__MIN_FRE sets no key; "
        "did you mean INGEST_SERVER_LIMITS__MIN_FREE?"
    )


def test_a_wrong_value_is_told_with_the_variable_or_option_that_has_it(toml):
    path = toml('[server]\nlisten = "127.0.0.1:1"')
    environ = {"INGEST_SERVER_SERVER__LISTEN": "nonsense"}

    assert faults(path, environ=environ)[0].startswith(
        "the variable INGEST_SERVER_SERVER__LISTEN: [server] listen: "
    )
    assert faults(path, listen="x")[0].startswith("the option --listen: [server] listen: ")
    assert (
        "INGEST_SERVER_AUTH__HOSTS must be JSON"
        in faults(environ={"INGEST_SERVER_AUTH__HOSTS": "a,b"})[0]
    )


def test_a_value_is_not_shown_for_it_may_be_a_secret_in_the_wrong_place(toml):
    text = '[auth]\nmode = "edt_secret"\n[server]\nthreads = "edt_secret"\nx = "edt_secret"'

    assert "edt_secret" not in " ".join(faults(toml(text)))


def test_the_configuration_cannot_change_under_a_reader():
    server: Any = ServerConfig().server

    with pytest.raises(ValueError, match="frozen"):
        server.threads = 5


def test_these_tests_see_no_variable_of_the_developer():
    assert not [name for name in os.environ if name.startswith(ENV_PREFIX)]


def test_where_facts_and_files_are_is_taken_over_by_a_restart_alone():
    other = load(None, environ={"INGEST_SERVER_STORAGE__BLOBS": "s3://recordings/field"})

    assert needs_restart(load(None, environ={}), other) == ["[storage] blobs"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("BLOBS", "recordings"),
        ("BLOBS", "s3://"),
        ("BLOBS", "s3://recordings//field"),
        ("BLOBS", "s3://recordings/../field"),
        ("BLOBS", "file:///srv"),
        ("ENDPOINT", "https://s3.example.org"),
        ("REGION", "eu-central-1"),
    ],
)
def test_a_bucket_that_cannot_be_named_so_is_one_sentence(key, value):
    with pytest.raises(ConfigError) as caught:
        load(None, environ={f"INGEST_SERVER_STORAGE__{key}": value})

    assert len(caught.value.problems) == 1


ROUTES = {
    "nothing goes there": ('prefix = "a"', "number 1", "says of nothing that it goes there"),
    "it goes nowhere": ('match = "a"', "number 1", "says of nothing where it goes"),
    "no folder": ('match = "a"\nprefix = "../x"', "number 1: prefix", "must be folders"),
    "our own folder": (
        'match = "a"\nprefix = ".ingest-server"',
        "number 1: prefix",
        "must be folders",
    ),
    "too long": (f'match = "a"\nprefix = "{"a/" * 128}"', "number 1: prefix", "at most 255 bytes"),
    "no key": (
        'match = "a"\nprefx = "x"',
        "number 1: there is no key prefx",
        "did you mean prefix?",
    ),
    "no device": ('match = "Cam-*"\nprefix = "x"', "number 1: match", "are in lower case"),
    "no bucket": ('match = "a"\nbucket = "s3://x"', "number 1: bucket", "must be a bucket's name"),
    "no store": ('match = "a"\nbucket = "more"', " bucket", "set [storage] blobs"),
    "within": (
        'match = "a"\nbucket = "recordings"\nprefix = "field/x"\n[storage]\nblobs = "s3://recordings/field"',
        " bucket",
        "s3://recordings/field/x lies in s3://recordings/field",
    ),
    "around": (
        'match = "a"\nbucket = "recordings"\n[storage]\nblobs = "s3://recordings/field"',
        " bucket",
        "s3://recordings/field lies in s3://recordings",
    ),
    "the same": (
        'match = "a"\nbucket = "recordings"\n[storage]\nblobs = "s3://recordings"',
        " bucket",
        "s3://recordings lies in s3://recordings",
    ),
}


@pytest.mark.parametrize(("text", "place", "sentence"), ROUTES.values(), ids=ROUTES.keys())
def test_a_fault_of_a_route_is_one_sentence(toml, text, place, sentence):
    path = toml(f"[[route]]\n{text}\n")

    [fault] = faults(path)

    assert fault.startswith(f"{path}: [[route]] {place.strip()}")
    assert sentence in fault


def test_routes_are_taken_over_by_a_restart_alone(toml):
    path = toml('[[route]]\nmatch = "a"\nprefix = "x/"\n')
    new = load(path, environ={})

    assert [one.rule.begins for one in new.route] == ["x"]
    assert needs_restart(ServerConfig(), new) == ["[[route]]"]


NOTICES = {
    "of nobody": ("silent_hours = 2", "number 1", "says of no device that it is for it"),
    "nothing": ('match = "a"', "number 1", "says nothing else than [fleet]"),
    "no device": ('match = "Cam-*"\nsilent_hours = 2', "number 1: match", "are in lower case"),
    "spaces": (
        'match = "cam-* | gate"\nsilent_hours = 2',
        "number 1: match",
        "'cam-* ' would fit no device",
    ),
    "no end": ('match = "cam-["\nsilent_hours = 2', "number 1: match", "would fit no device"),
    "no name": ('match = "cam|"\nsilent_hours = 2', "number 1: match", "'' would fit no device"),
    "no hours": (
        'match = "a"\nsilent_hours = -1',
        "number 1: silent_hours",
        "greater than or equal",
    ),
    "no number": (
        'match = "a"\npending_hours = true',
        "number 1: pending_hours",
        "must be a number, not true",
    ),
    "no yes or no": ('group = "a"\ntell_failed = 1.5', "number 1: tell_failed", "true or false"),
    "no key": (
        'match = "a"\nsilent_hour = 2',
        "number 1: there is no key silent_hour",
        "mean silent_hours?",
    ),
}


@pytest.mark.parametrize(("text", "place", "sentence"), NOTICES.values(), ids=NOTICES.keys())
def test_a_fault_of_a_notice_is_one_sentence(toml, text, place, sentence):
    path = toml(f"[[notify]]\n{text}\n")

    fault = faults(path)[-1]

    assert fault.startswith(f"{path}: [[notify]] {place}")
    assert sentence in fault


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://example.org:99999/", "url has a port that is none: ports are 1 to 65535"),
        ("https://example.org:0/", "url has a port that is none"),
        ("https://ex ample.org/", "url has a space in it"),
        ("https://[::1/", "url has an address in brackets that is none"),
        ("https://example.org/" + "x" * 2000, "url has 2020 characters, more than 2000"),
    ],
)
def test_a_url_by_which_nobody_could_ever_be_called_is_refused(toml, url, sentence):
    path = toml(f'[[webhook]]\nurl = "{url}"\nsecret_file = "s"\n')

    [fault] = faults(path)

    assert fault.startswith(f"{path}: [[webhook]] number 1: {sentence}")


def test_a_broker_at_a_port_that_is_none_is_refused(toml):
    [fault] = faults(toml('[fleet]\nmqtt_url = "mqtt://broker:99999"\n'))

    assert "[fleet] mqtt_url has a port that is none: ports are 1 to 65535" in fault


def test_a_webhook_that_would_be_told_nothing_is_refused(toml):
    url = 'url = "https://example.org/"\nsecret_file = "s"'

    [fault] = faults(toml(f"[[webhook]]\n{url}\nevents = []\n"))

    assert "number 1: events is empty, so that it would be told nothing" in fault


def test_patterns_of_devices_may_have_sets_and_single_letters(toml):
    path = toml('[[notify]]\nmatch = "cam-[0-9]?|[!x]*|gate_1"\nsilent_hours = 2\n')

    assert load(path, environ={}).notify[0].match == "cam-[0-9]?|[!x]*|gate_1"


@pytest.mark.parametrize("section", ["route", "notify", "webhook"])
def test_one_of_a_list_in_single_brackets_is_told_of_double_ones(toml, section):
    path = toml(f'[{section}]\nmatch = "a"\n')

    assert faults(path) == [
        f"{path}: there may be several of {section}: write each one below a line [[{section}]], "
        "with two brackets"
    ]


def test_notices_are_taken_over_by_a_restart_alone(toml):
    path = toml(
        '[[notify]]\ngroup = "survey"\npending_hours = 0.5\n[[notify]]\nmatch = "*"\ntell_failed = false'
    )
    new = load(path, environ={})

    assert notice_rules(new) == (
        NoticeRule(chosen=DeviceChoice(group="survey"), pending_s=1800),
        NoticeRule(chosen=DeviceChoice("*"), tells_failed=False),
    )
    assert needs_restart(ServerConfig(), new) == ["[[notify]]"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("presigned_s = 60", "presigned_s: of an S3 store, so set blobs as well"),
        (
            'blobs = "s3://b"\npresigned_endpoint = "https://s3.example.org"',
            "set presigned_s as well",
        ),
        ('blobs = "s3://b"\npresigned_s = 7200', "presigned_s"),
        ('blobs = "s3://b"\npresigned_s = 9\npresigned_endpoint = "https://a; b"', "HOST[:PORT]"),
    ],
)
def test_links_to_a_store_are_asked_for_as_a_whole_and_are_short(toml, text, sentence):
    [fault] = faults(toml(f"[storage]\n{text}\n"))

    assert sentence in fault


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("", None),
        ("presigned_s = 60", "https://*.amazonaws.com"),
        ('presigned_s = 60\nendpoint = "http://10.0.0.7:8333/x"', "http://10.0.0.7:8333"),
        (
            'presigned_s = 60\nendpoint = "http://10.0.0.7:8333"\npresigned_endpoint = "https://s3.example.org"',
            "https://s3.example.org",
        ),
    ],
)
def test_the_page_may_play_from_where_links_lead(toml, text, origin):
    config = load(toml(f'[storage]\nblobs = "s3://b"\n{text}\n'), environ={})

    assert media_origin(config) == origin


def test_an_empty_path_is_refused_and_not_the_folder_of_the_file(toml):
    path = toml('[log]\naudit_file = ""\n[tls]\ncert_file = "a\\u0000b"\n')

    said = faults(path)

    assert f"{path}: [log] audit_file is empty, and no path: leave it out" in said
    assert f"{path}: [tls] cert_file has a NUL, which no path has" in said
