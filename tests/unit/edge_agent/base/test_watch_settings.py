"""[watch], once or several times: from the file, the environment and options, and what is refused of it."""

import json
import subprocess

import pytest

from edge_agent.base.errors import ConfigError
from edge_agent.base.settings_loading import load
from tests.support.requirements import require_root

HEAD = 'device_id = "d"\nserver.url = "http://127.0.0.1:1"\n'


def read(tmp_path, text, environment=None, **options):
    file = tmp_path / "agent.toml"
    file.write_text(HEAD + text)
    chosen = {key.replace("__", "."): (value, f"--set {key}") for key, value in options.items()}
    return load(file, environment or {}, chosen).settings.watch


def told(*folders):
    return "".join(
        f"[[watch]]\nname = {json.dumps(name)}\nfolder = {json.dumps(str(folder))}\n"
        for name, folder in folders
    )


def problems(tmp_path, text, environment=None, **options):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, environment, **options)
    return caught.value.problems


def test_one_table_is_a_folder_without_a_name(tmp_path):
    [one] = read(tmp_path, '[watch]\nfolder = "media"\n')

    assert (one.name, one.folder) == ("", tmp_path / "media")


def test_several_are_in_their_order_each_with_its_own_rules_and_paths_beside_the_file(tmp_path):
    text = told(("front", "a"), ("rear", "b")) + 'patterns = ["*.raw"]\n'

    front, rear = read(tmp_path, text)

    assert [(one.name, one.folder) for one in (front, rear)] == [
        ("front", tmp_path / "a"),
        ("rear", tmp_path / "b"),
    ]
    assert rear.patterns == ("*.raw",) != front.patterns


def test_an_option_names_the_folder_that_it_is_for(tmp_path):
    front, rear = read(
        tmp_path,
        told(("front", "a"), ("rear", "b")),
        watch__rear__settle_seconds="9",
        watch__front__folder=str(tmp_path / "c"),
    )

    assert (front.folder, rear.settle_seconds, front.settle_seconds) == (tmp_path / "c", 9.0, 5.0)


@pytest.mark.parametrize("text", ['[watch]\nfolder = "/a"\n', told(("front", "/a"))])
def test_where_there_is_one_folder_variables_and_options_need_no_name(tmp_path, text):
    [one] = read(
        tmp_path,
        text,
        {"EDGE_AGENT_WATCH__FOLDER": "/b", "EDGE_AGENT_WATCH__PATTERNS": "*.a, *.b"},
        watch__settle_seconds="2",
    )

    assert (str(one.folder), one.patterns, one.settle_seconds) == ("/b", ("*.a", "*.b"), 2.0)


def test_several_come_from_one_variable_as_json_in_place_of_those_of_the_file(tmp_path):
    folders = json.dumps([{"name": "a", "folder": "/a"}, {"name": "b", "folder": "/b"}])

    found = read(tmp_path, told(("front", "/f")), {"EDGE_AGENT_WATCH": folders})

    assert [(one.name, str(one.folder)) for one in found] == [("a", "/a"), ("b", "/b")]


TWO = told(("front", "/a"), ("rear", "/b"))


