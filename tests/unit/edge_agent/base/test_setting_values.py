"""What each setting may be: rates, timetables, certificates, marks, priorities, rules for links."""

import pytest
from pydantic import ValidationError

from edge_agent.base.rule_settings import LinkSettings
from edge_agent.base.settings import WatchSettings
from edge_agent.core.schedule import Ranked
from tests.support.agent_settings import GOOD, problems, read
from tests.support.certificates import Authority


def test_zero_is_no_limit(tmp_path):
    assert read(tmp_path, GOOD + "[upload]\nmax_rate = 0\n").settings.upload.max_rate is None


def test_links_and_a_timetable_are_read(tmp_path):
    text = (
        GOOD
        + """
[upload]
timetable = ["mon-fri 08:00-18:00 200KB", "22:00-06:00 off", "00:00-24:00 unlimited"]

[[link]]
match = "wwan*|usb*"
metered = true
daily_bytes = "500MB"
windows = ["sat,sun 10:00-12:00"]
"""
    )
    settings = read(tmp_path, text).settings

    assert [slot.max_rate for slot in settings.upload.slots()] == [200_000, 0, None]
    (rule,) = [link.rule() for link in settings.link]
    assert [rule.fits(name) for name in ("wwan0", "usb1", "eth0")] == [True, True, False]
    assert rule.daily_bytes == 500_000_000


@pytest.mark.parametrize(
    "line", ["08:00-18:00", "mon 8-9 1MB", "day 08:00-09:00 1MB", "always off"]
)
def test_a_timetable_that_cannot_be_read_is_refused_with_its_form(tmp_path, line):
    (problem,) = problems(tmp_path, GOOD + f'[upload]\ntimetable = ["{line}"]\n')

    assert "[upload] timetable" in problem


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


def test_a_device_with_a_certificate_is_not_told_to_get_a_token(tmp_path, authority):
    pair = authority.device("drone-1")
    pair.key.chmod(0o600)
    text = GOOD.replace("http://127.0.0.1:8080", "https://ingest.example")

    loaded = read(
        tmp_path, text + f'client_cert_file = "{pair.cert}"\nclient_key_file = "{pair.key}"\n'
    )

    assert loaded.warnings == ()


def test_a_key_that_others_can_read_is_a_warning(tmp_path, authority):
    pair = authority.device("drone-1")
    pair.key.chmod(0o644)

    loaded = read(
        tmp_path, GOOD + f'client_cert_file = "{pair.cert}"\nclient_key_file = "{pair.key}"\n'
    )

    [warning] = loaded.warnings
    assert "client_key_file" in warning
    assert "chmod 600" in warning


@pytest.mark.parametrize("table", ["server", "mqtt"])
def test_a_pair_that_does_not_fit_is_one_sentence(tmp_path, authority, table):
    one, other = authority.device("one"), authority.device("other")
    header = "" if table == "server" else "[mqtt]\n"
    pair = f'{header}client_cert_file = "{one.cert}"\nclient_key_file = "{other.key}"\n'

    [problem] = problems(tmp_path, GOOD + pair)

    assert problem.startswith(f"[{table}] client_key_file")
    assert "is not the key of the certificate" in problem


def test_a_key_without_a_certificate_is_one_sentence(tmp_path, authority):
    key = authority.device("one").key

    [problem] = problems(tmp_path, GOOD + f'client_key_file = "{key}"\n')

    assert "without client_cert_file" in problem


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"le"', 1),
        ('"CS1"', 8),
        ('"af11"', 10),
        ('"ef"', 46),
        ('"none"', 0),
        ("63", 63),
        ('"8"', 8),
    ],
)
def test_a_mark_is_a_name_or_a_number(tmp_path, written, value):
    text = GOOD + f"[upload]\ndscp = {written}\n"

    assert read(tmp_path, text).settings.upload.dscp == value


@pytest.mark.parametrize("written", ['"fast"', "64", "-1", "true", "1.5"])
def test_what_is_no_mark_is_one_sentence(tmp_path, written):
    [problem] = problems(tmp_path, GOOD + f"[upload]\ndscp = {written}\n")

    assert "[upload] dscp must be" in problem
    assert '"le"' in problem


def test_priorities_and_the_floor_of_a_link_are_read(tmp_path):
    text = (
        GOOD
        + "[[priority]]\nmatch = 'event/*'\nvalue = 10\n"
        + "[[link]]\nmatch = 'wwan*'\nmin_priority = 10\n"
    )

    settings = read(tmp_path, text).settings

    assert [one.rule().fits(Ranked("event/a.mp4")) for one in settings.priority] == [True]
    assert settings.link[0].rule().min_priority == 10


@pytest.mark.parametrize("value", ["0", "101"])
def test_a_priority_is_from_1_to_100(tmp_path, value):
    text = GOOD + f"[[priority]]\nmatch = '*'\nvalue = {value}\n"

    [problem] = problems(tmp_path, text)

    assert "value" in problem or "priority" in problem