@pytest.mark.parametrize(
    ("text", "environment", "options", "sentence"),
    [
        (
            TWO,
            {"EDGE_AGENT_WATCH__FOLDER": "/z"},
            {},
            "the variable EDGE_AGENT_WATCH__FOLDER sets [watch] folder, and there are 2 [[watch]]: say"
            " which one, as --set watch.front.folder=..., or write it into the file",
        ),
        (
            TWO,
            {},
            {"watch__folder": "/z"},
            "sets [watch] folder, and there are 2 [[watch]]: say which",
        ),
        (
            TWO,
            {},
            {"watch__side__folder": "/z"},
            "there is no [[watch]] 'side': those are 'front', 'rear'",
        ),
        (
            '[watch]\nfolder = "/a"\n',
            {},
            {"watch__a__folder": "/z"},
            "there is no [[watch]] 'a': none has",
        ),
        (TWO, {}, {"watch__front__fodler": "/z"}, "there is no key 'watch.front.fodler'"),
        (
            TWO,
            {},
            {"watch__rear__settle_seconds": "-1"},
            "settle_seconds: [[watch]] number 2: settle_seconds",
        ),
        (
            TWO + "sttle_seconds = 2\n",
            {},
            {},
            "number 2: there is no key sttle_seconds; did you mean settle",
        ),
        ('[[watch]]\nname = "front"\n', {}, {}, "[[watch]] number 1: folder must be set"),
        (
            "watch = 5\n",
            {},
            {},
            "watch is a table: write its keys below [watch], or below [[watch]]",
        ),
        (
            "watch = []\n",
            {},
            {},
            "watch is a table: write its keys below [watch], or below [[watch]]",
        ),
        (
            "watch = [5]\n",
            {},
            {},
            "watch is a table: write its keys below [watch], or below [[watch]]",
        ),
        (
            "",
            {"EDGE_AGENT_WATCH": "/media/camera"},
            {},
            "the variable EDGE_AGENT_WATCH must be JSON",
        ),
        (
            "",
            {"EDGE_AGENT_WATCH": '["/a", "/b"]'},
            {},
            "the variable EDGE_AGENT_WATCH: watch is a table",
        ),
        (
            told(("front", "/a"), ("", "/b")),
            {},
            {},
            'number 2 needs a name, for there are several: name = "',
        ),
        (told(("front", "/a"), ("front", "/b")), {}, {}, "'front' is the name of more than one"),
        (
            told(("Front", "/a")),
            {},
            {},
            "[[watch]] number 1: name must be 1 to 31 of a-z, 0-9, '_' and '-'",
        ),
        (told(("../etc", "/a")), {}, {}, "[[watch]] number 1: name must be 1 to 31 of a-z"),
        (told(("a\nb", "/a")), {}, {}, "[[watch]] number 1: name must be 1 to 31 of a-z"),
        (
            told(*((f"c{n}", f"/c{n}") for n in range(17))),
            {},
            {},
            "there are 17: at most 16 folders",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(
    tmp_path, text, environment, options, sentence
):
    found = problems(tmp_path, text, environment, **options)

    assert sentence in "\n".join(found)
    assert all("\n" not in one for one in found)


@pytest.mark.parametrize(
    ("front", "rear", "sentence"),
    [
        (
            "a",
            "a/../a",
            "[[watch]] rear: folder: {0}/a/../a is the same folder as that of 'front', {0}/a",
        ),
        (
            "a",
            "link",
            "[[watch]] rear: folder: {0}/link is the same folder as that of 'front', {0}/a",
        ),
        ("a", "a/b", "[[watch]] rear: folder: {0}/a/b lies in the folder of 'front', {0}/a"),
        ("link/b", "a", "[[watch]] front: folder: {0}/link/b lies in the folder of 'rear', {0}/a"),
        (
            "a/not-yet",
            "a",
            "[[watch]] front: folder: {0}/a/not-yet lies in the folder of 'rear', {0}/a",
        ),
        (
            "a",
            "state/x",
            "state_dir: {0}/state/x/y lies in the watched folder rear; name one outside",
        ),
    ],
)
def test_a_folder_is_not_watched_twice_by_whatever_path(tmp_path, front, rear, sentence):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")

    found = problems(
        tmp_path,
        f'state_dir = "{tmp_path}/state/x/y"\n'
        + told(("front", tmp_path / front), ("rear", tmp_path / rear)),
    )

    [said] = found
    assert said.startswith(sentence.format(tmp_path))


def test_folders_beside_each_other_are_taken_however_alike_their_names_are(tmp_path):
    found = read(tmp_path, told(("a", tmp_path / "media"), ("b", tmp_path / "media-2")))

    assert len(found) == 2


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (
            "value = 5\nfolder = 'side'",
            "number 1: folder: there is no [[watch]] 'side': 'front', 'rear'",
        ),
        (
            "value = 5\nmin_size = '1MB'\nmax_size = '1KB'",
            "number 1: max_size must not be less than min",
        ),
        (
            "value = 5\nmax_size = 'big'",
            'number 1: max_size must be a size such as "8MiB" or "500KB"',
        ),
        (
            "value = 5\nolder_than_seconds = -1",
            "number 1: older_than_seconds must be greater than 0",
        ),
        ("value = 500", "number 1: value must be less than or equal to 100"),
        ("match = '*.mp4'", "number 1: value must be set"),
        ("value = 5\nsize = 3", "number 1: there is no key size; did you mean min_size?"),
    ],
)
def test_a_rule_of_priority_that_cannot_be_meant_is_refused_in_a_sentence(tmp_path, rule, sentence):
    [said] = problems(tmp_path, TWO + f"[[priority]]\n{rule}\n")

    assert sentence in said


@pytest.mark.parametrize(
    ("text", "environment", "options"),
    [
        ('metadata = {site = "north"}', {}, {}),
        ('[watch.metadata]\nsite = "north"', {}, {}),
        ("", {"EDGE_AGENT_WATCH__METADATA": '{"site": "north"}'}, {}),
        ("", {}, {"watch__metadata": '{"site": "north"}'}),
    ],
)
def test_metadata_is_a_table_of_texts(tmp_path, text, environment, options):
    [one] = read(tmp_path, f'[watch]\nfolder = "/a"\n{text}\n', environment, **options)

    assert one.metadata == {"site": "north"}


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ("{site = 5}", "[watch] metadata must be text in quotes"),
        ('"north"', '[watch] metadata must be a table of texts, such as {site = "north"}'),
        (
            '{"Site 1" = "x"}',
            "[watch] metadata has a key that cannot be used: 1 to 32 of a-z, 0-9 and '_'",
        ),
        ('{watch = "x"}', "and none of protocol, watch"),
        ('{protocol = "tus"}', "and none of protocol, watch"),
        (
            f'{{site = "{"x" * 201}"}}',
            "[watch] metadata: site must be a text of at most 200 printable",
        ),
        ('{site = "a\\u0000b"}', "[watch] metadata: site must be a text of at most 200 printable"),
        (
            str({f"k{n}": "x" for n in range(17)}).replace(":", " ="),
            "[watch] metadata has 17 keys: 16 at most",
        ),
    ],
)
def test_metadata_that_cannot_be_told_is_refused_in_a_sentence(tmp_path, metadata, sentence):
    [said] = problems(tmp_path, f'[watch]\nfolder = "/a"\nmetadata = {metadata}\n')

    assert sentence in said


def test_the_same_folder_by_another_mount_is_refused(tmp_path):
    require_root()
    front, rear = tmp_path / "front", tmp_path / "rear"
    front.mkdir()
    rear.mkdir()
    subprocess.run(["mount", "--bind", front, rear], check=True)
    try:
        [said] = problems(tmp_path, told(("front", front), ("rear", rear)))
    finally:
        subprocess.run(["umount", rear], check=True)

    assert said.startswith(f"[[watch]] rear: folder: {rear} is the same folder as that of 'front'")