@pytest.mark.parametrize(
    ("table", "lines", "told"),
    [
        ("priority", "value = 3\nvalu = 3", "there is no key valu; did you mean value?"),
        ("priority", "value = 'x'", "value must be a whole number"),
        ("link", "meterd = true", "there is no key meterd; did you mean metered?"),
        ("link", "metered = 'often'", 'metered must be true, false or "auto"'),
        ("link", "ifce = 'wwan0'", "there is no key ifce"),
    ],
)
def test_a_fault_in_a_list_of_tables_is_told_with_the_table_it_is_in(tmp_path, table, lines, told):
    right = f"[[{table}]]\nmatch = '*'\n" + ("value = 1\n" if table == "priority" else "")
    text = GOOD + right + f"[[{table}]]\nmatch = '?'\n{lines}\n"

    assert problems(tmp_path, text) == [f"{tmp_path}/agent.toml: [[{table}]] number 2: {told}"]


def test_a_key_that_a_table_of_a_list_needs_is_told_with_that_table(tmp_path):
    found = problems(tmp_path, GOOD + "[[link]]\nmetered = true\n")

    assert found == [f"{tmp_path}/agent.toml: [[link]] number 1: match must be set"]


@pytest.mark.parametrize("table", ["deadline", "link", "plan", "priority"])
def test_one_of_a_list_in_single_brackets_is_told_of_double_ones(tmp_path, table):
    found = problems(tmp_path, GOOD + f"[{table}]\nmatch = '*'\n")

    assert found == [
        f"{tmp_path}/agent.toml: there may be several of {table}: write each one below a line [[{table}]], with "
        "two brackets"
    ]


def test_a_token_that_is_claimed_may_come_later(tmp_path):
    (tmp_path / "claim").write_text("edc_x")
    (tmp_path / "claim").chmod(0o600)
    text = GOOD + f'claim_token_file = "{tmp_path}/claim"\ntoken_file = "{tmp_path}/absent"\n'

    assert read(tmp_path, text).warnings == ()


def test_a_claimed_token_needs_a_place(tmp_path):
    (tmp_path / "claim").write_text("edc_x")

    [problem] = problems(tmp_path, GOOD + f'claim_token_file = "{tmp_path}/claim"\n')

    assert "token_file" in problem


@pytest.mark.parametrize("marker", ["done", ".", "", ".a/b", ".*", ".d\n", "." + "x" * 31])
def test_a_marker_is_the_plain_end_of_a_name(marker):
    for given in ({"done_marker": marker}, {"lock_markers": [".lock", marker]}):
        with pytest.raises(ValidationError, match="the end of a marker's name"):
            WatchSettings(folder="/media", **given)


def test_one_marker_cannot_say_both():
    with pytest.raises(ValidationError, match="no file can say both"):
        WatchSettings(folder="/media", done_marker=".lock", lock_markers=[".part", ".lock"])


@pytest.mark.parametrize(
    ("written", "wanted"),
    [('"10%"', 100), ('" 2.5 % "', 25), ("7", 7), ('"1KB"', 1000), ('"0%"', 0), ("0", 0)],
)
def test_free_room_is_bytes_or_a_share_of_the_card(tmp_path, written, wanted):
    found = read(tmp_path, GOOD + f"[retention]\nkeep_free = {written}\n")

    assert found.settings.retention.free_wanted(1000) == wanted


@pytest.mark.parametrize(
    "written", ['"100%"', '"-1%"', '"%"', '"ten"', "-5", "true", '"1e1%"', "[]"]
)
def test_a_share_that_is_none_is_one_sentence(tmp_path, written):
    [found] = problems(tmp_path, GOOD + f"[retention]\nkeep_free = {written}\n")

    assert found.endswith(
        '[retention] keep_free must be a size such as "20GB", or a share of the card such as "10%"'
        " (at most 99)"
    )


def test_a_rule_for_links_asks_for_what_network_manager_says():
    rules = [
        LinkSettings(match="wlan*", ssid="Hangar*", metered="AUTO").rule(),
        LinkSettings(match="wwan*", roaming="true", metered="yes").rule(),
    ]

    assert [(one.ssid, one.roaming, one.metered_if_told, one.metered) for one in rules] == [
        ("Hangar*", None, True, False),
        (None, True, False, True),
    ]


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ('[[link]]\nmatch = "*"\nplan = "sim"', "there is no [[plan]] 'sim': there is none"),
        ('[[plan]]\nname = "sim"\nbytes = 0', "bytes"),
        ('[[plan]]\nname = "../x"\nbytes = 1', "must be 1 to 31 of a-z"),
        ("[[plan]]\nbytes = 1", "name"),
        ('[[plan]]\nname = "sim"\nbytes = 1\nreset_day = 32', "reset_day"),
        ('[[plan]]\nname = "s"\nbytes = 1\n' * 2, "'s' is the name of more than one"),
        (
            "".join(f'[[plan]]\nname = "s{number}"\nbytes = 1\n' for number in range(17)),
            "there are 17: at most 16 plans are counted",
        ),
        ('[[link]]\nmatch = "' + "x" * 201 + '"', "match"),
        ("[power]\nmin_percent = 101", "min_percent"),
        ('[[deadline]]\nby = "soon"', "[[deadline]] number 1: by: 'soon' is no time of day"),
        ('[[deadline]]\nmatch = "*"', "[[deadline]] number 1: by must be set"),
        (
            '[[deadline]]\nby = "06:00"\nfolder = "x"',
            "[[deadline]] number 1: folder: there is no [[watch]] 'x'",
        ),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_one_sentence(tmp_path, tables, said):
    [problem] = problems(tmp_path, f"{GOOD}\n{tables}\n")

    assert said in problem
